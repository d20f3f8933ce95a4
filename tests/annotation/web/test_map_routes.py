"""What the map is told: where tiles lie, which groups answers join, and whose pictures it may show."""

import numpy as np
import pytest

from anneal_jax.annotation.web.access import make_access
from anneal_jax.errors import ConfigError
from tests.annotation.conftest import NUM_TILES, served


def boxes_of(client):
    return np.frombuffer(client("GET", "/map/boxes").content, "<f8").reshape(-1, 4)


def test_an_archive_without_places_says_so(client):
    about = client("GET", "/map/tiles").json()
    assert about["num_placed"] == 0 and len(about["names"]) == NUM_TILES and about["basemap_url"] == ""
    assert np.isnan(boxes_of(client)).all()
    assert "The tiles of this archive have no places" in client("GET", "/map").text


@pytest.mark.parametrize(("scale", "in_degrees"), [(1.0, True), (1000.0, False)])
def test_places_are_the_archives_own(make_client, make_session, tiles_folder, scale, in_degrees):
    boxes = np.tile(np.array([5.0, 50.0, 6.5, 51.0]) * scale, (NUM_TILES, 1))
    boxes[3] = np.nan
    with served(tiles_folder, make_session(), boxes=boxes) as parts:
        client = make_client(parts)
        about = client("GET", "/map/tiles").json()
        assert (about["num_placed"], about["in_degrees"]) == (NUM_TILES - 1, in_degrees)
        np.testing.assert_array_equal(boxes_of(client), boxes)


def test_groups_are_those_that_answers_join(client):
    assert client("GET", "/map/groups").json() == {"groups": []}
    session = client("POST", "/session", json={"tab": "tab-number-1", "annotator": "Ada", "mode": "none"})
    body = {"tab": "tab-number-1", "set_id": session.json()["set_id"]}
    pairs = [(4, 9, "similar"), (9, 12, "similar"), (12, 20, "dissimilar"), (30, 31, "similar")]
    for number, (first, second, answer) in enumerate(pairs):
        said = {"first": first, "second": second, "answer": answer, "key": f"key-number-{number}"}
        assert client("POST", "/volunteer", json=body | said).status_code == 200
    assert client("GET", "/map/groups").json() == {"groups": [[4, 9, 12], [30, 31]]}


def test_only_the_map_server_that_was_named_may_be_shown(make_client, make_session, tiles_folder, client):
    policy = client("GET", "/map").headers["content-security-policy"]
    assert "img-src 'self';" in policy
    access = make_access("127.0.0.1", basemap_url="https://tiles.example:8443/{z}/{x}/{y}.png")
    assert access.pictures == ("https://tiles.example:8443",)
    with served(tiles_folder, make_session(), basemap_url="https://tiles.example/{z}/{x}/{y}.png") as parts:
        named = make_client(parts)
        policy = named("GET", "/map").headers["content-security-policy"]
        assert "img-src 'self' https://tiles.example;" in policy and "connect-src 'self';" in policy
        assert named("GET", "/map/tiles").json()["basemap_url"].startswith("https://tiles.example/")


@pytest.mark.parametrize(
    "address",
    [
        "tiles.example/{z}/{x}/{y}.png",
        "https://tiles.example/1/2/3.png",
        "javascript:{z}{x}{y}",
        "https://a.example; script-src *//{z}/{x}/{y}",
        "https://user@a.example/{z}/{x}/{y}",
    ],
)
def test_an_address_that_is_no_map_server_is_refused(address):
    with pytest.raises(ConfigError, match="is not an address of map tiles; give one such as"):
        make_access("127.0.0.1", basemap_url=address)
