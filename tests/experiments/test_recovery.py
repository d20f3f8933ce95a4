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
        steps=4,
        batch_size=16,
        pairs_per_round=12,
        initial_fraction=0.05,
    )


@pytest.fixture(scope="module")
def two_rounds(config, tmp_path_factory):
    """The folder of a run of the config, and what it returned."""
    workdir = tmp_path_factory.mktemp("two") / "run"
    return workdir, run_experiment(config, workdir)


@pytest.fixture(scope="module")
def three_rounds(config, tmp_path_factory):
    """Those of one that had a round more from the start."""
    workdir = tmp_path_factory.mktemp("three") / "run"
    return workdir, run_experiment(dataclasses.replace(config, rounds=3), workdir)


@pytest.mark.parametrize("rounds", [(2,), (2, 1), (2, 1, 0)])
def test_the_next_round_is_that_of_the_unbroken_run(
    config, two_rounds, three_rounds, tmp_path, rounds, caplog
):
    shutil.copytree(two_rounds[0], tmp_path / "broken")
    for round_index in rounds:
        damage_checkpoint(tmp_path / "broken", round_index)
    outcome = run_experiment(dataclasses.replace(config, rounds=3), tmp_path / "broken")
    assert without_times(outcome.rows) == without_times(three_rounds[1].rows)
    assert all(f"checkpoint of round {number} in" in caplog.text for number in rounds)
    caplog.clear()
    # The rounds were trained and saved again: nothing is damaged any more.
    assert load_embedder(tmp_path / "broken").fingerprint == load_embedder(three_rounds[0]).fingerprint
    run_experiment(dataclasses.replace(config, rounds=3), tmp_path / "broken")
    assert not caplog.records


def test_a_workdir_without_manifests_goes_on(config, two_rounds, three_rounds, tmp_path, caplog):
    shutil.copytree(two_rounds[0], tmp_path / "old")
    for manifest in (tmp_path / "old" / "checkpoints").glob("*/manifest.json"):
        manifest.unlink()
    grown = run_experiment(dataclasses.replace(config, rounds=3), tmp_path / "old")
    assert without_times(grown.rows) == without_times(three_rounds[1].rows)
    assert "so it cannot be verified" in caplog.text


def test_a_checkpoint_names_its_settings_its_inputs_and_its_answers(config, two_rounds):
    workdir, outcome = two_rounds
    for row in outcome.rows:
        path = workdir / "checkpoints" / str(row["round_index"]) / "manifest.json"
        provenance = json.loads(path.read_text())["content"]["provenance"]
        assert provenance["config"] == dataclasses.asdict(choose_start(config))
        assert provenance["inputs"] == json.loads((workdir / "inputs.json").read_text())
        assert provenance["num_answers"] == row["bits_spent"]
