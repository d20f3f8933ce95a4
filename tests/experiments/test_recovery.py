"""A run whose checkpoints were damaged goes on as if they had not been."""

import dataclasses
import json
import shutil

import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.round_log import without_times
from anneal_jax.experiments.run import run_experiment
from anneal_jax.retrieval.embedder import load_embedder
from anneal_jax.training.start import choose_start
from tests.conftest import ROOT
from tests.experiments.breaking import damage_checkpoint


@pytest.fixture(scope="module")
def config():
    return ExperimentConfig(
        archive=f"embeddings:{ROOT / 'tests' / 'golden' / 'vectors.npz'}",
        rounds=2,
        steps=20,
        batch_size=16,
        pairs_per_round=12,
        initial_fraction=0.05,
    )


@pytest.mark.parametrize("rounds", [(2,), (2, 1), (2, 1, 0)])
def test_the_next_round_is_that_of_the_unbroken_run(config, tmp_path, rounds, caplog):
    unbroken = run_experiment(dataclasses.replace(config, rounds=3), tmp_path / "unbroken")
    run_experiment(config, tmp_path / "broken")
    for round_index in rounds:
        damage_checkpoint(tmp_path / "broken", round_index)
    outcome = run_experiment(dataclasses.replace(config, rounds=3), tmp_path / "broken")
    assert without_times(outcome.rows) == without_times(unbroken.rows)
    assert all(f"checkpoint of round {number} in" in caplog.text for number in rounds)
    caplog.clear()
    # The rounds were trained and saved again: nothing is damaged any more.
    assert (
        load_embedder(tmp_path / "broken").fingerprint == load_embedder(tmp_path / "unbroken").fingerprint
    )
    run_experiment(dataclasses.replace(config, rounds=3), tmp_path / "broken")
    assert not caplog.records


def test_a_workdir_without_manifests_goes_on(config, tmp_path, caplog):
    run_experiment(config, tmp_path / "old")
    for manifest in (tmp_path / "old" / "checkpoints").glob("*/manifest.json"):
        manifest.unlink()
    shutil.copytree(tmp_path / "old", tmp_path / "copy")
    grown = run_experiment(dataclasses.replace(config, rounds=3), tmp_path / "copy")
    straight = run_experiment(dataclasses.replace(config, rounds=3), tmp_path / "straight")
    assert without_times(grown.rows) == without_times(straight.rows)
    assert "so it cannot be verified" in caplog.text


def test_a_checkpoint_names_its_settings_its_inputs_and_its_answers(config, tmp_path):
    outcome = run_experiment(config, tmp_path)
    for row in outcome.rows:
        path = tmp_path / "checkpoints" / str(row["round_index"]) / "manifest.json"
        provenance = json.loads(path.read_text())["content"]["provenance"]
        assert provenance["config"] == dataclasses.asdict(choose_start(config))
        assert provenance["inputs"] == json.loads((tmp_path / "inputs.json").read_text())
        assert provenance["num_answers"] == row["bits_spent"]
