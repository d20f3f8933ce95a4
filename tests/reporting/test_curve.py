import itertools

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from anneal_jax.errors import WorkdirError
from anneal_jax.reporting import style
from anneal_jax.reporting.curve import plot_curve, spread


def _lines(figure, marker):
    """Points of each curve drawn with that marker."""
    return [
        line.get_xydata().tolist() for line in figure.axes[0].get_lines() if line.get_marker() == marker
    ]


def shown_texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def test_one_run_is_one_line_through_every_round(tmp_path, rows, saved):
    plot_curve({"run": rows}, tmp_path / "curve.png", title="digits, mgue")
    (figure,) = saved
    np.testing.assert_allclose(_lines(figure, "o"), [[[672, 0.5], [1008, 0.7], [1344, 0.9]]])
    assert shown_texts(figure) == ["0.900"]
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "digits, mgue"
    assert axes.get_xlabel() == "questions asked (bits)"
    assert axes.get_ylabel() == "mAP@5, divided by min(k,R)"
    assert axes.get_xlim()[0] == 0
    assert axes.get_ylim() == (0.4, 1.0)
    with Image.open(tmp_path / "curve.png") as image:
        assert image.size == (1600, 1000)


def test_several_runs_are_named_where_they_end_beside_frozen_features(tmp_path, rows, saved):
    path = tmp_path / "curve.png"
    runs = {"mgue": rows, "$名\udcff$": rows[:2], **{f"run {n}": rows for n in range(8)}}
    plot_curve(runs, path, title="$x$ 名", denominator="R", baseline=0.25)
    texts = shown_texts(saved[0])
    assert texts[:2] == ["0.900 mgue", "0.700 $□□$"]
    assert texts[-1] == "0.250 frozen, 0 bits"
    assert len(texts) == 11
    assert saved[0].axes[0].get_ylim() == (0.2, 1.0)
    assert saved[0].axes[0].get_ylabel() == "mAP@5, divided by R"
    assert [[0, 0.25], [saved[0].axes[0].get_xlim()[1], 0.25]] in _lines(saved[0], "None")


def test_labels_stay_inside_the_picture(tmp_path, rows, saved):
    plot_curve({"m" * 80: rows, "other": rows}, tmp_path / "curve.png", title="n" * 80)
    figure = saved[0]
    texts = [*figure.axes[0].texts, figure.axes[0]._left_title]
    boxes = [text.get_window_extent() for text in texts]
    assert all(box.x0 >= 0 and box.x1 <= 1600 for box in boxes)
    assert not any(boxes[0].overlaps(box) for box in boxes[1:])


def test_a_round_without_the_figure_is_left_out(tmp_path, rows, saved):
    rows[1]["mean_average_precision_at_5"] = None
    plot_curve({"run": rows}, tmp_path / "curve.png", title="t")
    np.testing.assert_allclose(_lines(saved[0], "o"), [[[672, 0.5], [1344, 0.9]]])


def test_perfect_and_worthless_retrieval_can_be_drawn(tmp_path, rows, saved):
    for row, value in zip(rows, (0.0, 1.0, 1.0), strict=True):
        row["mean_average_precision_at_5"] = value
    plot_curve({"run": rows}, tmp_path / "curve.png", title="t", baseline=1.0)
    plot_curve({"run": rows[1:]}, tmp_path / "curve.png", title="t")
    assert [figure.axes[0].get_ylim() for figure in saved] == [(0, 1), (0.9, 1)]


def test_the_same_rows_give_the_same_picture(tmp_path, rows):
    for name in ("first.png", "second.png"):
        plot_curve({"run": rows}, tmp_path / name, title="t", baseline=0.6)
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_nothing_to_draw_is_said(tmp_path, rows):
    with pytest.raises(ValueError, match="no run to draw"):
        plot_curve({}, tmp_path / "curve.png", title="t")
    with pytest.raises(ValueError, match="run 'a' has no round with mean_average_precision_at_5"):
        plot_curve({"a": []}, tmp_path / "curve.png", title="t")
    with pytest.raises(WorkdirError, match="folder does not exist"):
        plot_curve({"a": rows}, tmp_path / "absent" / "curve.png", title="t")


@given(heights=st.lists(st.floats(min_value=0, max_value=1), max_size=12))
@example(heights=[1.0, 0.99, 1.0, 0.2])
def test_spread_heights_keep_their_order_their_distance_and_the_ceiling(heights):
    moved = spread(heights, gap=0.05)
    order = sorted(range(len(heights)), key=heights.__getitem__)
    gaps = [moved[above] - moved[below] for below, above in itertools.pairwise(order)]
    assert all(gap > 0.05 - 1e-9 for gap in gaps)
    assert all(height <= 1 for height in moved)
    if all(heights[b] - heights[a] >= 0.05 for a, b in itertools.pairwise(order)):
        np.testing.assert_allclose(moved, heights, atol=1e-9)


def test_a_colour_and_a_marker_stand_for_each_of_seven_runs():
    assert len(set(style.SERIES_COLOURS)) == len(set(style.SERIES_MARKERS)) == 7
