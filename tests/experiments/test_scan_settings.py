"""The scan's settings reach the scan, and what it tells of itself reaches the log."""

import numpy as np
import pytest

from anneal_jax.acquisition.registry import ScanSettings
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments import selection
from anneal_jax.experiments.round_log import read_rounds
from anneal_jax.experiments.run import run_experiment


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("archive") / "vectors.npz"
    embeddings = rng.normal(size=(60, 8)).astype(np.float32)
    np.savez(path, embeddings=embeddings, labels=np.arange(60) % 3)
    return path


def run(vectors, workdir, monkeypatch, **changes):
    """Run one round, and return its row and the scan settings that its selection was given."""
    seen = []

    def spying(acquisition, view, *arguments, **named):
        seen.append(view.scan)
        return select_pairs(acquisition, view, *arguments, **named)

    select_pairs = selection.select_pairs
    monkeypatch.setattr(selection, "select_pairs", spying)
    settings = {"rounds": 1, "steps": 5, "batch_size": 16, "pairs_per_round": 5, **changes}
    run_experiment(ExperimentConfig(archive=f"embeddings:{vectors}", **settings), workdir)
    first, second = read_rounds(workdir / "rounds.jsonl")
    for name in ("selection_certified", "selection_band", "selection_band_complete", "pool_share"):
        assert first[name] is None
    return second, seen[0]


def test_settings_of_the_scan_reach_it_and_its_certificate_the_log(vectors, tmp_path, monkeypatch):
    row, settings = run(
        vectors,
        tmp_path,
        monkeypatch,
        acquisition="bcgue",
        classifier_order="two_order",
        scan_precision="bfloat16_3x",
        scan_share=0.4,
        scan_tile_size=8,
    )
    assert settings == ScanSettings("two_order", "bfloat16_3x", 0.4, 8)
    assert row["selection_certified"] is True
    assert row["selection_band"] >= 5
    assert row["selection_band_complete"] is True
    assert 0.4 <= row["pool_share"] < 0.8


def test_without_a_scan_there_is_nothing_to_certify(vectors, tmp_path, monkeypatch):
    row, settings = run(vectors, tmp_path, monkeypatch, acquisition="random")
    assert settings == ScanSettings()
    assert row["selection_certified"] is row["selection_band"] is row["pool_share"] is None
