"""What the headers of scenes say is used, or said: places, colours, scale and offset, colour tables."""

import os
import re

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.transform import from_origin

from anneal_jax.data.archives import open_archive
from anneal_jax.data.bands import rgb_tiles
from anneal_jax.errors import ArchiveError
from tests.data.scene_files import UTM

SIDE = 8
RNG = np.random.default_rng(3)
VALUES = RNG.integers(1, 255, (3, SIDE, SIDE)).astype(np.uint8)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def scene(path, values=VALUES, *, origin=(5e5, 5.6e6, 10.0, 10.0), crs=UTM, after=None, **profile):
    path.parent.mkdir(parents=True, exist_ok=True)
    if origin is not None:
        profile["transform"] = from_origin(*origin)
    count, height, width = values.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=values.dtype,
        crs=crs,
        **profile,
    ) as file:
        if after:
            after(file)
        file.write(values)
    return path


def opened(path, options=""):
    return open_archive(f"geotiff:{path}?tile={SIDE}{options}")


@pytest.mark.parametrize(
    ("crs", "origin", "shape", "tile", "expected"),
    [
        (
            "EPSG:3857",
            (-20037508.34, 20037508.34, 313086.06, 313086.06),
            (128, 128),
            128,
            [-180, -85.05, 180, 85.05],
        ),
        ("EPSG:4326", (-180, 90, 0.9, 0.9), (200, 400), 200, [-180, -90, 0, 90]),
        ("EPSG:4326", (-180, 90, 0.9, 0.9), (200, 400), 200, [0, -90, 180, 90]),
        ("EPSG:4326", (-180, 90, 0.9, 0.7), (256, 400), 256, [-180, -89.2, 50.4, 90]),
        ("EPSG:4326", (-180, 90, 5.625, 2.8125), (64, 64), 64, [-180, -90, 180, 90]),
        ("EPSG:4326", (0, 90, 0.9, 0.9), (200, 400), 200, [-180, -90, 0, 90]),  # a grid from 0 to 360
        ("EPSG:4326", (170, 10, 0.1, 0.1), (200, 200), 200, [170, -10, 190, 10]),
        ("EPSG:3995", (-1e6, 1e6, 1e4, 1e4), (200, 200), 200, [-180, 77.1, 180, 90]),  # around the pole
        ("EPSG:3031", (-1e6, 1e6, 1e4, 1e4), (200, 200), 200, [-180, -90, 180, -77.0]),
    ],
)
def test_boxes_of_wide_windows(tmp_path, crs, origin, shape, tile, expected):
    scene(tmp_path / "s.tif", np.ones((3, *shape), np.uint8), crs=crs, origin=origin)
    boxes = open_archive(f"geotiff:{tmp_path}?tile={tile}").boxes
    assert min(np.abs(box - expected).max() for box in boxes) < 0.2, boxes


def test_a_scene_that_does_not_say_where_it_lies_has_no_place(tmp_path):
    scene(tmp_path / "a.tif")
    scene(tmp_path / "b.tif", origin=None)
    scene(tmp_path / "c.tif", crs=None)
    archive = opened(tmp_path)
    assert np.isfinite(archive.boxes).all(axis=1).tolist() == [True, False, False]
    assert "1 of 3 scenes have no geotransform, so their tiles have no place: 'b.tif'." in archive.notes
    assert any(
        "have no coordinate reference system, so" in note and "'c.tif'" in note for note in archive.notes
    )
    assert np.isnan(archive.bounds(1)).all() and np.isfinite(archive.bounds(0)).all()
    assert opened(tmp_path / "b.tif").boxes is None


def test_ground_control_points_place_a_scene(tmp_path):
    west, north, step = 500_000.0, 5_600_000.0, 10.0
    points = [
        GroundControlPoint(row, column, west + step * column, north - step * row)
        for row in (0, SIDE)
        for column in (0, SIDE)
    ]
    scene(tmp_path / "a.tif")
    scene(
        tmp_path / "b.tif",
        origin=None,
        crs=None,
        after=lambda file: setattr(file, "gcps", (points, file.crs or rasterio.crs.CRS.from_string(UTM))),
    )
    archive = opened(tmp_path)
    np.testing.assert_allclose(archive.boxes[1], archive.boxes[0], atol=1e-9)
    assert any("placed by ground control points" in note and "'b.tif'" in note for note in archive.notes)


def test_rational_polynomials_alone_place_nothing_and_are_named(tmp_path):
    rpc = {
        **dict.fromkeys(("LINE_OFF", "SAMP_OFF", "LAT_OFF", "LONG_OFF", "HEIGHT_OFF"), "10"),
        **dict.fromkeys(("LINE_SCALE", "SAMP_SCALE", "LAT_SCALE", "LONG_SCALE", "HEIGHT_SCALE"), "1"),
        **dict.fromkeys(
            ("LINE_NUM_COEFF", "LINE_DEN_COEFF", "SAMP_NUM_COEFF", "SAMP_DEN_COEFF"),
            " ".join(["1"] + ["0"] * 19),
        ),
    }
    scene(tmp_path / "a.tif")
    scene(tmp_path / "b.tif", origin=None, crs=None, after=lambda file: file.update_tags(ns="RPC", **rpc))
    archive = opened(tmp_path)
    assert np.isfinite(archive.boxes).all(axis=1).tolist() == [True, False]
    (note,) = [note for note in archive.notes if "rational polynomials (RPC)" in note]
    assert note.startswith("1 of 2 scenes are placed by") and note.endswith("have no place: 'b.tif'.")


def test_a_local_system_is_tied_to_no_place_and_named(tmp_path):
    local = 'LOCAL_CS["site grid",UNIT["metre",1]]'
    scene(tmp_path / "a.tif")
    scene(tmp_path / "b.tif", crs=rasterio.crs.CRS.from_wkt(local))
    archive = opened(tmp_path)
    assert np.isfinite(archive.boxes).all(axis=1).tolist() == [True, False]
    assert any("'b.tif'" in note and "no place" in note for note in archive.notes), archive.notes
    assert np.isfinite(archive.bounds(1)).all()


def test_bands_that_say_their_colours_are_read_as_red_green_and_blue(tmp_path):
    kinds = [ColorInterp.blue, ColorInterp.green, ColorInterp.red]
    scene(tmp_path / "bgr.tif", after=lambda file: setattr(file, "colorinterp", kinds))
    scene(tmp_path / "rgb.tif", VALUES[::-1], photometric="RGB")
    archive = opened(tmp_path)
    first, second = archive.load([0, 1], SIDE)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first[..., 0], VALUES[2])
    (note,) = archive.notes
    assert note.startswith("1 of 2 scenes say that bands 3,2,1 are red, green and blue, and are read so")
    chosen = opened(tmp_path / "bgr.tif", "&bands=1,2,3")
    np.testing.assert_array_equal(chosen.load([0], SIDE)[0], np.moveaxis(VALUES, 0, -1))
    (note,) = chosen.notes
    assert note.endswith("and are read as 1,2,3; see the option rgb: 'bgr.tif'.")
    shown = opened(tmp_path / "bgr.tif", "&bands=1,2,3&rgb=3,2,1")
    assert shown.notes == ()
    np.testing.assert_array_equal(rgb_tiles(shown, [0], SIDE)[0], first)


def test_of_more_bands_the_hint_names_those_of_the_colours(tmp_path):
    four = np.concatenate([VALUES, VALUES[:1]]).astype(np.uint16)
    kinds = [ColorInterp.blue, ColorInterp.green, ColorInterp.red, ColorInterp.undefined]
    path = scene(tmp_path / "s.tif", four, after=lambda file: setattr(file, "colorinterp", kinds))
    with pytest.raises(ArchiveError, match=r"has 4 bands; choose some, as in \?bands=3,2,1"):
        opened(path)
    assert len(opened(path, "&bands=3,2,1").ids) == 1


def test_scale_and_offset_that_differ_between_scenes_are_applied(tmp_path):
    """Sentinel-2 of 2022 and after stores its reflectance with an offset of -1000 that older files lack."""
    old = RNG.integers(0, 3000, (3, SIDE, SIDE)).astype(np.uint16)

    def says(scale, offset):
        def after(file):
            file.scales, file.offsets = (scale,) * 3, (offset,) * 3

        return after

    scene(tmp_path / "a.tif", old, after=says(1e-4, 0.0))
    scene(tmp_path / "b.tif", old + 1000, after=says(1e-4, -0.1))
    archive = opened(tmp_path)
    first, second = archive.load([0, 1], SIDE)
    np.testing.assert_array_equal(first, second)
    assert archive.notes[0].startswith("Scenes differ in scale and offset, so values are read as stored")
    given = re.search(r"range=(\S+)", archive.notes[1])[1]
    same = opened(tmp_path, f"&range={given}")
    np.testing.assert_array_equal(same.digests(), archive.digests())
    alone = opened(tmp_path / "b.tif")  # alike in all scenes: as stored, as ever
    assert alone.limits.min() >= 1000 and not any("differ in scale" in note for note in alone.notes)


def test_a_colour_table_is_said(tmp_path):
    path = scene(
        tmp_path / "s.tif", VALUES[:1], after=lambda file: file.write_colormap(1, {7: (1, 2, 3, 255)})
    )
    archive = opened(path, "&bands=1")
    assert any("have a colour table, and band 1 is read as numbers" in note for note in archive.notes)


def test_percentiles_without_a_span_are_said_and_their_range_can_be_given(tmp_path):
    values = RNG.integers(0, 3000, (3, SIDE, SIDE)).astype(np.uint16)
    values[1] = 7
    path = scene(tmp_path / "s.tif", values)
    archive = opened(path)
    assert any("one value alone in band 2, which becomes black" in note for note in archive.notes)
    given = next(found[1] for note in archive.notes if (found := re.search(r"range=(\S+)", note)))
    same = opened(path, f"&range={given}")
    np.testing.assert_array_equal(same.digests(), archive.digests())


def test_numbers_that_six_digits_do_not_tell_apart_keep_a_span(tmp_path):
    values = (1_234_567 + np.arange(SIDE * SIDE) // 32).reshape(1, SIDE, SIDE).astype(np.int32)
    path = scene(tmp_path / "s.tif", values)
    archive = opened(path, "&bands=1")
    assert np.unique(archive.load([0], SIDE)).tolist() == [0, 255]
    given = re.search(r"range=(\S+)", archive.notes[0])[1]
    np.testing.assert_array_equal(opened(path, f"&bands=1&range={given}").digests(), archive.digests())


def test_a_name_outside_utf8_is_refused_or_left_out(tmp_path):
    scene(tmp_path / "good.tif")
    try:
        scene(tmp_path / "x.tif").rename(tmp_path / os.fsdecode(b"caf\xe9.tif"))
    except OSError:
        pytest.skip("this file system only takes names in UTF-8")
    with pytest.raises(ArchiveError, match="has a name that is not valid UTF-8") as error:
        opened(tmp_path)
    str(error.value).encode()
    archive = open_archive(f"geotiff:{tmp_path}?tile={SIDE}", on_bad_image="skip")
    assert archive.ids == ("good.tif@y00000x00000",) and "not valid UTF-8" in archive.notes[0]
