import dataclasses
import multiprocessing
import os

import numpy as np
import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ArchiveError, ConfigError, WorkdirError
from anneal_jax.experiments import grid
from anneal_jax.experiments.grid import (
    FailedCell,
    choose_workers,
    query_results,
    run_grid,
)
from anneal_jax.experiments.query_results import name_results, read_results
from anneal_jax.experiments.round_log import without_times
from anneal_jax.experiments.run import run_experiment


@pytest.fixture
def config(tmp_path):
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    embeddings = (labels[:, None] + rng.normal(size=(40, 4))).astype(np.float32)
    np.savez(tmp_path / "vectors.npz", embeddings=embeddings, labels=labels)
    return ExperimentConfig(
        archive=f"embeddings:{tmp_path / 'vectors.npz'}", rounds=0, steps=1, batch_size=8
    )


def test_a_wrong_name_is_found_before_anything_runs(config, tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "run_experiment", None)
    with pytest.raises(ConfigError, match="there is no system 'tcall'"):
        list(run_grid(config, ["random", "tcall"], [0], tmp_path / "grid"))
    with pytest.raises(ConfigError, match="only exists in the frozen regime"):
        list(run_grid(dataclasses.replace(config, regime="finetune"), ["tcal"], [0], tmp_path / "grid"))
    absent = dataclasses.replace(config, archive=f"embeddings:{tmp_path / 'absent.npz'}")
    with pytest.raises(ArchiveError, match=r"absent\.npz"):
        list(run_grid(absent, ["random"], [0], tmp_path / "grid"))
    assert not (tmp_path / "grid").exists()


@pytest.mark.slow
def test_the_grid_runs_seed_by_seed_and_a_finished_cell_is_only_read(config, tmp_path, monkeypatch):
    first = list(run_grid(config, ["random", "class_labels"], [4, 5], tmp_path / "grid"))
    assert [cell[:2] for cell in first] == [(s, n) for n in (4, 5) for s in ("random", "class_labels")]
    monkeypatch.setattr(grid, "run_experiment", None)
    assert list(run_grid(config, ["random", "class_labels"], [4, 5], tmp_path / "grid")) == first


def test_a_cell_that_broke_goes_on(config, tmp_path, monkeypatch):
    def broken(*arguments):
        run_experiment(*arguments)
        raise KeyboardInterrupt

    monkeypatch.setattr(grid, "run_experiment", broken)
    with pytest.raises(KeyboardInterrupt):
        list(run_grid(config, ["random"], [0], tmp_path / "grid"))
    monkeypatch.setattr(grid, "run_experiment", run_experiment)
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


def test_a_variant_has_a_cell_of_its_own(config, tmp_path):
    plain, varied = run_grid(config, ["random", "random+steps=2"], [0], tmp_path / "grid")
    assert (plain.system, varied.system) == ("random", "random+steps=2")
    assert (tmp_path / "grid" / "random+steps=2" / "seed_0" / "finished").exists()


def test_more_rounds_that_a_kill_interrupts_are_not_taken_for_finished(config, tmp_path, monkeypatch):
    list(run_grid(config, ["random"], [0], tmp_path / "grid"))
    longer = dataclasses.replace(config, rounds=2)

    def killed(settings, folder):
        def stop(row):
            raise KeyboardInterrupt

        run_experiment(settings, folder, on_round=stop)

    monkeypatch.setattr(grid, "run_experiment", killed)
    with pytest.raises(KeyboardInterrupt):
        list(run_grid(longer, ["random"], [0], tmp_path / "grid"))
    monkeypatch.setattr(grid, "run_experiment", run_experiment)
    (cell,) = run_grid(longer, ["random"], [0], tmp_path / "grid")
    assert len(cell.rows) == 3


def test_an_error_in_one_cell_is_reported_with_its_name_and_the_others_go_on(config, tmp_path, monkeypatch):
    for folder in ("random/seed_1", "group_ask/seed_0"):
        (tmp_path / "grid" / folder).mkdir(parents=True)
    (tmp_path / "grid/random/seed_1/notes.txt").write_text("mine")

    def faulty(settings, folder):
        return {}["fault"] if settings.supervision == "group_ask" else run_experiment(settings, folder)

    monkeypatch.setattr(grid, "run_experiment", faulty)
    found = list(run_grid(config, ["random", "group_ask"], [0, 1], tmp_path / "grid"))
    assert [each[:2] for each in found] == [
        ("random", 0),
        ("group_ask", 0),
        ("random", 1),
        ("group_ask", 1),
    ]
    assert [isinstance(each, FailedCell) for each in found] == [False, True, True, True]
    assert "contains unrelated files" in found[2].reason and "\n" not in found[2].reason
    assert "Traceback" in found[1].reason and "KeyError: 'fault'" in found[1].reason
    assert (tmp_path / "grid/random/seed_1/notes.txt").read_text() == "mine"


@pytest.mark.slow
def test_workers_leave_what_one_process_leaves(config, tmp_path):
    systems, folder = ["random", "mgue+clustering"], tmp_path / "grid" / "random" / "seed_1"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    alone = list(run_grid(config, systems, [0], tmp_path / "alone"))
    found = list(run_grid(config, systems, [0, 1], tmp_path / "grid", num_workers=2))
    (failed,) = [cell for cell in found if isinstance(cell, FailedCell)]
    assert failed[:2] == ("random", 1) and "contains unrelated files" in failed.reason
    rows = {cell[:2]: without_times(cell.rows) for cell in found if cell != failed}
    assert sorted(rows) == [("mgue+clustering", 0), ("mgue+clustering", 1), ("random", 0)]
    assert {cell[:2]: without_times(cell.rows) for cell in alone}.items() <= rows.items()
    for system in systems:
        assert query_results(config, system, 0, tmp_path / "grid") == query_results(
            config, system, 0, tmp_path / "alone"
        )


@pytest.mark.soak
def test_killed_workers_leave_finished_cells_and_the_same_command_goes_on(config, tmp_path):
    longer = dataclasses.replace(config, rounds=3, steps=300)
    systems, seeds = ["mgue+clustering"], [0, 1, 2]
    running = run_grid(longer, systems, seeds, tmp_path / "grid", num_workers=2)
    first = next(running)
    for child in multiprocessing.active_children():
        child.kill()
    others = list(running)
    deaths = [cell for cell in others if isinstance(cell, FailedCell)]
    assert deaths and all("SIGKILL" in cell.reason for cell in deaths)
    again = list(run_grid(longer, systems, seeds, tmp_path / "grid", num_workers=2))
    assert first in again
    alone = list(run_grid(longer, systems, seeds, tmp_path / "alone"))
    by_seed = {cell.seed: without_times(cell.rows) for cell in again}
    assert by_seed == {cell.seed: without_times(cell.rows) for cell in alone}


def test_as_many_workers_as_pay_are_chosen(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert [choose_workers(cpus_each) for cpus_each in (0, 1, 4, 12)] == [3, 6, 1, 1]
    monkeypatch.setattr(grid.jax, "default_backend", lambda: "gpu")
    assert choose_workers() == 1


def test_what_each_query_found_is_kept_and_restored_where_it_was_not(config, tmp_path, monkeypatch):
    list(run_grid(config, ["random"], [0], tmp_path / "grid"))
    outcome = run_experiment(grid.configure(config, "random", 0), tmp_path / "grid/random/seed_0")
    expected = name_results(outcome.dataset, outcome.retrieval)
    path = tmp_path / "grid/random/seed_0/queries.json"
    assert read_results(path) == expected
    assert np.shape(expected.neighbour_ids) == np.shape(expected.relevant) == (4, 4)
    path.unlink()
    assert query_results(config, "random", 0, tmp_path / "grid") == expected
    monkeypatch.setattr(grid, "run_experiment", None)
    assert query_results(config, "random", 0, tmp_path / "grid") == expected


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"query_ids": 3}', "{"])
def test_torn_query_results_are_one_sentence(tmp_path, text):
    (tmp_path / "queries.json").write_text(text)
    with pytest.raises(WorkdirError, match=r"cannot read .*queries\.json .*; remove it"):
        read_results(tmp_path / "queries.json")
