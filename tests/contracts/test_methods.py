"""What every method owes a run, whatever it asks and trains on. A new method is tested by being listed."""

import dataclasses
import shutil

import numpy as np
import pytest

from anneal_jax.config import CHOICES, ExperimentConfig
from anneal_jax.errors import ConfigError
from anneal_jax.experiments import run as run_module
from anneal_jax.experiments.registry import METHODS, check_method
from anneal_jax.experiments.round_log import RoundRow, read_rounds, without_times
from anneal_jax.experiments.run import run_experiment
from anneal_jax.reporting.run_report import summarise
from anneal_jax.training.checkpoints import RoundCheckpoints
from tests.conftest import ROOT
from tests.experiments.breaking import damage_checkpoint, run_with_breaks

MIXED = "belief_ask+questions=mixed"
CASES = [*sorted(METHODS), MIXED]

# Checked with every change: pairs by threshold, by belief and with glances, and labels.
BROKEN_OFTEN = {("pairs", 1), ("belief_ask", 1), ("class_labels", 1), (MIXED, 1)}

every_method = pytest.mark.parametrize("case", CASES)


def method_of(case):
    return METHODS[case.partition("+")[0]]


def small(case, **changes):
    supervision, _, questions = case.partition("+questions=")
    settings = {
        "supervision": supervision,
        "questions": questions or "pairs",
        "rounds": 2,
        "steps": 4,
        "batch_size": 16,
        "pairs_per_round": 12,
        "initial_fraction": 0.05,
        "tcal_bits": 36,
        "all_pairs_steps": 4,
    }
    if method_of(case).can_err:
        settings |= {"oracle_wrong": 0.1, "oracle_unsure": 0.1 if method_of(case).asks else 0.0}
    archive = f"embeddings:{ROOT / 'tests' / 'golden' / 'vectors.npz'}"
    return ExperimentConfig(**{"archive": archive, **settings, **changes})


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """Return the outcome and the folder of one run of each method, run when it is first wanted."""
    done = {}

    def of(case):
        if case not in done:
            workdir = tmp_path_factory.mktemp("unbroken") / case
            done[case] = run_experiment(small(case), workdir), workdir
        return done[case]

    return of


def nobody(first, second):
    raise AssertionError("a question was asked again")


def forbid(monkeypatch, *functions):
    def never(*arguments, **named):
        raise AssertionError("a finished run was run again")

    for owner, name in functions:
        monkeypatch.setattr(owner, name, never)


def test_the_settings_name_every_method():
    assert set(CHOICES["supervision"]) == set(METHODS)


@every_method
def test_the_mix_of_questions_is_refused_where_it_would_change_nothing(case):
    config = small(case, questions="mixed")
    if case in (MIXED, "belief_ask"):
        return check_method(config)
    with pytest.raises(ConfigError, match=f"only exists with supervision='belief_ask', not '{case}'"):
        check_method(config)


@every_method
def test_rows_have_the_listed_fields_and_bits_never_fall(case, unbroken):
    outcome, workdir = unbroken(case)
    rows = read_rounds(workdir / "rounds.jsonl")
    assert rows == outcome.rows
    assert outcome.num_new_rounds == len(rows) > 0
    fields = [field.name for field in dataclasses.fields(RoundRow)]
    if method_of(case).asks:
        fields.remove("num_labelled_images")
    assert [list(row) for row in rows] == [fields] * len(rows)
    bits = [row["bits_spent"] for row in rows]
    assert bits == sorted(bits) and all(type(value) is int for value in bits)
    if method_of(case).asks or case == "group_ask":
        seconds = [row["seconds_spent"] for row in rows]
        np.testing.assert_allclose(np.cumsum([row["answer_s"] for row in rows]), seconds, atol=0.01)
        assert case == MIXED or seconds == [pytest.approx(1.6 * value) for value in bits]
    else:
        assert {row["seconds_spent"] for row in rows} == {row["answer_s"] for row in rows} == {None}
    assert all(0 <= row["mean_average_precision_at_5"] <= 1 for row in rows)
    assert (workdir / "checkpoints" / str(len(rows) - 1)).is_dir()
    assert (workdir / "answers.sqlite").exists() == method_of(case).asks


@every_method
def test_the_seed_fixes_every_row(case, unbroken, tmp_path):
    expected = without_times(unbroken(case)[0].rows)
    again, other = (
        without_times(run_experiment(small(case, seed=seed), tmp_path / str(seed)).rows) for seed in (0, 1)
    )
    assert again == expected != other


@pytest.mark.parametrize(
    ("case", "per_commit"),
    [
        pytest.param(
            name, count, marks=pytest.mark.slow if (name, count) in BROKEN_OFTEN else pytest.mark.soak
        )
        for name in CASES
        for count in ((1, 5) if method_of(name).asks else (1,))
    ],
)
def test_a_kill_after_any_commit_changes_nothing(case, per_commit, unbroken, tmp_path, monkeypatch):
    """Every run gets one commit further than the one before it, counted from where it resumes or starts."""
    expected, _ = unbroken(case)
    outcome, num_breaks = run_with_breaks(
        monkeypatch, lambda: run_experiment(small(case), tmp_path), first=2, per_commit=per_commit
    )
    assert num_breaks >= 2
    assert without_times(outcome.rows) == without_times(expected.rows)
    np.testing.assert_array_equal(outcome.retrieval.neighbours, expected.retrieval.neighbours)
    if not method_of(case).asks:
        assert outcome.num_new_rounds in (0, len(expected.rows))  # it was finished, or started again


@every_method
def test_a_finished_run_is_only_read(case, unbroken, monkeypatch):
    expected, workdir = unbroken(case)
    forbid(monkeypatch, (run_module, "measure"), (run_module, "append_round"), (RoundCheckpoints, "save"))
    again = run_experiment(small(case), workdir, annotator=nobody)
    assert again.num_new_rounds == 0 and again.rows == expected.rows
    np.testing.assert_array_equal(again.retrieval.neighbours, expected.retrieval.neighbours)


@every_method
def test_rounds_may_grow(case, unbroken, tmp_path):
    expected, _ = unbroken(case)
    short = run_experiment(small(case, rounds=1), tmp_path)
    grown = run_experiment(small(case), tmp_path)
    assert without_times(grown.rows) == without_times(expected.rows)
    if method_of(case).asks:
        assert grown.num_new_rounds == 1 and grown.rows[:2] == short.rows


@every_method
@pytest.mark.parametrize("are_all_damaged", [False, True])
def test_what_was_damaged_is_trained_again(case, are_all_damaged, unbroken, tmp_path, caplog, monkeypatch):
    expected, workdir = unbroken(case)
    shutil.copytree(workdir, tmp_path, dirs_exist_ok=True)
    last = len(expected.rows) - 1
    saved = {int(path.name) for path in (tmp_path / "checkpoints").iterdir() if path.name.isdecimal()}
    assert saved == (set(range(last + 1)) if method_of(case).asks else {last})
    for round_index in saved if are_all_damaged else [last]:
        damage_checkpoint(tmp_path, round_index)
    outcome = run_experiment(small(case), tmp_path, annotator=nobody)
    assert f"checkpoint of round {last} in" in caplog.text
    assert without_times(outcome.rows) == without_times(expected.rows)
    np.testing.assert_array_equal(outcome.retrieval.neighbours, expected.retrieval.neighbours)
    caplog.clear()
    forbid(monkeypatch, (RoundCheckpoints, "save"))  # it was saved again, too
    run_experiment(small(case), tmp_path, annotator=nobody)
    assert not caplog.records


@every_method
def test_the_end_is_explained_when_nothing_is_left(case, tmp_path):
    config = small(case, pairs_per_round=2000, rounds=5, steps=1, all_pairs_steps=1, tcal_bits=10**6)
    outcome = run_experiment(config, tmp_path)
    last = len(outcome.rows) - 1
    if method_of(case).asks:
        assert last < 5
        assert f"Round {last} asked" in outcome.notes[-2] and "no more were left" in outcome.notes[-2]
        assert f"after round {last}: " in outcome.notes[-1]
        assert outcome.notes[-1].endswith("The run ended there.")
    else:
        assert outcome.notes == ()
        num_train = len(outcome.dataset.split.train)
        known = [row["num_labelled_images"] or row["num_labelled_pairs"] for row in outcome.rows]
        assert known == sorted(set(known))  # no round after the one that knows all
        assert known[-1] in (num_train, num_train * (num_train - 1) // 2)
    cost = "answers" if method_of(case).is_answered else "class labels worth"
    assert cost in summarise(config, outcome)
