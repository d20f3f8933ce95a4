"""Places of results as RFC 7946 writes them, read back by GDAL."""

import json

import numpy as np
import pyogrio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.exporting.geojson import _place, write_geojson
from anneal_jax.reporting.search_results import results_json
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.queries import Query
from anneal_jax.retrieval.results import Results
from tests.retrieval.small_index import CARD, Tiles, embed

BOXES = {
    (5.0, 50.0, 6.0, 51.0): ("Polygon", [5, 50, 6, 51]),
    (179.0, -18.0, 181.0, -17.0): ("MultiPolygon", [179, -18, -179, -17]),
    (-180.0, -90.0, 180.0, 90.0): ("Polygon", [-180, -90, 180, 90]),
    (-180.0, -90.0, 50.4, 89.2): ("Polygon", [-180, -90, 50.4, 89.2]),
    (350.0, 0.0, 355.0, 1.0): ("Polygon", [-10, 0, -5, 1]),
    (100.0, 60.0, 300.0, 61.0): ("MultiPolygon", [100, 60, -60, 61]),
    (np.nan,) * 4: (None, None),
}


@pytest.fixture
def found(tmp_path):
    tiles = Tiles(tuple(range(len(BOXES))))
    append_tiles(tmp_path / "i", tiles, embed, CARD, metadata={"box": np.array(list(BOXES))})
    rows = list(range(len(BOXES)))
    results = Results(Query("q", -1, None), "", rows, list(tiles.ids), [0.5] * len(rows), [""] * len(rows))
    return open_index(tmp_path / "i"), [results]


def test_longitudes_stay_within_180_and_a_box_across_is_cut_in_two(tmp_path, found):
    write_geojson(*found, tmp_path / "f.geojson")
    features = json.loads((tmp_path / "f.geojson").read_text("utf-8"))["features"]
    for feature, (kind, box) in zip(features, BOXES.values(), strict=True):
        assert feature["geometry"] is None if kind is None else feature["geometry"]["type"] == kind
        assert feature.get("bbox") == box
        if kind == "MultiPolygon":
            first, second = (np.array(part[0]) for part in feature["geometry"]["coordinates"])
            assert (first[:, 0].max(), second[:, 0].min()) == (180.0, -180.0)
            assert (first[:, 0].min(), second[:, 0].max()) == (box[0], box[2])
    _, bounds = pyogrio.read_bounds(tmp_path / "f.geojson")
    assert np.nanmin(bounds[0]) >= -180 and np.nanmax(bounds[2]) <= 180
    assert pyogrio.read_info(tmp_path / "f.geojson")["features"] == len(BOXES)


@settings(max_examples=300)
@given(data=st.data())
def test_any_box_is_covered_within_180_degrees_and_nothing_else_is(data):
    west = data.draw(st.floats(-540, 540, allow_nan=False, width=32))
    width = data.draw(st.floats(0, 360, width=32).filter(lambda width: width < 359.9))
    south, north = sorted(data.draw(st.lists(st.floats(-90, 90), min_size=2, max_size=2)))
    if not max(abs(west), abs(west + width)) <= 540:
        return
    place = _place([west, south, west + width, north], "t")
    geometry = place["geometry"]
    parts = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
    rings = np.array([ring for (ring,) in parts])
    assert np.abs(rings[..., 0]).max() <= 180 and np.array_equal(rings[:, 0], rings[:, -1])
    assert rings[..., 1].min() == south and rings[..., 1].max() == north
    first, second = rings[:, :-1], np.roll(rings[:, :-1], -1, axis=1)
    areas = (first[..., 0] * second[..., 1] - second[..., 0] * first[..., 1]).sum(axis=1)
    assert (areas >= -1e-6).all()  # against the clock
    assert json.loads(json.dumps(place, allow_nan=False)) == place
    share = data.draw(st.floats(-0.5, 1.5))
    longitude = west + share * max(width, 1e-3)
    turned = (longitude + 180) % 360 - 180
    edges = np.array([west, west + width, *rings[..., 0].ravel()])
    if np.abs((edges - longitude + 180) % 360 - 180).min() < 1e-3:
        return  # on an edge
    is_inside = 0 <= (longitude - west) % 360 <= width
    is_covered = any(ring[:, 0].min() <= turned <= ring[:, 0].max() for ring in rings)
    assert is_covered == is_inside


def test_printed_boxes_are_written_alike(found):
    (query,) = json.loads(results_json(*found))
    assert [hit.get("box") for hit in query["results"]] == [box for _, box in BOXES.values()]
