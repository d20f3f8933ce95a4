"""Runs that ask about groups, question by question: what they leave, and that a kill loses nothing."""

import dataclasses

import numpy as np
import pytest

from anneal_jax.answers.store import AnswerStore
from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError
from anneal_jax.experiments.method import ANNOTATOR
from anneal_jax.experiments.round_log import read_rounds, without_times
from anneal_jax.experiments.run import run_experiment
from anneal_jax.pairs.canonical import pair_keys
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.types import Answer
from tests.experiments.breaking import damage_checkpoint, run_in_process
from tests.small_tiles import write_digits

NUM_IMAGES, NUM_CLASSES = 80, 4


def write_clouds(path, num_images, spread):
    """Write vectors of as many clouds as there are classes, each around its own centre, by turns."""
    rng = np.random.default_rng(7)
    labels = np.arange(num_images) % NUM_CLASSES
    embeddings = rng.normal(size=(NUM_CLASSES, 9))[labels] + spread * rng.normal(size=(num_images, 9))
    np.savez(path, embeddings=embeddings.astype(np.float32), labels=labels)
    return path


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    return write_clouds(tmp_path_factory.mktemp("archive") / "vectors.npz", NUM_IMAGES, spread=0.8)


def small(vectors, **changes):
    settings = {
        "supervision": "belief_ask",
        "initial_draw": "random",
        "initial_fraction": 0.02,  # one image of 64, that is eight questions
        "pairs_per_round": 12,
        "rounds": 2,
        "steps": 10,
        "batch_size": 16,
        "oracle_wrong": 0.1,
        "oracle_unsure": 0.1,
    }
    return ExperimentConfig(archive=f"embeddings:{vectors}", **{**settings, **changes})


def answers_of(workdir, outcome, last_round=99):
    return AnswerStore(workdir / "answers.sqlite", outcome.dataset.archive.ids).answered(last_round)


def test_digits_are_learnt_from_a_few_questions(tmp_path):
    config = ExperimentConfig(
        archive="digits",
        backbone="pixels",
        supervision="belief_ask",
        initial_draw="random",
        initial_fraction=0.005,
        pairs_per_round=30,
        rounds=2,
        steps=40,
    )
    outcome = run_experiment(config, tmp_path)
    rows = read_rounds(tmp_path / "rounds.jsonl")
    assert rows == outcome.rows
    first = 8 * round(0.005 * len(outcome.dataset.split.train))
    assert [row["bits_spent"] for row in rows] == [first, first + 30, first + 60]
    last = rows[-1]
    assert last["mean_average_precision_at_5"] > last["mean_average_precision_at_5_features"] - 0.05
    assert rows[0]["mean_average_precision_at_5"] < last["mean_average_precision_at_5"]
    answered = answers_of(tmp_path, outcome)
    keys = pair_keys(answered.pair_indices, len(outcome.dataset.labels))
    assert np.unique(keys).size == keys.size == first + 60
    assert np.isin(answered.pair_indices, outcome.dataset.split.train).all()
    classes = outcome.dataset.labels[answered.pair_indices]
    np.testing.assert_array_equal(answered.answers, classes[:, 0] == classes[:, 1])
    assert 0.2 < last["yes_share"] < 0.95


@pytest.mark.slow
def test_kill_9_in_the_middle_of_a_round_changes_nothing(vectors, tmp_path):
    config = small(vectors)
    for moment in [("give", 3), ("give", 12), None]:
        run_in_process(config, tmp_path / "killed", killed_at=moment)
    run_in_process(config, tmp_path / "unbroken")
    killed, unbroken = (
        without_times(read_rounds(tmp_path / name / "rounds.jsonl")) for name in ("killed", "unbroken")
    )
    assert killed == unbroken


def test_where_nothing_is_left_to_ask_the_run_ends_with_a_note(vectors, tmp_path, caplog):
    config = small(vectors, pairs_per_round=100, rounds=9)
    outcome = run_experiment(config, tmp_path)
    assert 2 <= len(outcome.rows) < 10
    last = outcome.rows[-1]
    asked_last = last["bits_spent"] - outcome.rows[-2]["bits_spent"]
    assert 0 < asked_last < 100
    num_round = len(outcome.rows) - 1
    assert f"Round {num_round} asked {asked_last} questions, because no more were left." in outcome.notes
    assert f"No question was left after round {num_round}" in outcome.notes[-1]

    def nobody(first, second):
        raise AssertionError("a question was asked again")

    again = run_experiment(config, tmp_path, annotator=nobody)
    assert again.num_new_rounds == 0
    assert again.rows == outcome.rows
    damage_checkpoint(tmp_path, num_round)  # trained again, on what follows from the answers alone
    repaired = run_experiment(config, tmp_path, annotator=nobody)
    assert "checkpoint of round" in caplog.text
    np.testing.assert_array_equal(repaired.retrieval.neighbours, outcome.retrieval.neighbours)


@pytest.mark.parametrize("answer", list(Answer))
def test_a_person_who_always_says_the_same_does_no_harm(vectors, tmp_path, answer):
    outcome = run_experiment(small(vectors), tmp_path, annotator=lambda first, second: answer)
    assert [row["bits_spent"] for row in outcome.rows] == [8, 20, 32]
    expected = None if answer == Answer.UNSURE else float(answer)
    assert [row["yes_share"] for row in outcome.rows] == [expected] * 3
    assert all(0 <= row["mean_average_precision_at_5"] <= 1 for row in outcome.rows)


def test_a_person_loses_no_answer_when_they_stop(vectors, tmp_path):
    labels = np.load(vectors)["labels"].astype(np.int32)
    config, truth, given = small(vectors), ClassOracle(labels), []

    def interrupted(first, second):
        if len(given) == 11:  # in the middle of round 1
            raise KeyboardInterrupt
        given.append((first, second))
        return truth(first, second)

    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, tmp_path / "stopped", annotator=interrupted)
    outcome = run_experiment(config, tmp_path / "stopped", annotator=truth)
    stored = answers_of(tmp_path / "stopped", outcome)
    assert stored.pair_indices[:11].tolist() == [list(pair) for pair in given]
    assert len(stored.answers) == 32
    unbroken = run_experiment(config, tmp_path / "unbroken", annotator=truth)
    assert without_times(unbroken.rows) == without_times(outcome.rows)
    records = AnswerStore(tmp_path / "stopped" / "answers.sqlite", outcome.dataset.archive.ids).records()
    assert {record.annotator for record in records} == {ANNOTATOR}


@pytest.mark.slow
def test_finetuning_learns_from_the_groups_too(tmp_path):
    config = ExperimentConfig(
        archive=write_digits(tmp_path / "tiles", 80),
        cache_dir=str(tmp_path / "cache"),
        backbone="tiny_cnn",
        pretrained="none",
        image_size=8,
        regime="finetune",
        supervision="belief_ask",
        initial_draw="random",
        initial_fraction=0.05,
        augment="none",
        rounds=1,
        steps=5,
        pairs_per_round=20,
        belief_tiles=30,
        epochs_first=1,
        batch_size=32,
    )
    outcome = run_experiment(config, tmp_path / "run")
    assert len(outcome.rows) == 2
    run_experiment(dataclasses.replace(config, rounds=0), tmp_path / "resumed")
    resumed = run_experiment(config, tmp_path / "resumed")
    assert without_times(resumed.rows) == without_times(outcome.rows)
    asked = np.unique(answers_of(tmp_path / "run", outcome).pair_indices)
    assert len(asked) <= 30


@pytest.mark.parametrize("kind", ["one tile", "identical tiles"])
def test_tiles_with_no_pair_to_ask_about_are_refused(tmp_path, kind):
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(12, 5))
    embeddings[2:] = embeddings[2] if kind == "identical tiles" else embeddings[2:]
    np.savez(tmp_path / "v.npz", embeddings=embeddings, labels=np.arange(12) % 2)
    train_fraction = 0.1 if kind == "one tile" else 0.8
    config = small(tmp_path / "v.npz", train_fraction=train_fraction, query_fraction=0.1)
    with pytest.raises(ConfigError, match="training tiles contain no pair to ask"):
        run_experiment(config, tmp_path / "run")
