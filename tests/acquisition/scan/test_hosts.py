"""Two real processes on loopback find the pairs that one process finds."""

import socket

import numpy as np
import pytest

from anneal_jax.acquisition.scan.all_pairs import scan_pairs
from anneal_jax.acquisition.scan.scorers import threshold_scorer
from tests.launching import Forked

_NUM_IMAGES = 150
_CHILD = """
import sys
import jax, numpy as np
from anneal_jax.acquisition.scan.progress import scan_progress
from anneal_jax.acquisition.scan.all_pairs import scan_pairs
from anneal_jax.acquisition.scan.scorers import threshold_scorer

address, process, embeddings, out = sys.argv[1:]
jax.distributed.initialize(address, num_processes=2, process_id=int(process))
assert jax.process_count() == 2 and len(jax.local_devices()) == 2
embeddings = np.load(embeddings)
done = []
found = scan_pairs(
    threshold_scorer(embeddings, 0.25), len(embeddings), 300, tile_size=16, progress=done.append
)
np.savez(out, done=sum(done), total=scan_progress(len(embeddings)).total, **found._asdict())

crowded = threshold_scorer(np.load("crowded.npy"), 1.0)._replace(band_pairs=0)
found = scan_pairs(crowded, len(embeddings), 5, tile_size=16)
np.savez("crowded_" + out, **found._asdict())
"""


def _free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def assert_equals(found, expected):
    for name, value in expected._asdict().items():
        np.testing.assert_array_equal(found[name], value, err_msg=name)


@pytest.mark.slow
def test_two_processes_return_the_pairs_of_one(tmp_path):
    embeddings = np.random.default_rng(0).normal(size=(_NUM_IMAGES, 8)).astype(np.float32)
    np.save(tmp_path / "embeddings.npy", embeddings)
    # All of the first tile ties, past what is kept: one process must drop pairs, the other need not.
    crowded = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    crowded[:16] = np.eye(8, dtype=np.float32)[0]
    np.save(tmp_path / "crowded.npy", crowded)
    (tmp_path / "child.py").write_text(_CHILD)
    environment = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    address = _free_address()
    files = ["embeddings.npy", "found_0.npz", "embeddings.npy", "found_1.npz"]
    children = [
        Forked(
            *("child.py", address, process, *files[2 * process : 2 * process + 2]),
            stderr=tmp_path / f"stderr_{process}",
            cwd=tmp_path,
            environment=environment,
        )
        for process in range(2)
    ]
    assert [child.wait() for child in children] == [0, 0], (tmp_path / "stderr_0").read_text()
    expected = scan_pairs(threshold_scorer(embeddings, 0.25), _NUM_IMAGES, 300, tile_size=16)
    found = [dict(np.load(tmp_path / f"found_{process}.npz")) for process in range(2)]
    # Each did a part of the work, together all of it, and both hold the whole result.
    assert all(0.8 < part["done"] / part["total"] < 1.2 for part in found)
    assert sum(part["done"] for part in found) == expected.num_scored
    for part in found:
        assert_equals(part, expected)
    expected = scan_pairs(
        threshold_scorer(crowded, 1.0)._replace(band_pairs=0), _NUM_IMAGES, 5, tile_size=16
    )
    assert not expected.is_certified
    for process in range(2):
        assert_equals(np.load(tmp_path / f"crowded_found_{process}.npz"), expected)
