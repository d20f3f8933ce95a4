"""What is shown of vectors: files by id, windows of a scene by place, paths in a column, or names."""

import dataclasses
import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from rasterio.warp import transform_bounds

from anneal_jax.annotation.web.pictures import open_pictures
from anneal_jax.annotation.web.settings import THUMBNAILS, annotation_settings
from anneal_jax.annotation.web.thumbnails import NamePictures, open_thumbnails
from anneal_jax.data.archives import open_archive
from anneal_jax.data.embeddings import VectorArchive
from anneal_jax.errors import ArchiveError, ConfigError
from tests.annotation.conftest import served
from tests.data.scene_files import UTM, write_scene

VECTORS = np.eye(4, dtype=np.float32)
IDS = ("river", "coast.png", "nested/field", "wood é")
COLOURS = [(200, 10, 10), (10, 200, 10), (10, 10, 200), (90, 90, 90)]


def archive_of(boxes=None):
    return VectorArchive(spec="embeddings:e.npz", ids=IDS, kind="vector", vectors=VECTORS, boxes=boxes)


def save_pictures(folder):
    paths = [folder / name for name in ("river.JPG", "coast.png", "nested/field.tif", "wood é.jpeg")]
    for path, colour in zip(paths, COLOURS, strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), colour).save(path, quality=95)
    return paths


def check_colours(pictures):
    for row, colour in enumerate(COLOURS):
        shown = np.asarray(Image.open(io.BytesIO(pictures.get(row))))
        assert np.abs(shown.mean(axis=(0, 1)) - colour).max() < 4
    pictures.close()


def test_a_folder_is_looked_up_by_id(tmp_path):
    save_pictures(tmp_path)
    pictures = open_pictures(archive_of(), f"{THUMBNAILS}{tmp_path}")
    assert pictures.show_tiles and len(pictures) == 4
    check_colours(pictures)


def test_vectors_without_a_file_are_named(tmp_path):
    save_pictures(tmp_path)
    (tmp_path / "coast.png").unlink()
    with pytest.raises(ArchiveError, match=r"1 vectors have no picture: 'coast.png' in .*put the files"):
        open_thumbnails(archive_of(), str(tmp_path))
    outside = dataclasses.replace(archive_of(), ids=("../secret", *IDS[1:]))
    (tmp_path.parent / "secret.jpg").write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"'\.\./secret' in"):
        open_thumbnails(outside, str(tmp_path))


def test_a_column_of_paths_begins_at_the_folder_of_the_file(tmp_path):
    paths = save_pictures(tmp_path / "pictures")
    told = [str(paths[0]), *(str(path.relative_to(tmp_path)) for path in paths[1:])]
    table = pa.table({"embedding": list(VECTORS), "chip": told, "id": list(IDS), "number": [1.0] * 4})
    pq.write_table(table, tmp_path / "e.parquet")
    archive = open_archive(f"embeddings:{tmp_path / 'e.parquet'}?id=none")
    check_colours(open_pictures(archive, f"{THUMBNAILS}chip"))
    with pytest.raises(ArchiveError, match=r"4 vectors have no picture: 'row0' in .*/river; "):
        open_thumbnails(archive, "id")
    with pytest.raises(ArchiveError, match=r"has no column 'chips'; it has embedding, chip, id, number"):
        open_thumbnails(archive, "chips")
    with pytest.raises(ArchiveError, match=r"holds double, but must hold texts"):
        open_thumbnails(archive, "number")
    with pytest.raises(ArchiveError, match=r"'chip' is not a folder or file, and embeddings:e.npz is not"):
        open_thumbnails(archive_of(), "chip")


def boxes_of(windows, height):
    """Return the boxes in degrees of windows (left, top, right, bottom) in pixels of a scene."""
    west, north, metres = 500_000.0, 5_600_000.0, 10.0
    boxes = []
    for left, top, right, bottom in windows:
        metric = (
            west + left * metres,
            north - bottom * metres,
            west + right * metres,
            north - top * metres,
        )
        boxes.append(transform_bounds(UTM, "EPSG:4326", *metric))
    return np.array(boxes)


def test_windows_of_a_scene_are_cut_by_place(tmp_path):
    values = np.zeros((3, 80, 96), np.uint8)
    windows = [(0, 0, 32, 32), (32, 16, 64, 48), (90, 70, 96, 80), (500, 500, 532, 532)]
    for (left, top, right, bottom), colour in zip(windows, COLOURS, strict=True):
        values[:, top:bottom, left:right] = np.array(colour)[:, None, None]
    write_scene(tmp_path / "scene.tif", values)
    boxes = boxes_of(windows, 80)
    pictures = open_thumbnails(archive_of(boxes), str(tmp_path / "scene.tif"))
    shown = pictures.load(range(4), 64)
    for row in range(3):
        assert np.abs(shown[row, 24:40, 24:40].mean(axis=(0, 1)) - COLOURS[row]).max() < 3
    assert not shown[3].any()  # outside the scene
    boxes[0] = np.nan
    unknown = open_thumbnails(archive_of(boxes), str(tmp_path / "scene.tif"))
    assert not unknown.load([0], 64).any()


def test_a_place_that_is_a_point_shows_what_is_around_it(tmp_path):
    values = np.zeros((1, 200, 200), np.uint16)
    values[0, 90:110, 90:110] = 3_000
    write_scene(tmp_path / "scene.tif", values)
    west, south, east, north = boxes_of([(100, 100, 100, 100)], 200)[0]
    point = np.array([[west, south, east, north]] * 4)
    shown = open_thumbnails(archive_of(point), str(tmp_path / "scene.tif")).load([0], 64)[0]
    assert shown[32, 32].tolist() == [255, 255, 255] and not shown[:16].any() and not shown[:, 48:].any()


@pytest.mark.parametrize(
    ("name", "crs", "boxes", "message"),
    [
        ("scene.tif", UTM, None, "embeddings:e.npz has no places"),
        ("scene.tif", None, np.zeros((4, 4)), "has no coordinate reference system"),
        ("text.tif", UTM, np.zeros((4, 4)), "cannot be read as a GeoTIFF"),
        ("text.txt", UTM, np.zeros((4, 4)), "is neither a folder nor a GeoTIFF; give one, or a column"),
    ],
)
@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_refusals(tmp_path, name, crs, boxes, message):
    write_scene(tmp_path / "scene.tif", np.zeros((3, 16, 16), np.uint8), crs=crs)
    for text in ("text.tif", "text.txt"):
        (tmp_path / text).write_text("a text")
    with pytest.raises(ArchiveError, match=message):
        open_thumbnails(archive_of(boxes), str(tmp_path / name))


def test_without_pictures_names_are_shown(tmp_path):
    pictures = open_thumbnails(archive_of(), "")
    assert isinstance(pictures, NamePictures)
    shown = pictures.load(range(4), 128)
    assert shown.shape == (4, 128, 128, 3)
    assert len({picture.tobytes() for picture in shown}) == 4
    assert len(np.unique(pictures.digests(), axis=0)) == 4


def test_the_settings_remember_what_is_shown(tmp_path):
    found = annotation_settings(tmp_path, "embeddings:e.parquet", thumbnails="chips")
    assert (found.config.archive, found.pictures) == ("embeddings:e.parquet", "thumbnails:chips")
    beside = annotation_settings(tmp_path, features="e.npz", thumbnails="chips")
    assert (beside.config.archive, beside.pictures) == ("embeddings:e.npz", "thumbnails:chips")
    with pytest.raises(ConfigError, match=r"--archive=folder:PATH or --thumbnails"):
        annotation_settings(tmp_path, features="e.npz")


def test_nobody_judges_vectors_without_pictures(tiles_folder, make_session, make_client):
    names = tuple(f"tile {number}" for number in range(60))
    blind = VectorArchive(spec="e", ids=names, kind="vector", vectors=np.eye(60, dtype=np.float32))
    with served(tiles_folder, make_session(), pictures=open_pictures(blind, "")) as parts:
        request = make_client(parts)
        tab = {"tab": "tab-number-1", "annotator": "Ada", "mode": "pairs"}
        view = request("POST", "/session", json=tab).json()
        assert view["shows_tiles"] is False
        said = {
            "tab": "tab-number-1",
            "key": view["questions"][0]["key"],
            "answer": "similar",
            "elapsed_s": 1.0,
        }
        refused = request("POST", "/answer", json=said)
        assert refused.status_code == 400
        assert refused.json()["error"] == "these vectors have no pictures, so nobody can judge them here."
        assert request("GET", "/tile/3.jpg").headers["content-type"] == "image/jpeg"
        assert len(request("GET", "/search/results?tile=3").json()["results"]) > 5


def test_tiles_that_are_shown_are_judged(client):
    tab = {"tab": "tab-number-1", "annotator": "Ada", "mode": "pairs"}
    assert client("POST", "/session", json=tab).json()["shows_tiles"] is True
