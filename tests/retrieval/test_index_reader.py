import json
import os
import random

import numpy as np
import pytest

from anneal_jax.errors import ConfigError, RetrievalError
from anneal_jax.files.seals import write_sealed
from anneal_jax.retrieval import index_reader as module
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.manifest import FORMAT
from tests.retrieval.small_index import CARD, Tiles, embed, flip, vector

NUM_FLIPS = 10


@pytest.fixture
def folder(tmp_path):
    append_tiles(tmp_path, Tiles(tuple(range(20))), embed, CARD, shard_rows=8)
    return tmp_path


def files_of(folder):
    return sorted(path for path in folder.iterdir() if not path.name.startswith("lock"))


def test_rows_ids_and_columns_fit_each_other(folder):
    index = open_index(folder)
    rows = np.array([19, 0, 8, 7, 0])
    assert index.ids(rows) == [f"tile {row:04d} é" for row in rows]
    assert index.rows_of(index.ids(rows)).tolist() == rows.tolist()
    assert index.rows_of(["tile 0003 é", "none", "tile 0003"]).tolist() == [3, -1, -1]
    assert index.rows_of([]).tolist() == [] and index.ids([]) == []
    expected = np.stack([vector(row) for row in rows]).astype(np.float16)
    np.testing.assert_array_equal(index.take("vectors", rows), expected)
    assert index.labels([1, 2]) == ["odd", "even"]
    assert index.take("date", rows) is None and index.source(19) == "tiles"
    assert all(isinstance(column, np.memmap) for column in index.column("vectors"))


def test_a_shard_without_classes_has_blank_ones(folder):
    append_tiles(folder, Tiles((50, 51), with_labels=False), embed, CARD)
    assert open_index(folder).labels([1, 20, 21]) == ["odd", "", ""]


@pytest.mark.parametrize("verify", ["always", "once"])
def test_a_flipped_bit_is_noticed_wherever_it_is(folder, verify):
    rng = random.Random(0)
    files = files_of(folder)
    for number in range(NUM_FLIPS):
        path = files[number % len(files)] if number < len(files) else rng.choice(files)
        place, bit = rng.randrange(path.stat().st_size), rng.randrange(8)
        flip(path, place, bit)
        with pytest.raises(RetrievalError, match=rf"{path.name}.* is damaged"):
            open_index(folder, verify=verify)
        flip(path, place, bit)
    assert open_index(folder, verify=verify).num_rows == 20


@pytest.mark.parametrize("verify", ["always", "once"])
@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
def test_a_lost_or_empty_file_is_noticed(folder, verify, damage):
    open_index(folder, verify=verify)
    damage(folder / "shard-0-000001.vectors.npy")
    with pytest.raises(RetrievalError, match=r"shard-0-000001.vectors.npy.* is damaged"):
        open_index(folder, verify=verify)


def test_verified_once_means_that_unchanged_files_are_trusted(folder, monkeypatch):
    path = folder / "shard-0-000000.vectors.npy"
    open_index(folder, verify="once")
    read = []
    damaged_files = module.damaged_files
    monkeypatch.setattr(
        module,
        "damaged_files",
        lambda root, seals, **named: read.extend(seals) or damaged_files(root, seals, **named),
    )
    open_index(folder, verify="once")
    assert read == []

    # What it does not notice is what its help says: a file that changed behind the file system's back.
    times = path.stat().st_mtime_ns
    flip(path, 200, 1)
    os.utime(path, ns=(times, times))
    open_index(folder, verify="once")
    with pytest.raises(RetrievalError, match=r"vectors.npy is damaged"):
        open_index(folder)
    os.utime(path, ns=(times + 1, times + 1))
    with pytest.raises(RetrievalError, match=r"vectors.npy is damaged"):
        open_index(folder, verify="once")


def test_new_shards_are_verified_though_old_ones_are_trusted(folder):
    open_index(folder, verify="once")
    append_tiles(folder, Tiles(tuple(range(25))), embed, CARD)
    flip(folder / "shard-0-000003.vectors.npy", 150, 0)
    with pytest.raises(RetrievalError, match=r"shard-0-000003.vectors.npy is damaged"):
        open_index(folder, verify="once")


def test_a_torn_note_of_what_is_trusted_trusts_nothing(folder):
    open_index(folder, verify="once")
    flip(folder / "shard-0-000000.ids.npy", 140, 1)
    (folder / "verified.json").write_text('{"shard')
    with pytest.raises(RetrievalError, match="is damaged"):
        open_index(folder, verify="once")


def test_what_is_no_index_is_reported_in_words(tmp_path):
    with pytest.raises(RetrievalError, match=r"contains no index; write one with launch/embed.py"):
        open_index(tmp_path / "absent")
    with pytest.raises(ConfigError, match="there is no verify 'twice'"):
        open_index(tmp_path, verify="twice")


def test_manifests_of_two_models_or_another_format_are_refused(folder):
    content = json.loads((folder / "manifest-0.json").read_text())["content"]
    for change, sentence in [
        ({"model": {**content["model"], "fingerprint": "other"}, "process": 1}, "vectors of two models"),
        ({"format": FORMAT + 1, "process": 1}, "written by another version"),
    ]:
        write_sealed(folder / "manifest-1.json", {**content, **change})
        with pytest.raises(RetrievalError, match=sentence):
            open_index(folder)
