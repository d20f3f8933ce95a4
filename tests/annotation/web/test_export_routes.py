"""Results out of the page, read back: tables, copies of tiles, and what is refused."""

import csv
import io
import json
import zipfile

import numpy as np
import pytest

from anneal_jax.annotation.web.export_routes import MAX_ROWS, UPLOADS
from anneal_jax.annotation.web.pictures import TilePictures
from anneal_jax.data.archives import open_archive
from tests.annotation.conftest import NUM_TILES, served

OCTETS = {"content-type": "application/octet-stream"}
ROWS = [{"tile": 7, "similarity": 0.9, "mark": "right"}, {"tile": 3, "similarity": 0.5, "mark": None}]


def export(client, name, body):
    return client("POST", f"/export/{name}", content=json.dumps(body).encode(), headers=OCTETS)


def test_a_table_has_score_group_and_mark(client):
    session = client("POST", "/session", json={"tab": "tab-number-1", "annotator": "Ada", "mode": "none"})
    mark = {"tab": "tab-number-1", "set_id": session.json()["set_id"], "answer": "similar"}
    client("POST", "/volunteer", json=mark | {"first": 2, "second": 7, "key": "key-number-1"})
    response = export(client, "results.csv", {"tile": 2, "rows": ROWS})
    assert response.headers["content-disposition"] == 'attachment; filename="results.csv"'
    first, second = csv.DictReader(io.StringIO(response.text))
    assert (first["query"], first["id"], first["similarity"], first["mark"]) == (
        "tile02.png", "tile07.png", "0.9", "right",
    )  # fmt: skip
    assert (first["group"], second["group"], second["mark"]) == ("like tile02.png", "", "")


def test_marks_that_the_page_does_not_name_are_those_of_the_answers(client):
    session = client("POST", "/session", json={"tab": "tab-number-1", "annotator": "Ada", "mode": "none"})
    mark = {"tab": "tab-number-1", "set_id": session.json()["set_id"], "answer": "dissimilar"}
    client("POST", "/volunteer", json=mark | {"first": 2, "second": 3, "key": "key-number-1"})
    response = export(client, "results.csv", {"tile": 2, "rows": [{"tile": 3}, {"tile": 7}]})
    assert [row["mark"] for row in csv.DictReader(io.StringIO(response.text))] == ["wrong", ""]


def test_the_archive_holds_the_files_byte_for_byte(client, tiles_folder):
    response = export(client, "results.zip", {"tile": -1, "name": "dropped é.png", "rows": ROWS})
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.namelist() == ["0001-tile07.png", "0002-tile03.png", "results.csv"]
        assert archive.read("0001-tile07.png") == (tiles_folder / "tile07.png").read_bytes()
        table = archive.read("results.csv").decode()
    assert next(csv.DictReader(io.StringIO(table)))["query"] == "dropped é.png"


def test_a_tile_that_is_lost_is_named_and_nothing_comes(make_client, make_session, tmp_path, tiles_folder):
    import shutil

    shutil.copytree(tiles_folder, tmp_path / "tiles")
    with served(tmp_path / "tiles", make_session()) as parts:
        (tmp_path / "tiles" / "tile03.png").unlink()
        response = export(make_client(parts), "results.zip", {"rows": ROWS})
    assert response.status_code == 409
    assert "tile03.png was readable when the archive was opened" in response.json()["error"]


def test_places_are_given_where_they_are_known(client, make_client, make_session, tiles_folder):
    response = export(client, "results.geojson", {"rows": ROWS})
    assert response.status_code == 409 and "has no places" in response.json()["error"]
    assert not client("GET", "/export/formats").json()["has_places"]
    boxes = np.array([(179.0 + tile, 10.0, 180.5 + tile, 11.0) for tile in range(NUM_TILES)])
    with served(tiles_folder, make_session(), boxes=boxes) as parts:
        placed = make_client(parts)
        assert placed("GET", "/export/formats").json()["has_places"]
        features = export(placed, "results.geojson", {"rows": ROWS}).json()["features"]
        assert features[0]["bbox"] == [-174, 10, -172.5, 11] and features[1]["properties"]["mark"] is None
        content = export(placed, "results.parquet", {"rows": ROWS}).content
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the extra parquet")
    assert parquet.read_table(io.BytesIO(content))["west"].to_pylist() == [186.0, 182.0]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "rows must name 1 to 10,000 tiles."),
        ({"rows": []}, "rows must name 1 to 10,000 tiles."),
        ({"rows": [{"tile": 0}] * (MAX_ROWS + 1)}, "rows must name 1 to 10,000 tiles."),
        ({"rows": [7]}, "each of the rows must be a JSON object."),
        ({"rows": [{"tile": NUM_TILES}]}, "there is no such tile."),
        ({"rows": [{"tile": -1}]}, "there is no such tile."),
        ({"rows": [{"tile": True}]}, "there is no such tile."),
        ({"rows": [{"tile": 1, "similarity": "1"}]}, "similarity must be a cosine."),
        ({"rows": [{"tile": 1, "similarity": 1e9}]}, "similarity must be a cosine."),
        ({"rows": [{"tile": 1, "mark": "maybe"}]}, "mark must be one of right, wrong, unsure."),
        ({"tile": 99, "rows": [{"tile": 1}]}, "there is no such tile."),
        ({"name": 3, "rows": [{"tile": 1}]}, "name must be text."),
    ],
)
def test_what_no_page_would_send_is_refused(client, body, sentence):
    response = export(client, "results.csv", body)
    assert (response.status_code, response.json()) == (400, {"error": sentence})


def test_long_bodies_are_taken_up_to_a_limit(client):
    rows = [
        {"tile": tile % NUM_TILES, "similarity": -0.123456789012, "mark": "unsure"}
        for tile in range(10_000)
    ]
    response = export(client, "results.csv", {"rows": rows})
    assert response.status_code == 200 and len(response.text.splitlines()) == 10_001
    too_long = client(
        "POST", "/export/results.csv", content=b" " * (UPLOADS["export/results.csv"] + 1), headers=OCTETS
    )
    assert too_long.status_code == 413


def test_names_of_vectors_cannot_be_copied(make_client, make_session, tiles_folder):
    from anneal_jax.annotation.web.thumbnails import open_thumbnails

    archive = open_archive(f"folder:{tiles_folder}")
    pictures = TilePictures(open_thumbnails(archive, ""))
    with served(tiles_folder, make_session(), pictures=pictures) as parts:
        client = make_client(parts)
        assert not client("GET", "/export/formats").json()["has_files"]
        response = export(client, "results.zip", {"rows": ROWS})
    assert response.status_code == 409 and "has no picture to copy" in response.json()["error"]
