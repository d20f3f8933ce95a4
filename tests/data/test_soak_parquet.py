"""A long proof that ten million vectors become an index in bounded memory, run by `make soak`."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.run import run_experiment
from anneal_jax.retrieval.index_reader import open_index
from tests.conftest import ROOT

pytestmark = pytest.mark.soak

NUM_ROWS, DIM = int(os.environ.get("SOAK_PARQUET_ROWS", "10_000_000")), 256
MOST_BYTES = 2**31
DISK_BYTES = NUM_ROWS * DIM * (4 + 4 + 2) * 1.2  # the file, the scratch file and the index

WRITING = """
import json, sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
path, num_rows, dim = json.loads(sys.argv[1])
step, rng = 100_000, np.random.default_rng(0)
schema = pa.schema([
    ("unique_id", pa.string()), ("embedding", pa.list_(pa.float32())), ("timestamp", pa.timestamp("ms")),
    ("centre_lat", pa.float32()), ("centre_lon", pa.float32()),
])
drawn = rng.standard_normal((step, dim)).astype(np.float32)
with pq.ParquetWriter(path, schema, use_dictionary=False, compression="none") as writer:
    for start in range(0, num_rows, step):
        vectors = np.roll(drawn, start // step, axis=1)
        vectors[:, 0] = np.arange(start, start + step) % 97
        offsets = pa.array(np.arange(0, step * dim + 1, dim, dtype=np.int32))
        moments = 1_600_000_000_000 + 1_000 * np.arange(start, start + step)
        writer.write_table(pa.table([
            pa.array([f"tile-{number:012d}" for number in range(start, start + step)]),
            pa.ListArray.from_arrays(offsets, pa.array(vectors.ravel())),
            pa.array(moments, pa.timestamp("ms")),
            pa.array(rng.uniform(-80, 80, step).astype(np.float32)),
            pa.array(rng.uniform(-180, 180, step).astype(np.float32)),
        ], schema=schema))
"""


def trained(folder):
    """Train a model of vectors on a few of them, and return its workdir."""
    vectors = np.random.default_rng(0).standard_normal((200, DIM)).astype(np.float32)
    np.savez(folder / "few.npz", embeddings=vectors, labels=np.arange(200) % 4)
    config = ExperimentConfig(archive=f"embeddings:{folder / 'few.npz'}", rounds=1, steps=5)
    run_experiment(config, folder / "run")
    return folder / "run"


def test_ten_million_vectors_become_an_index_in_two_gibibytes(tmp_path, monkeypatch):
    if shutil.disk_usage(tmp_path).free < DISK_BYTES:
        pytest.skip(f"{DISK_BYTES / 1e9:.0f} GB of disk are needed at {tmp_path}")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    path, workdir = tmp_path / "vectors.parquet", trained(tmp_path)
    arguments = json.dumps([str(path), NUM_ROWS, DIM])
    subprocess.run([sys.executable, "-c", WRITING, arguments], check=True)
    command = ["launch/embed.py", f"--checkpoint={workdir}", f"--archive=embeddings:{path}"]
    process = subprocess.Popen([sys.executable, *command, f"--index={tmp_path / 'index'}"], cwd=ROOT)
    _, status, used = os.wait4(process.pid, 0)
    print(
        f"{NUM_ROWS:,} rows: {used.ru_maxrss / 2**20:.2f} GiB, {used.ru_utime + used.ru_stime:.0f} s of CPU"
    )
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    index = open_index(tmp_path / "index")
    rows = np.array([0, NUM_ROWS // 2, NUM_ROWS - 1])
    assert index.num_rows == NUM_ROWS
    assert index.ids(rows) == [f"tile-{row:012d}" for row in rows]
    np.testing.assert_array_equal(index.take("date", rows), (1_600_000_000 + rows).astype("datetime64[s]"))
    assert used.ru_maxrss * 1024 <= MOST_BYTES  # kilobytes, of the child
