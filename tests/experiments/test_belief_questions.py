"""Runs that ask pairs, choices and grids: what is stored, what it costs, and that it can be replayed."""

import itertools
from contextlib import closing

import numpy as np
import pytest

from anneal_jax.acquisition.beliefs.choose_several import Interleaved
from anneal_jax.answers.store import AnswerStore
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.belief_questions import MixedQuestions
from anneal_jax.experiments.belief_rounds import open_belief_rounds
from anneal_jax.experiments.dataset import class_oracle, load_dataset
from anneal_jax.experiments.method import ORACLE, Setup
from anneal_jax.experiments.run import run_experiment
from anneal_jax.pairs.canonical import pair_keys
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.training.factory import make_learner
from anneal_jax.types import Answer
from tests.experiments.test_belief_rounds import write_clouds
from tests.experiments.test_belief_session import assert_same_beliefs

NUM_IMAGES, ROUND = 240, 30


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    """Four clouds, so clear that grids are asked."""
    path = write_clouds(tmp_path_factory.mktemp("archive") / "vectors.npz", NUM_IMAGES, spread=0.5)
    return ExperimentConfig(
        archive=f"embeddings:{path}",
        supervision="belief_ask",
        questions="mixed",
        initial_draw="random",
        pairs_per_round=ROUND,
        rounds=4,
        steps=5,
        batch_size=16,
        oracle_wrong=0.05,
        oracle_unsure=0.05,
    )


@pytest.fixture(scope="module")
def ran(config, tmp_path_factory):
    """Return the rows of a run, its dataset, and the records of its answers."""
    workdir = tmp_path_factory.mktemp("run")
    outcome = run_experiment(config, workdir)
    return outcome.rows, outcome.dataset, records_of(workdir, outcome)


def records_of(workdir, outcome):
    with closing(AnswerStore(workdir / "answers.sqlite", outcome.dataset.archive.ids)) as store:
        return store.records()


def looks_of(records):
    """Return the lists of records that were given at once."""
    grouped = itertools.groupby(records, lambda record: record.glance or record.key)
    return [list(given) for _, given in grouped]


def test_every_kind_is_asked_and_stored_as_on_the_page(ran):
    _, dataset, records = ran
    assert {record.glance.kind if record.glance else "pair" for record in records} == {
        "pair",
        "choice",
        "grid",
    }
    assert {(record.kind, record.annotator, record.elapsed_s) for record in records} == {
        ("training", ORACLE, None)
    }
    for given in looks_of(records):
        if (glance := given[0].glance) is not None:
            said = [(record.first + record.second - glance.subject, record.answer) for record in given]
            assert said == glance.said()
            assert [record.key for record in given] == [glance.answer_key(other) for other, _ in said]
    pairs = np.array([(record.first, record.second) for record in records])
    assert np.unique(pair_keys(pairs, len(dataset.labels))).size == len(pairs)
    assert np.isin(pairs, dataset.split.train).all()


def test_every_pair_answer_costs_a_bit_and_a_round_ends_with_the_glance_that_fills_it(ran):
    rows, _, records = ran
    for row in rows:
        given = [record for record in records if record.round_index == row["round_index"]]
        wanted = ROUND if row["round_index"] else rows[0]["bits_spent"]
        assert len(given) >= wanted > len(given) - len(looks_of(given)[-1])
        assert row["bits_spent"] == sum(one.round_index <= row["round_index"] for one in records)


def test_seconds_count_every_glance_once(ran):
    rows, _, records = ran
    spent = 0.0
    for row in rows:
        before = spent
        for first, *_ in looks_of(one for one in records if one.round_index == row["round_index"]):
            glance = first.glance
            if glance is None:
                spent += 1.6
            elif glance.kind == "choice":
                spent += 1.6 + 0.25 * (len(glance.others) - 1)
            else:
                spent += 1.5 + 0.35 * len(glance.others) + 0.7 * len(glance.picked)
        assert row["seconds_spent"] == pytest.approx(spent, abs=1e-3)
        assert row["answer_s"] == pytest.approx(spent - before, abs=1e-3)
    assert spent < 1.6 * rows[-1]["bits_spent"]


def test_the_beliefs_after_a_replay_are_those_before_it(config, tmp_path):
    dataset = load_dataset(config)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    setup = Setup(config, dataset, learner, tmp_path, class_oracle(config, dataset), ORACLE)
    with open_belief_rounds(setup) as rounds:
        for round_index in range(4):
            assert rounds.ask(round_index, None) == ""
            rounds.answer(round_index)
            answered = rounds.store.answered(round_index)
            assert rounds.num_added == len(answered.answers)
            fresh = MixedQuestions(setup, rounds.session, Interleaved(rounds.session.start, {}))
            fresh.replay(answered)
            live = rounds.questions.state
            assert (fresh.state.pending, fresh.state.begun) == (live.pending, live.begun)
            assert_same_beliefs(fresh.beliefs, live.beliefs)
        assert answered.is_weak.any() and not answered.is_last.all()


def test_only_a_simulated_person_overlooks_tiles_of_a_grid(config, ran, tmp_path):
    truth = ClassOracle(ran[1].labels)
    outcome = run_experiment(config, tmp_path, annotator=truth)
    weak = [record for record in records_of(tmp_path, outcome) if record.is_weak]
    assert weak and all(truth(record.first, record.second) == Answer.SIMILAR for record in weak)


def test_an_interrupted_person_loses_the_glance_that_they_look_at_and_no_other(config, ran, tmp_path):
    truth, asked = ClassOracle(ran[1].labels), []

    def interrupted(first, second):
        if len(asked) == 90:
            raise KeyboardInterrupt
        asked.append((first, second))
        return truth(first, second)

    with pytest.raises(KeyboardInterrupt):
        run_experiment(config, tmp_path / "stopped", annotator=interrupted)
    outcome = run_experiment(config, tmp_path / "stopped", annotator=truth)
    stopped = [(one.first, one.second, one.answer) for one in records_of(tmp_path / "stopped", outcome)]
    unbroken = run_experiment(config, tmp_path / "unbroken", annotator=truth)
    expected = records_of(tmp_path / "unbroken", unbroken)
    assert stopped == [(one.first, one.second, one.answer) for one in expected]
    assert unbroken.rows[-1]["seconds_spent"] == outcome.rows[-1]["seconds_spent"]
