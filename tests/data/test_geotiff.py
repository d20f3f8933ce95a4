"""Windows of scenes that the tests write, against plain loops over the whole scene."""

import re
import tracemalloc

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from rasterio.warp import transform_bounds

from anneal_jax.data.archives import open_archive
from anneal_jax.data.bands import rgb_tiles
from anneal_jax.data.scenes import window_starts
from anneal_jax.data.tiling import scaled_to_8_bits
from anneal_jax.errors import ArchiveError
from tests.data.scene_files import UTM, naive_tile, write_scene

SIDE = 8


def random_values(num_bands, height, width, seed=0, dtype=np.uint16, low=100, high=4000):
    rng = np.random.default_rng(seed)
    return rng.integers(low, high, (num_bands, height, width)).astype(dtype)


def row_and_column(tile_id):
    return tuple(map(int, re.fullmatch(r".*@y(\d+)x(\d+)", tile_id).groups()))


@pytest.mark.parametrize("profile", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}])
def test_windows_are_those_of_plain_loops(tmp_path, profile):
    values = random_values(4, 20, 27)
    values[:, 3, 5] = 0  # no data in any band
    values[2, 9, 9] = 0  # and in one
    write_scene(tmp_path / "scene.tif", values, nodata=0, **profile)
    archive = open_archive(f"geotiff:{tmp_path}?tile={SIDE}&bands=4,1,3&range=100,4000,0,3000,500,2500")
    starts = [row_and_column(tile_id) for tile_id in archive.ids]
    assert starts == [(row, column) for row in (0, 8, 12) for column in (0, 8, 16, 19)]
    limits = [(100, 4000), (0, 3000), (500, 2500)]
    expected = [naive_tile(values[[3, 0, 2]], *start, SIDE, limits, nodata=0) for start in starts]
    np.testing.assert_array_equal(archive.load(range(12), SIDE), expected)
    np.testing.assert_array_equal(archive.load([7, 2], SIDE), [expected[7], expected[2]])
    assert archive.load([], SIDE).shape == (0, SIDE, SIDE, 3)
    assert archive.load([1], 5, "bicubic").shape == (1, 5, 5, 3)


@given(length=st.integers(1, 300), side=st.integers(1, 300), stride=st.integers(1, 300))
def test_windows_cover_what_strides_reach(length, side, stride):
    side = min(side, length)
    starts = window_starts(length, side, stride)
    assert starts[0] == 0 and starts[-1] == length - side and len(set(starts)) == len(starts)
    assert np.all(np.diff(starts) <= stride) and np.all(np.diff(starts)[:-1] == stride)
    if stride <= side:
        assert {pixel for start in starts for pixel in range(start, start + side)} == set(range(length))


@given(
    values=st.lists(st.integers(-40_000, 70_000), min_size=2, max_size=30),
    limits=st.tuples(st.integers(-1000, 1000), st.integers(1001, 9000)),
)
def test_scaling_rises_from_black_to_white(values, limits):
    window = np.sort(np.array(values, np.int32))[None, None]
    levels = scaled_to_8_bits(window, np.ones(window.shape, np.bool_), np.array([limits], np.float64))
    assert np.all(np.diff(levels[0, :, 0].astype(int)) >= 0)
    expected = [
        round(255 * min(max((v - limits[0]) / (limits[1] - limits[0]), 0), 1)) for v in window[0, 0]
    ]
    assert levels[0, :, 0].tolist() == expected


def test_percentiles_are_those_of_all_pixels_and_the_note_keeps_them(tmp_path):
    first, second = random_values(2, 16, 16, 1), random_values(2, 16, 24, 2, high=9000)
    write_scene(tmp_path / "a.tif", first)
    write_scene(tmp_path / "b.tif", second)
    spec = f"geotiff:{tmp_path}?tile={SIDE}&bands=1,2"
    archive = open_archive(f"{spec}&percentile=5,90")
    pixels = np.concatenate([first.reshape(2, -1), second.reshape(2, -1)], axis=1)
    np.testing.assert_allclose(archive.limits, np.percentile(pixels, [5, 90], axis=1).T, rtol=1e-5)
    (note,) = archive.notes
    assert note.startswith("Values are scaled to 8 bits from percentile 5 to 90 of 640 pixels; range=")
    given = re.search(r"range=(\S+)", note)[1]
    same = open_archive(f"{spec}&range={given}")
    np.testing.assert_array_equal(same.digests(), archive.digests())
    np.testing.assert_array_equal(same.load(range(10), SIDE), archive.load(range(10), SIDE))
    other = open_archive(f"{spec}&range=0,5000")  # another picture of the same values
    assert not np.any(np.all(other.digests() == archive.digests(), axis=1))
    assert open_archive(spec).notes[0].startswith("Values are scaled to 8 bits from percentile 2 to 98 of")


def test_a_sample_of_many_pixels_gives_nearly_their_percentiles(tmp_path):
    values = random_values(1, 700, 900, dtype=np.float32)
    write_scene(tmp_path / "scene.tif", values)
    archive = open_archive(f"geotiff:{tmp_path / 'scene.tif'}?tile=100&bands=1")
    num_sampled = int(re.search(r"of ([\d,]+) pixels", archive.notes[0])[1].replace(",", ""))
    assert 100_000 < num_sampled < 263_000
    np.testing.assert_allclose(archive.limits, np.percentile(values[0], [[2, 98]]), rtol=0.02)


def test_eight_bits_stay_as_they_are(tmp_path):
    values = random_values(3, SIDE, SIDE, dtype=np.uint8, low=0, high=256)
    write_scene(tmp_path / "scene.tif", values)
    archive = open_archive(f"geotiff:{tmp_path}?tile={SIDE}")
    np.testing.assert_array_equal(archive.load([0], SIDE)[0], values.transpose(1, 2, 0))
    assert archive.notes == ()


def test_windows_without_data_are_left_out_and_counted(tmp_path):
    values = random_values(1, 16, 16, dtype=np.float32)
    values[0, :8, :8] = np.nan
    values[0, :4, 8:] = -9999.0  # half of the window
    values[0, 15, 15] = -9999.0
    write_scene(tmp_path / "s.tif", values, nodata=-9999.0)
    spec = f"geotiff:{tmp_path}?tile={SIDE}&bands=1"
    archive = open_archive(spec)
    assert [row_and_column(tile_id) for tile_id in archive.ids] == [(8, 0), (8, 8)]
    assert archive.left_out == ("s.tif@y00000x00000", "s.tif@y00000x00008")
    assert archive.notes[0] == (
        "Left out 2 of 4 windows (50.0%): more than 10% of their pixels hold no data."
    )
    assert archive.load([1], SIDE)[0, 7, 7, 0] == 0
    assert archive.limits.min() > 0  # nothing was learnt from -9999
    assert len(open_archive(f"{spec}&nodata=0.5").ids) == 3
    assert len(open_archive(f"{spec}&nodata=0").ids) == 1
    assert len(open_archive(f"{spec}&nodata=1").ids) == 3  # one without any data teaches nothing


def test_places_are_those_of_rasterio(tmp_path):
    path = write_scene(tmp_path / "scene.tif", random_values(1, 24, 16))
    archive = open_archive(f"geotiff:{path}?tile={SIDE}&bands=1")
    with rasterio.open(path) as file:
        for number, tile_id in enumerate(archive.ids):
            row, column = row_and_column(tile_id)
            bounds = file.window_bounds(rasterio.windows.Window(column, row, SIDE, SIDE))
            assert archive.bounds(number) == pytest.approx(bounds)
            box = transform_bounds(file.crs, "EPSG:4326", *bounds, densify_pts=19)
            np.testing.assert_allclose(archive.boxes[number], box, rtol=0, atol=1e-12)
        assert rasterio.crs.CRS.from_wkt(archive.crs(0)) == file.crs == rasterio.crs.CRS.from_string(UTM)


def test_places_at_the_180th_meridian_and_nowhere(tmp_path):
    values = random_values(1, SIDE, SIDE)
    # UTM zone 60 ends at 180 degrees east, 778 km from its origin at 30 degrees.
    write_scene(tmp_path / "a.tif", values, crs="EPSG:32660", west=789_800.0, north=3.3e6, metres=100.0)
    write_scene(tmp_path / "b.tif", values, crs=None)
    archive = open_archive(f"geotiff:{tmp_path}?tile={SIDE}&bands=1")
    west, south, east, north = archive.boxes[0]
    assert 179 < west < 180 < east < 181 and 29 < south < north < 30
    assert np.isnan(archive.boxes[1]).all() and archive.crs(1) == ""
    write_scene(tmp_path / "c.tif", values, crs='LOCAL_CS["a field",UNIT["metre",1]]')
    local = open_archive(f"geotiff:{tmp_path / 'c.tif'}?tile={SIDE}&bands=1")
    assert np.isnan(local.boxes).all() and "a field" in local.crs(0)
    assert open_archive(f"geotiff:{tmp_path / 'b.tif'}?tile={SIDE}&bands=1").boxes is None


def test_folders_are_classes_and_pictures_are_rgb(tmp_path):
    for name in ("river/1.tif", "river/2.TIFF", "crop/x/3.tif"):
        write_scene(tmp_path / name, random_values(13, SIDE, SIDE, seed=len(name)))
    every = ",".join(map(str, range(1, 14)))
    archive = open_archive(f"geotiff:{tmp_path}?tile={SIDE}&bands={every}&rgb=4,3,2")
    assert archive.ids[0] == "crop/x/3.tif@y00000x00000"
    assert archive.class_names == ("crop", "river") and archive.labels.tolist() == [0, 1, 1]
    tiles = archive.load(range(3), SIDE)
    assert tiles.shape == (3, SIDE, SIDE, 13)
    np.testing.assert_array_equal(rgb_tiles(archive, range(3), SIDE), tiles[..., [3, 2, 1]])
    blind = open_archive(f"geotiff:{tmp_path}?tile={SIDE}&bands=9,10")
    np.testing.assert_array_equal(
        rgb_tiles(blind, [0], SIDE), blind.load([0], SIDE)[..., :1].repeat(3, axis=-1)
    )


def test_transparency_is_no_band(tmp_path):
    values = random_values(4, SIDE, 2 * SIDE, dtype=np.uint8, high=255)
    values[3] = 255
    values[3, :, :SIDE] = 0
    write_scene(tmp_path / "scene.tif", values, photometric="RGB", alpha="YES")
    archive = open_archive(f"geotiff:{tmp_path}?tile={SIDE}")
    assert archive.ids == ("scene.tif@y00000x00008",)


def test_the_archive_is_only_read(tmp_path):
    write_scene(tmp_path / "scenes" / "scene.tif", random_values(3, 16, 16))

    def state():
        return {
            path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else None)
            for path in [tmp_path / "scenes", *(tmp_path / "scenes").rglob("*")]
        }

    before = state()
    archive = open_archive(f"geotiff:{tmp_path / 'scenes'}?tile={SIDE}")
    archive.load([0, 3], 4)
    assert state() == before


def test_a_scene_that_changed_is_noticed(tmp_path):
    path = write_scene(tmp_path / "scene.tif", random_values(3, 16, 16))
    archive = open_archive(f"geotiff:{path}?tile={SIDE}")
    write_scene(path, random_values(3, 16, 16, seed=5))
    with pytest.raises(ArchiveError, match=r"scene.tif has changed since the archive was opened; restore"):
        archive.load([0], SIDE)
    path.unlink()
    with pytest.raises(
        ArchiveError, match=r"scene.tif was readable when .*, but now cannot be read as a Geo"
    ):
        archive.load([0], SIDE)


def test_bad_scenes_are_refused_or_left_out(tmp_path):
    write_scene(tmp_path / "good.tif", random_values(3, SIDE, SIDE))
    write_scene(tmp_path / "small.tif", random_values(3, 7, SIDE))
    write_scene(tmp_path / "grey.tif", random_values(1, SIDE, SIDE))
    write_scene(tmp_path / "many.tif", random_values(4, SIDE, SIDE))
    write_scene(tmp_path / "radar.tif", random_values(3, SIDE, SIDE).astype(np.complex64))
    (tmp_path / "text.tif").write_text("no picture")
    whole = write_scene(tmp_path / "cut.tif", random_values(3, 64, 64)).read_bytes()
    (tmp_path / "cut.tif").write_bytes(whole[: len(whole) // 2])
    faults = {
        "small.tif": "is 8 x 7 pixels, below a tile's 8",
        "grey.tif": "has 1 bands; choose some, as in ?bands=1",
        "many.tif": "has 4 bands; choose some, as in ?bands=1,2,3,4",
        "radar.tif": "holds complex64 values, but must hold whole or floating-point numbers",
        "text.tif": "cannot be read as a GeoTIFF",
        "cut.tif": "cannot be read as a GeoTIFF",
    }
    with pytest.raises(ArchiveError, match=r"6 of 7 scenes cannot be used: .*; and 1 more\. Repair them"):
        open_archive(f"geotiff:{tmp_path}?tile={SIDE}")
    archive = open_archive(f"geotiff:{tmp_path}?tile={SIDE}", on_bad_image="skip")
    assert archive.ids == ("good.tif@y00000x00000",)
    assert archive.notes[0].startswith("Left out 6 scenes: ")
    for name, fault in faults.items():
        with pytest.raises(ArchiveError) as error:
            open_archive(f"geotiff:{tmp_path / name}?tile={SIDE}")
        assert f"'{name}' {fault}" in str(error.value)


def test_a_file_that_only_names_others_is_not_followed(tmp_path):
    path = write_scene(tmp_path / "real.tif", random_values(3, SIDE, SIDE))
    source = (
        f"<SimpleSource><SourceFilename>{path}</SourceFilename><SourceBand>1</SourceBand></SimpleSource>"
    )
    band = f'<VRTRasterBand dataType="UInt16" band="1">{source}</VRTRasterBand>'
    (tmp_path / "link.tif").write_text(f'<VRTDataset rasterXSize="8" rasterYSize="8">{band}</VRTDataset>')
    with pytest.raises(ArchiveError, match="cannot be read as a GeoTIFF"):
        open_archive(f"geotiff:{tmp_path / 'link.tif'}?tile={SIDE}&bands=1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("tile=0", "tile=0 must be a number of pixels from 1 to 8192"),
        ("stride=x", "stride=x must be a number of pixels"),
        ("bands=0,1", "bands=0,1 must be band numbers from 1 on, as in bands=4,3,2"),
        ("bands=1,1", "bands=1,1 names a band twice"),
        ("rgb=1,2,4", "rgb=1,2,4 must be none, or name red, green and blue among bands=1,2,3"),
        ("nodata=2", "nodata=2 must be 1 numbers from 0 to 1"),
        ("percentile=98,2", "percentile=98,2 must increase"),
        ("percentile=2", "percentile=2 must be 2 numbers from 0 to 100"),
        ("range=1,2,3", "range=1,2,3 must be 2 or 6 numbers"),
        ("range=5,5", "range=5,5 must increase"),
        ("range=0,1&percentile=2,98", "give percentile or range, not both"),
        ("tiles=64", "there is no option 'tiles' (did you mean 'tile'?); the options are tile, stride"),
        ("tile=8&tile=9", "give the option tile once, as in tile=VALUE"),
    ],
)
def test_wrong_options(tmp_path, options, message):
    write_scene(tmp_path / "scene.tif", random_values(3, SIDE, SIDE))
    with pytest.raises(ArchiveError) as error:
        open_archive(f"geotiff:{tmp_path}?{options}")
    assert message in str(error.value)


def test_wrong_places(tmp_path):
    with pytest.raises(ArchiveError, match="is not a file or folder on this machine"):
        open_archive(f"geotiff:{tmp_path / 'none'}")
    with pytest.raises(ArchiveError, match=r"has no file that ends with .tif or .tiff"):
        open_archive(f"geotiff:{tmp_path}")
    write_scene(tmp_path / "empty.tif", np.zeros((3, SIDE, SIDE), np.uint16), nodata=0)
    with pytest.raises(
        ArchiveError, match=r"contains no usable window of a scene. Left out 1 of 1 windows"
    ):
        open_archive(f"geotiff:{tmp_path}?tile={SIDE}")


def test_memory_does_not_grow_with_the_scene(tmp_path):
    values = random_values(2, 2_000, 2_000)
    write_scene(tmp_path / "scene.tif", values, tiled=True)
    spec = f"geotiff:{tmp_path / 'scene.tif'}?tile=200&bands=1,2&range=0,4000"
    open_archive(spec)  # whatever is imported or cached once
    tracemalloc.start()
    archive = open_archive(spec)
    archive.load(range(8), 32)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(archive.ids) == 100
    assert peak_bytes < values.nbytes / 4
