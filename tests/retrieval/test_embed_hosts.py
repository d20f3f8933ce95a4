"""Several real processes write one index at the same time, and one of them is killed."""

import signal
import socket
import time

import numpy as np
import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.experiments.run import run_experiment
from anneal_jax.retrieval.embedder import load_embedder
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.manifest import manifest_path, read_manifest
from tests.launching import Forked
from tests.retrieval.small_index import Tiles

pytestmark = pytest.mark.slow  # each test starts processes of their own

NUM_ROWS, SHARD_ROWS = 40_000, 1_000
TIMEOUT_S = 300.0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model of short vectors, and an archive of many of them."""
    place, rng = tmp_path_factory.mktemp("hosts"), np.random.default_rng(0)
    few = rng.normal(size=(60, 4)).astype(np.float32)
    np.savez(place / "few.npz", embeddings=few, labels=np.arange(60) % 3)
    config = ExperimentConfig(archive=f"embeddings:{place / 'few.npz'}", rounds=0, steps=20)
    run_experiment(config, place / "run")
    np.savez(place / "many.npz", embeddings=rng.normal(size=(NUM_ROWS, 4)).astype(np.float32))
    return place


def embed(place, index, process, stdout):
    return Forked(
        *("launch/embed.py", f"--checkpoint={place / 'run'}", f"--index={index}"),
        *(f"--archive=embeddings:{place / 'many.npz'}", f"--shard_rows={SHARD_ROWS}"),
        *(f"--process={process}", "--num_processes=2"),
        stdout=stdout,
        environment={"XLA_FLAGS": ""},
    )


def kill_after_its_first_shard(child, index, process):
    """Return how many shards it had acknowledged."""
    path, deadline = manifest_path(index, process), time.monotonic() + TIMEOUT_S
    while not path.exists():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.002)
    child.kill()
    assert child.wait() == -signal.SIGKILL
    return len(read_manifest(path).shards)


def test_two_commands_at_once_one_killed_and_started_again(place, tmp_path):
    index = tmp_path / "index"
    said = [tmp_path / name for name in ("first", "second", "again")]
    children = [embed(place, index, process, said[process]) for process in range(2)]
    num_kept = kill_after_its_first_shard(children[1], index, 1)
    assert 0 < num_kept < NUM_ROWS // SHARD_ROWS // 2
    assert children[0].wait() == 0 and said[0].read_text().startswith("20,000 tiles encoded")
    broken = open_index(index)
    assert "process 1 has not finished" in broken.notes[0]
    assert broken.num_rows == NUM_ROWS // 2 + num_kept * SHARD_ROWS
    written = {path.name: path.stat().st_mtime_ns for path in index.glob("shard-*")}

    assert embed(place, index, 1, said[2]).wait() == 0
    assert (
        said[2]
        .read_text()
        .startswith(f"{NUM_ROWS // 2 - num_kept * SHARD_ROWS:,} tiles encoded, {num_kept},000 were")
    )
    whole = open_index(index)
    assert whole.notes == () and whole.num_rows == NUM_ROWS
    for record in broken.shards:  # what was acknowledged is not written again
        name = record.file_name("vectors")
        assert (index / name).stat().st_mtime_ns == written[name]

    archive, embedder = open_archive(f"embeddings:{place / 'many.npz'}"), load_embedder(place / "run")
    ids = whole.ids(np.arange(NUM_ROWS))
    assert sorted(ids) == sorted(archive.ids)
    row_of = {tile_id: row for row, tile_id in enumerate(archive.ids)}
    rows = np.array([row_of[tile_id] for tile_id in ids])
    owners = np.concatenate([[int(record.name.split("-")[1])] * record.num_rows for record in whole.shards])
    np.testing.assert_array_equal(owners, rows >= NUM_ROWS // 2)
    expected = embedder.embed_archive(archive, np.arange(NUM_ROWS))[rows]
    np.testing.assert_allclose(np.concatenate(whole.column("vectors")), expected, atol=1e-3)


DISTRIBUTED = """
import sys
import jax
from anneal_jax.retrieval.index_writer import append_tiles
from tests.retrieval.small_index import CARD, Tiles, embed
address, process, folder = sys.argv[1:]
jax.distributed.initialize(address, num_processes=2, process_id=int(process))
print(append_tiles(folder, Tiles(tuple(range(41))), embed, CARD, shard_rows=6).num_new)
"""


def test_processes_of_jax_distributed_know_their_shares(tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    said = [tmp_path / f"said_{process}" for process in range(2)]
    children = [
        Forked(
            *("-c", DISTRIBUTED, address, process, tmp_path / "index"),
            stdout=said[process],
            environment={"XLA_FLAGS": ""},
        )
        for process in range(2)
    ]
    assert [child.wait() for child in children] == [0, 0]
    assert [int(path.read_text().split()[-1]) for path in said] == [20, 21]
    index = open_index(tmp_path / "index")
    assert index.notes == () and sorted(index.ids(np.arange(41))) == sorted(Tiles(tuple(range(41))).ids)
