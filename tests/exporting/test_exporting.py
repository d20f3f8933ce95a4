"""What other programs are given is read back by them, and compared with what this one computes."""

import datetime
import functools
import json
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pyarrow.parquet
import pyogrio
import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.data.embeddings import VectorArchive
from anneal_jax.experiments.run import run_experiment
from anneal_jax.exporting.parquet import write_parquet
from anneal_jax.exporting.stablehlo import write_stablehlo
from anneal_jax.retrieval.embedder import load_embedder
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.manifest import ModelCard
from tests.launching import run_script
from tests.small_tiles import write_digits


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The name of an archive of 150 tiles."""
    return write_digits(tmp_path_factory.mktemp("archive") / "tiles", 150, size=16)


@pytest.fixture(scope="module")
def workdir(digits, tmp_path_factory):
    """The folder of a run on it."""
    place = tmp_path_factory.mktemp("runs")
    config = ExperimentConfig(
        archive=digits, cache_dir=str(place / "cache"), backbone="tiny_cnn", pretrained="none",
        image_size=16, initial_draw="random", initial_fraction=0.1, rounds=1, steps=5, pairs_per_round=20,
    )  # fmt: skip
    run_experiment(config, place / "digits")
    return place / "digits"


def deserialised(path):
    return jax.export.deserialize(bytearray(pathlib.Path(path).read_bytes()))


def test_the_exported_function_embeds_as_the_model_does(workdir, tmp_path):
    embedder = load_embedder(workdir)
    write_stablehlo(embedder, tmp_path / "embedder.jaxexport")
    exported = deserialised(tmp_path / "embedder.jaxexport")
    assert exported.platforms == ("cpu", "cuda", "tpu")
    tiles = open_archive("digits").load(range(13), 16)
    for rows in (slice(0, 1), slice(5, 12)):  # one function, any batch
        embeddings = exported.call(tiles[rows])
        assert embeddings.dtype == np.float32
        np.testing.assert_allclose(embeddings, embedder.embed(tiles[rows]), atol=2e-6)
    card = json.loads((tmp_path / "embedder.jaxexport.json").read_text())
    assert (card["image_size_px"], card["bands"], card["resampling"]) == (16, 3, "bilinear")
    assert card["model"] == embedder.fingerprint and card["embedding_numbers"] == embeddings.shape[1]


def test_it_is_called_without_this_package(workdir, tmp_path):
    embedder = load_embedder(workdir)
    write_stablehlo(embedder, tmp_path / "model")
    tiles = open_archive("digits").load(range(3), 16)
    np.save(tmp_path / "tiles.npy", tiles)
    script = (
        "import sys, pathlib, jax, jax.export, numpy as np; "
        "f = jax.export.deserialize(bytearray(pathlib.Path('model').read_bytes())); "
        "np.save('embeddings.npy', f.call(np.load('tiles.npy'))); "
        "assert not any(name.startswith(('anneal', 'flax')) for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "embeddings.npy"), embedder.embed(tiles), atol=2e-6)


def test_a_model_of_vectors_is_exported(tmp_path):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((60, 12)).astype(np.float32)
    np.savez(tmp_path / "e.npz", embeddings=vectors, labels=np.arange(60) % 3)
    config = ExperimentConfig(archive=f"embeddings:{tmp_path / 'e.npz'}", rounds=0, steps=5)
    run_experiment(config, tmp_path / "run")
    embedder = load_embedder(tmp_path / "run")
    write_stablehlo(embedder, tmp_path / "model")
    found = deserialised(tmp_path / "model").call(vectors[:7])
    np.testing.assert_allclose(found, embedder.embed(vectors[:7]), atol=2e-6)


def test_parquet_holds_what_the_index_holds(workdir, digits, tmp_path):
    embedder, archive = load_embedder(workdir), open_archive(digits)
    num_tiles = len(archive.ids)
    boxes = np.random.default_rng(0).uniform(0, 1, (num_tiles, 4)) + np.array([0, 0, 1, 1])
    boxes[3] = np.nan
    dates = np.datetime64("2021-06-30T10:00:00") + np.arange(num_tiles).astype("timedelta64[s]")
    dates[5] = np.datetime64("NaT")
    metadata = {"box": boxes, "date": dates}
    append_tiles(
        tmp_path / "index",
        archive,
        embedder.embed_archive,
        embedder.model_card(),
        metadata=metadata,
        shard_rows=60,
    )
    index = open_index(tmp_path / "index")
    write_parquet(index, tmp_path / "e.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "e.parquet")
    assert pyarrow.parquet.ParquetFile(tmp_path / "e.parquet").num_row_groups == 3
    sides = ["west", "south", "east", "north"]
    assert table.column_names == ["id", "embedding", "label", "date", *sides, "geometry"]
    assert str(table.schema.field("embedding").type) == "fixed_size_list<element: float>[256]"
    assert table["id"].to_pylist() == list(archive.ids)
    assert table["label"].to_pylist() == [archive.class_names[label] for label in archive.labels]
    vectors = np.array(table["embedding"].to_pylist(), np.float32)
    np.testing.assert_array_equal(vectors, np.concatenate(index.column("vectors")).astype(np.float32))
    assert table["east"].to_pylist()[:4] == [*boxes[:3, 2].tolist(), None]
    moments = table["date"].to_pylist()
    assert moments[1] == datetime.datetime(2021, 6, 30, 10, 0, 1, tzinfo=datetime.UTC)
    assert moments[5] is None
    assert json.loads(table.schema.metadata[b"anneal_jax"])["model"] == embedder.fingerprint


SHARDS = [
    {"box": [[5.1, 50.2, 5.3, 50.4], [np.nan] * 4], "date": ["2021-06-30T10:00:01", "NaT"]},
    {"box": [[179.5, -1.0, 180.5, 1.0], [-180.0, -1.0, -179.0, 1.0]], "date": ["1969-12-31", "2024-02-29"]},
]


def small_index(folder, shards, dtype="float32"):
    """Write an index of a few tiles, and return it opened."""
    dim, start = 3, 0
    for shard in shards:
        numbers = range(start, start := start + len(shard["box"]))
        vectors = np.random.default_rng(start).standard_normal((len(numbers), dim))
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)
        archive = VectorArchive(
            spec="vectors", ids=[f"tile {number} é" for number in numbers],
            vectors=vectors.astype(np.float32), labels=np.array([0, -1], np.int32), class_names=("river",),
            boxes=np.array(shard["box"]),
            dates=np.array(shard["date"], "datetime64[s]"), kind="vector",
        )  # fmt: skip
        append_tiles(
            folder,
            archive,
            lambda of, rows: of.load(rows, 0),
            ModelCard("a1" * 32, dim, dtype, "runs/model"),
        )
    return open_index(folder)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_an_export_is_an_archive_bit_for_bit(tmp_path, dtype):
    index = small_index(tmp_path / "index", SHARDS, dtype)
    write_parquet(index, tmp_path / "e.parquet")
    archive = open_archive(f"embeddings:{tmp_path / 'e.parquet'}")
    rows = np.arange(index.num_rows)
    assert list(archive.ids) == index.ids(rows)
    assert archive.load(rows, 0).tobytes() == index.take("vectors", rows).astype(np.float32).tobytes()
    assert archive.boxes.tobytes() == index.take("box", rows).tobytes()
    assert archive.dates.tobytes() == index.take("date", rows).tobytes()
    assert [archive.class_names[label] if label >= 0 else "" for label in archive.labels] == index.labels(
        rows
    )


def test_places_are_read_by_gdal(tmp_path):
    write_parquet(small_index(tmp_path / "index", SHARDS), tmp_path / "e.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "e.parquet")
    assert json.loads(table.schema.metadata[b"geo"]) == {
        "version": "1.1.0",
        "primary_column": "geometry",
        "columns": {
            "geometry": {
                "encoding": "WKB",
                "geometry_types": ["MultiPolygon", "Polygon"],
                "orientation": "counterclockwise",
                "edges": "planar",
                "bbox": [-180.0, -1.0, 180.0, 50.4],
            }
        },
    }
    # The wheels of GDAL have no driver for Parquet, so the columns are handed to it, and it parses the WKB.
    pyogrio.write_arrow(
        table.select(["id", "geometry"]), tmp_path / "e.geojson", geometry_name="geometry",
        geometry_type="Unknown", crs="OGC:CRS84", driver="GeoJSON",
    )  # fmt: skip
    features = json.loads((tmp_path / "e.geojson").read_text())["features"]
    assert [feature["properties"]["id"] for feature in features] == [
        f"tile {number} é" for number in range(4)
    ]
    assert [feature["geometry"] and feature["geometry"]["type"] for feature in features] == [
        "Polygon", None, "MultiPolygon", "Polygon",
    ]  # fmt: skip
    assert features[0]["geometry"]["coordinates"] == [
        [[5.1, 50.2], [5.3, 50.2], [5.3, 50.4], [5.1, 50.4], [5.1, 50.2]]
    ]
    assert [part[0][:2] for part in features[2]["geometry"]["coordinates"]] == [
        [[179.5, -1.0], [180.0, -1.0]],
        [[-180.0, -1.0], [-179.5, -1.0]],
    ]
    bounds = pyogrio.read_bounds(tmp_path / "e.geojson")[1][:, 0]
    np.testing.assert_array_equal(bounds, [5.1, 50.2, 5.3, 50.4])


@pytest.mark.parametrize("box", [[5e5, 5e6, 6e5, 5.1e6], [np.nan] * 4])
def test_places_that_are_no_degrees_are_no_geometry(tmp_path, box):
    index = small_index(tmp_path / "index", [{"box": [box, box], "date": ["NaT", "NaT"]}])
    write_parquet(index, tmp_path / "e.parquet")
    schema = pyarrow.parquet.read_schema(tmp_path / "e.parquet")
    assert "geometry" not in schema.names and b"geo" not in schema.metadata
    archive = open_archive(f"embeddings:{tmp_path / 'e.parquet'}")
    assert archive.boxes.tobytes() == index.take("box", np.arange(2)).tobytes()


@pytest.mark.slow
def test_from_the_command_line(workdir, tmp_path):
    export = functools.partial(run_script, "export")
    done = export(f"--checkpoint={workdir}", f"--stablehlo={tmp_path / 'model'}")
    assert (done.returncode, done.stderr) == (0, "")
    assert deserialised(tmp_path / "model").in_avals[0].shape[1:] == (16, 16, 3)
    half = export(f"--checkpoint={workdir}")
    assert (half.returncode, half.stderr) == (
        2,
        "error: give --checkpoint with --onnx or --stablehlo, and --index with --parquet.\n",
    )
    assert (
        export().stderr == "error: give --checkpoint and --onnx or --stablehlo, or --index and --parquet.\n"
    )
