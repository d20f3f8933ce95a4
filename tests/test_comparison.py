import dataclasses

import numpy as np
import pytest

from anneal_jax import comparison
from anneal_jax.comparison import RIVALS, TRAINED_ONCE, configure, run_grid, system_names
from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError, WorkdirError
from anneal_jax.experiment import run_experiment


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    embeddings = (labels[:, None] + rng.normal(size=(40, 4))).astype(np.float32)
    np.savez(tmp_path / "vectors.npz", embeddings=embeddings, labels=labels)
    return ExperimentConfig(
        archive=f"embeddings:{tmp_path / 'vectors.npz'}", rounds=0, steps=1, batch_size=8
    )


def test_every_system_can_be_configured_and_no_two_are_alike():
    recipe = ExperimentConfig(steps=7)
    configs = [configure(recipe, name, 3) for name in system_names()]
    assert len(set(configs)) == len(configs) >= 15
    assert {config.steps for config in configs} == {7}
    assert {config.seed for config in configs} == {3}
    assert set(TRAINED_ONCE) <= set(RIVALS)


def test_a_recipe_of_a_rival_does_not_leak_into_pairs():
    config = configure(ExperimentConfig(supervision="tcal"), "mgue", 0)
    assert (config.supervision, config.acquisition, config.diversity) == ("pairs", "mgue", False)


def test_an_unknown_system_is_named_beside_the_nearest():
    with pytest.raises(ConfigError, match=r"there is no system 'group_asc' \(did you mean 'group_ask'\?\)"):
        configure(ExperimentConfig(), "group_asc", 0)


def test_a_wrong_name_is_found_before_anything_runs(config, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "run_experiment", None)
    with pytest.raises(ConfigError, match="there is no system 'tcall'"):
        list(run_grid(config, ["random", "tcall"], [0], tmp_path / "grid"))


def test_the_grid_runs_seed_by_seed_and_a_finished_cell_is_only_read(config, tmp_path, monkeypatch):
    first = list(run_grid(config, ["random", "class_labels"], [4, 5], tmp_path / "grid"))
    assert [cell[:2] for cell in first] == [(s, n) for n in (4, 5) for s in ("random", "class_labels")]
    monkeypatch.setattr(comparison, "run_experiment", None)
    assert list(run_grid(config, ["random", "class_labels"], [4, 5], tmp_path / "grid")) == first


def test_a_cell_that_broke_goes_on(config, tmp_path, monkeypatch):
    def broken(*arguments):
        run_experiment(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(comparison, "run_experiment", broken)
    with pytest.raises(KeyboardInterrupt):
        list(run_grid(config, ["random"], [0], tmp_path / "grid"))
    monkeypatch.setattr(comparison, "run_experiment", run_experiment)
    (cell,) = run_grid(config, ["random"], [0], tmp_path / "grid")
    assert len(cell.rows) == 1


def test_rounds_may_grow_and_no_other_setting_may_change(config, tmp_path):
    list(run_grid(config, ["random"], [0], tmp_path / "grid"))
    (grown,) = run_grid(dataclasses.replace(config, rounds=1), ["random"], [0], tmp_path / "grid")
    assert len(grown.rows) == 2
    with pytest.raises(WorkdirError, match=r"margin was 0\.1 and is now 0\.3"):
        list(
            run_grid(dataclasses.replace(config, rounds=1, margin=0.3), ["random"], [0], tmp_path / "grid")
        )
