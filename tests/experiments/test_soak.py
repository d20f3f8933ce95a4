"""Long proofs, run by `make soak`; the last result is in docs/lab/operations.md."""

import dataclasses
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from anneal_jax.acquisition.scan.all_pairs import scan_pairs
from anneal_jax.acquisition.scan.scorers import threshold_scorer
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.round_log import read_rounds, without_times
from anneal_jax.pairs.canonical import canonicalise, pair_keys

pytestmark = pytest.mark.soak

NUM_KILLS = 40

_RUN = """
import json, sys
from anneal_jax.config import config_from_mapping
from anneal_jax.experiments import method, run
method.ORACLE_ANSWERS_PER_COMMIT = 1
settings, workdir = json.loads(sys.argv[1])
run.run_experiment(config_from_mapping(settings), workdir)
"""


def _start(config: ExperimentConfig, workdir: pathlib.Path) -> subprocess.Popen[bytes]:
    arguments = json.dumps([dataclasses.asdict(config), str(workdir)])
    return subprocess.Popen([sys.executable, "-c", _RUN, arguments], env={**os.environ, "XLA_FLAGS": ""})


def test_kill_9_at_random_moments_changes_nothing(tmp_path: pathlib.Path) -> None:
    config = ExperimentConfig(
        archive="digits",
        backbone="pixels",
        initial_draw="random",
        rounds=12,
        pairs_per_round=100,
        steps=100,
    )
    start = time.monotonic()
    unbroken = _start(config, tmp_path / "unbroken")
    while not (tmp_path / "unbroken" / "answers.sqlite").exists():
        assert unbroken.poll() is None
        time.sleep(0.01)
    begun_s = time.monotonic() - start
    assert unbroken.wait() == 0
    work_s = time.monotonic() - start - begun_s

    rng = random.Random(0)
    num_killed = 0
    for _ in range(NUM_KILLS):
        process = _start(config, tmp_path / "killed")
        try:
            # As fast as this machine is: most kills fall into the work, and the run still advances.
            process.wait(timeout=rng.uniform(0.5 * begun_s, begun_s + 0.15 * work_s))
            break
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            num_killed += 1
    assert _start(config, tmp_path / "killed").wait() == 0
    expected, killed = (
        without_times(read_rounds(tmp_path / name / "rounds.jsonl")) for name in ("unbroken", "killed")
    )
    print(f"{num_killed} kills")
    assert num_killed >= 5
    assert killed == expected


def test_a_million_images_are_scanned_exactly() -> None:
    """Plant 1,000 pairs at the threshold among 5e11 that lie far from it; all must be found."""
    num_images, dim, num_planted, threshold = 1_000_000, 32, 1_000, 0.95
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(num_images, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    places = rng.permutation(num_images)[: 2 * num_planted].reshape(num_planted, 2)
    first, second = vectors[places[:, 0]], vectors[places[:, 1]]
    across = second - np.sum(first * second, axis=1, keepdims=True) * first
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    vectors[places[:, 1]] = threshold * first + np.sqrt(1 - threshold**2) * across

    scorer = threshold_scorer(vectors.astype(np.float32), threshold)
    start = time.monotonic()
    found = scan_pairs(scorer, num_images, num_planted)
    print(f"{found.num_scored / (time.monotonic() - start):.2e} pairs/s")
    expected = np.sort(pair_keys(canonicalise(places), num_images))
    np.testing.assert_array_equal(np.sort(pair_keys(found.pair_indices, num_images)), expected)
    assert found.num_scored == num_images * (num_images - 1) // 2
    assert found.is_certified
