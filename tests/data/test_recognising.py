"""What a path is, whatever it is called."""

import numpy as np
import pytest
from PIL import Image

from anneal_jax.data.recognising import READ, recognise
from anneal_jax.errors import ArchiveError


def write_tile(path, size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size).save(path)


def write_scene(path, side, dtype="uint8", bands=3):
    rasterio = pytest.importorskip("rasterio")
    path.parent.mkdir(parents=True, exist_ok=True)
    transform = rasterio.transform.from_origin(5.0, 50.0, 0.001, 0.001)
    options = {"height": side, "width": side, "count": bands, "dtype": dtype, "crs": "EPSG:4326"}
    with rasterio.open(path, "w", driver="GTiff", transform=transform, **options) as scene:
        scene.write(np.zeros((bands, side, side), dtype))


def test_folders_of_tiles(tmp_path, monkeypatch):
    write_tile(tmp_path / "tiles" / "a" / "1.jpg")
    write_tile(tmp_path / "plain" / "1.tif", (600, 600))  # no place on the Earth
    monkeypatch.chdir(tmp_path)
    assert recognise("tiles") == f"folder:{tmp_path / 'tiles'}"
    assert recognise("plain/") == f"folder:{tmp_path / 'plain'}"


def test_scenes_and_tiles_that_have_a_place(tmp_path):
    write_scene(tmp_path / "scenes" / "1.tif", 600)
    write_scene(tmp_path / "bands" / "1.tif", 64, bands=6)
    write_scene(tmp_path / "deep" / "1.tif", 64, dtype="uint16")
    write_scene(tmp_path / "small" / "1.tif", 64)
    write_scene(tmp_path / "mixed" / "1.tif", 600)
    write_tile(tmp_path / "mixed" / "2.png")
    for name, scheme in (
        ("scenes", "geotiff"),
        ("bands", "geotiff"),
        ("deep", "geotiff"),
        ("small", "folder"),
        ("mixed", "folder"),
        ("scenes/1.tif", "geotiff"),
    ):
        assert recognise(str(tmp_path / name)) == f"{scheme}:{tmp_path / name}"


def test_vectors_by_their_first_bytes(tmp_path):
    np.savez(tmp_path / "vectors.npz", embeddings=np.eye(3))
    (tmp_path / "table").write_bytes(b"PAR1 and more")
    assert recognise(str(tmp_path / "vectors.npz")) == f"embeddings:{tmp_path / 'vectors.npz'}"
    assert recognise(str(tmp_path / "table")) == f"embeddings:{tmp_path / 'table'}"


def test_names_of_archives_and_a_folder_of_such_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert recognise("digits") == "digits"
    assert recognise("folder:here") == f"folder:{tmp_path / 'here'}"
    assert recognise("geotiff:x.tif?tile=64") == f"geotiff:{tmp_path / 'x.tif?tile=64'}"
    write_tile(tmp_path / "digits" / "1.png")
    assert recognise("digits") == f"folder:{tmp_path / 'digits'}"


def test_what_is_not_read_is_one_sentence_that_lists_what_is(tmp_path):
    (tmp_path / "notes.txt").write_text("text")
    for path in (tmp_path / "notes.txt", tmp_path / "nothing"):
        with pytest.raises(ArchiveError) as caught:
            recognise(str(path))
        assert READ in str(caught.value) and str(path) in str(caught.value)
