"""Long proofs of checkpoints and indexes, run by `make soak`; last result: docs/lab/operations.md."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import closing

import numpy as np
import pytest

from anneal_jax.errors import AnnealError, RetrievalError, WorkdirError
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.training.checkpoints import RoundCheckpoints
from tests.conftest import ROOT
from tests.retrieval.small_index import CARD, Tiles, embed, flip

pytestmark = pytest.mark.soak

NUM_FLIPS, NUM_KILLS = 200, 40


def bits_of(files, seed):
    """Yield random bits, every bit of all the files being equally likely."""
    rng = random.Random(seed)
    sizes = [path.stat().st_size for path in files]
    for path in rng.choices(files, weights=sizes, k=NUM_FLIPS):
        yield path, rng.randrange(path.stat().st_size), rng.randrange(8)


def state(round_index):
    rng = np.random.default_rng(round_index)
    return {
        "params": {"kernel": np.float32(rng.normal(size=(300, 256)))},
        "mean": np.float32(rng.normal(size=300)),
    }


def test_200_flipped_bits_of_a_checkpoint_are_noticed(tmp_path):
    with closing(RoundCheckpoints(tmp_path)) as checkpoints:
        for round_index in (0, 1):
            checkpoints.save(round_index, state(round_index))
        files = [path for path in (tmp_path / "1").rglob("*") if path.is_file()]
        for path, place, bit in bits_of(files, 0):
            flip(path, place, bit)
            with pytest.raises(WorkdirError, match=r"of round 1 in .* is damaged"):
                checkpoints.restore(1)
            found = checkpoints.restore_newest()
            assert found.round_index == 0
            np.testing.assert_array_equal(found.state["mean"], state(0)["mean"])
            flip(path, place, bit)
        assert checkpoints.restore_newest().round_index == 1


def test_200_flipped_bits_of_an_index_are_noticed(tmp_path):
    append_tiles(tmp_path, Tiles(tuple(range(1_000))), embed, CARD, shard_rows=300)
    open_index(tmp_path, verify="once")
    files = [path for path in tmp_path.iterdir() if path.name.startswith(("shard", "manifest"))]
    for path, place, bit in bits_of(files, 1):
        flip(path, place, bit)
        for verify in ("always", "once"):
            with pytest.raises(RetrievalError, match="is damaged"):
                open_index(tmp_path, verify=verify)
        flip(path, place, bit)
    assert open_index(tmp_path).num_rows == 1_000


def started(script, arguments):
    """Start a script, and return its process once it is ready."""
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    process = subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(arguments)],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "ready\n"
    return process


def time_of_some_lines(script, arguments):
    """Return in how many seconds a script acknowledges a few lines on this machine, as busy as it is."""
    process = started(script, arguments)
    start = time.monotonic()
    assert all(process.stdout.readline() for _ in range(3))
    elapsed_s = time.monotonic() - start
    process.kill()
    process.communicate()
    return 2 * elapsed_s


def run_until_killed(script, arguments, rng, most_s):
    """Start a script, kill it at a random moment, and return the lines that it had acknowledged."""
    process = started(script, arguments)
    time.sleep(rng.uniform(0, most_s))
    process.send_signal(signal.SIGKILL)
    return process.communicate()[0].split()


SAVING = """
import json, sys
import numpy as np
from anneal_jax.training.checkpoints import RoundCheckpoints
folder, first = json.loads(sys.argv[1])
checkpoints = RoundCheckpoints(folder)
print("ready", flush=True)
for number in range(first, 10_000):
    checkpoints.save(number, {"weights": np.full(100_000, number, np.float32)})
    print(number, flush=True)
"""


def test_kill_9_during_saves_loses_no_acknowledged_round(tmp_path):
    rng, acknowledged = random.Random(0), -1
    most_s = time_of_some_lines(SAVING, [str(tmp_path / "measured"), 0])
    for _ in range(NUM_KILLS):
        lines = run_until_killed(SAVING, [str(tmp_path / "kept"), acknowledged + 1], rng, most_s)
        acknowledged = max([acknowledged, *map(int, lines)])
        with closing(RoundCheckpoints(tmp_path / "kept")) as checkpoints:
            found = checkpoints.restore_newest()
            newest = -1 if found is None else found.round_index
            assert newest >= acknowledged
            for round_index in range(max(0, newest - 2), newest + 1):
                weights = checkpoints.restore(round_index)["weights"]
                np.testing.assert_array_equal(weights, np.full(100_000, round_index, np.float32))
    print(f"{NUM_KILLS} kills, {acknowledged + 1} rounds")
    assert acknowledged >= NUM_KILLS / 2


APPENDING = """
import json, sys
from anneal_jax.retrieval import index_writer
from tests.retrieval.small_index import CARD, Tiles, embed
folder, num_tiles = json.loads(sys.argv[1])
written = index_writer.write_manifest
def telling(folder, manifest):
    written(folder, manifest)
    print(sum(shard.num_rows for shard in manifest.shards), flush=True)
index_writer.write_manifest = telling
print("ready", flush=True)
index_writer.append_tiles(folder, Tiles(tuple(range(num_tiles))), embed, CARD, shard_rows=40)
"""


def test_kill_9_during_appends_loses_no_acknowledged_tile(tmp_path):
    rng, acknowledged, num_tiles = random.Random(1), 0, 40_000
    most_s = time_of_some_lines(APPENDING, [str(tmp_path / "measured"), num_tiles])
    for _ in range(NUM_KILLS):
        lines = run_until_killed(APPENDING, [str(tmp_path / "kept"), num_tiles], rng, most_s)
        acknowledged = max([acknowledged, *map(int, lines)])
        try:
            index = open_index(tmp_path / "kept")
        except AnnealError:
            assert acknowledged == 0
            continue
        assert acknowledged <= index.num_rows <= acknowledged + 40
        ids = index.ids(np.arange(index.num_rows))
        assert len(set(ids)) == len(ids)
    print(f"{NUM_KILLS} kills, {acknowledged} tiles")
    assert acknowledged >= 40 * NUM_KILLS / 2
