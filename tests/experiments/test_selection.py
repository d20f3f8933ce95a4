"""What is known between two rounds, and that a round asks none of it."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anneal_jax.answers.reading import Answered
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments import selection
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.experiments.run import run_experiment
from anneal_jax.experiments.selection import fit_known, gather_knowledge, score_first_answers
from anneal_jax.pairs.canonical import count_pairs, pair_keys
from anneal_jax.pairs.closure import expand_closure
from anneal_jax.training.learner import TrainingPairs
from anneal_jax.types import Answer
from tests.pairs.graphs import graph_of

NUM_IMAGES = 60


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    rng = np.random.default_rng(7)
    labels = np.arange(NUM_IMAGES) % 4
    embeddings = (rng.normal(size=(4, 8))[labels] + rng.normal(size=(NUM_IMAGES, 8))).astype(np.float32)
    path = tmp_path_factory.mktemp("archive") / "vectors.npz"
    np.savez(path, embeddings=embeddings, labels=labels)
    return ExperimentConfig(
        archive=f"embeddings:{path}",
        transitive="closure",
        rounds=0,
        steps=20,
        batch_size=16,
        pairs_per_round=10,
    )


def answered(rows):
    """Return answers (first, second, answer), all of round 0."""
    table = np.array(rows, np.int64).reshape(-1, 3)
    return Answered(
        table[:, :2].astype(np.int32),
        table[:, 2].astype(np.int8),
        np.full(len(table), np.nan, np.float32),
        np.zeros(len(table), np.int32),
        np.zeros(len(table), np.bool_),
        np.ones(len(table), np.bool_),
    )


def test_a_round_asks_nothing_that_follows_and_nothing_that_is_audited(config, tmp_path):
    outcome = run_experiment(config, tmp_path)
    train, ids = outcome.dataset.split.train, outcome.dataset.archive.ids
    store = AnswerStore(tmp_path / "answers.sqlite", ids)
    known = expand_closure(*store.answered(0)[:2], NUM_IMAGES)
    taken = pair_keys(np.concatenate([known.pair_indices, store.answered(0).pair_indices]), NUM_IMAGES)
    places = np.stack(np.triu_indices(len(train), 1), axis=1)
    pairs = train[places].astype(np.int32)
    audits = pairs[~np.isin(pair_keys(pairs, NUM_IMAGES), taken)][::2]
    store.give([Given(*pair, Answer.UNSURE, "Ada", kind="audit") for pair in audits.tolist()])

    more = ExperimentConfig(**{**vars(config), "rounds": 1})
    outcome = run_experiment(more, tmp_path)
    asked = store.answered(1)
    asked_keys = pair_keys(asked.pair_indices[asked.round_indices == 1], NUM_IMAGES)
    assert asked_keys.size == 10
    assert not np.isin(asked_keys, taken).any()
    assert not np.isin(asked_keys, pair_keys(audits, NUM_IMAGES)).any()
    last = expand_closure(*asked[:2], NUM_IMAGES)
    assert outcome.rows[-1]["num_derived_pairs"] == len(last.pair_labels)
    labels = outcome.dataset.labels[last.pair_indices]
    np.testing.assert_array_equal(last.pair_labels, labels[:, 0] == labels[:, 1])


def test_a_pair_counts_once_and_not_at_all_where_its_answers_differ(config):
    dataset = load_dataset(config)
    a, b, c, d, e = dataset.split.train[:5].tolist()
    rows = [(a, b, 1), (b, c, 1), (a, b, 1), (d, e, 1), (d, e, 0), (a, d, Answer.UNSURE)]
    for transitive in ("one_step", "closure"):
        knowledge = gather_knowledge(answered(rows), dataset, transitive=transitive)
        assert knowledge.labelled.pair_indices.tolist() == [[a, b], [b, c]]
        assert knowledge.labelled.labels.tolist() == [1, 1]
        assert knowledge.derived.pair_indices.tolist() == [[a, c]]
        assert knowledge.training_pairs.labels.tolist() == [1, 1, 1]
        num_identical = dataset.identical_in_train.size
        assert knowledge.known.size == 5 + num_identical  # four answered pairs and one that follows
    reserved = np.array([[b, d]], np.int32)
    held = gather_knowledge(answered(rows), dataset, transitive="closure", reserved=reserved)
    assert np.setdiff1d(held.known, knowledge.known).size == 1
    assert held.known.size < count_pairs(len(dataset.split.train))


class LearnerOfFits:
    """Notes what each model is trained on; the k-th has embeddings that no other has."""

    def __init__(self):
        self.fits, self.heads_only = [], self

    def fit_pairs(self, pairs, round_index, previous, *, use=""):
        assert previous is None
        self.fits.append({(*pair, label) for pair, label in zip(pairs[0].tolist(), pairs[1], strict=True)})
        return len(self.fits) - 1

    def features(self, params):
        return None

    def embed(self, params, features):
        return np.random.default_rng(params).normal(size=(NUM_IMAGES, 8)).astype(np.float32)


class StoreOfRound0:
    """Takes the similarities of the first round."""

    def __init__(self):
        self.written = []

    def set_similarities(self, round_index, similarities):
        assert round_index == 0
        self.written.append(similarities)


@pytest.mark.parametrize("transitive", ["none", "one_step", "closure"])
def test_each_first_answer_is_scored_by_a_model_that_never_saw_it(config, transitive):
    config = ExperimentConfig(**{**vars(config), "transitive": transitive})
    learner, store = LearnerOfFits(), StoreOfRound0()
    # Classes of three: most pairs follow from others, and must be held out all the same.
    pairs = [(i, j) for i in range(12) for j in range(i + 1, 12)]
    answers = answered([(*pair, pair[0] % 4 == pair[1] % 4) for pair in pairs] + [(20, 21, Answer.UNSURE)])
    later = Answered(
        np.array([[30, 31]], np.int32),
        np.array([1], np.int8),
        np.array([0.75], np.float32),
        np.array([1], np.int32),
        np.array([False]),
        np.array([True]),
    )
    both = Answered(*map(np.concatenate, zip(answers, later, strict=True)))
    scores = score_first_answers(config, learner, store, both, NUM_IMAGES).similarities
    assert len(learner.fits) == 5
    held_out = np.zeros(5, int)
    for (i, j), score in zip(pairs, scores[: len(pairs)], strict=True):
        models = [learner.embed(k, None) for k in range(5)]
        [by] = [k for k in range(5) if np.isclose(models[k][i] @ models[k][j], score, rtol=1e-5)]
        is_in = [any(pair[:2] == (i, j) for pair in fit) for fit in learner.fits]
        assert is_in == [k != by for k in range(5)]
        held_out[by] += 1
    assert held_out.tolist() == [14, 13, 13, 13, 13]
    assert np.isnan(scores[-2]) and scores[-1] == np.float32(0.75)
    np.testing.assert_array_equal(store.written, [scores[:-1]])

    both = both._replace(similarities=scores)
    again = score_first_answers(config, learner, store, both, NUM_IMAGES).similarities
    np.testing.assert_array_equal(again, scores)
    assert len(learner.fits) == 5 and len(store.written) == 1


def test_a_single_answer_cannot_be_held_out(config):
    pair = TrainingPairs(np.array([[0, 1]], np.int32), np.array([1], np.int8))
    learner = LearnerOfFits()
    assert np.isnan(selection.cross_fit_similarities(config, learner, pair, NUM_IMAGES)).all()
    assert not learner.fits


def test_embeddings_keep_the_features_as_far_as_tiles_are_named_by_no_pair(config):
    class LearnerOfTwenty(LearnerOfFits):
        train_images = np.arange(20)

        def beside_features(self, params, share):
            return params, share

    pairs = TrainingPairs(np.array([[0, 1], [1, 2], [1, 4]], np.int32), np.array([1, 0, 1], np.int8))
    keeping = dataclasses.replace(config, keep_features=True)
    fits = [fit_known(each, LearnerOfTwenty(), pairs, 0, None, use="") for each in (config, keeping)]
    assert fits == [0, (0, 0.8)]


@pytest.mark.parametrize("transitive", ["one_step", "closure"])
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 1)).filter(
            lambda row: row[0] < row[1]
        )
    )
)
@example(rows=[(0, 1, 0), (0, 1, 1), (0, 2, 0), (1, 2, 1)])
def test_what_is_trained_on_is_what_the_graph_says(config, transitive, rows):
    dataset = load_dataset(config)
    usable = [(dataset.split.train[i], dataset.split.train[j], label) for i, j, label in rows]
    derived = gather_knowledge(answered(usable), dataset, transitive=transitive).derived
    pairs = [
        (*pair, label)
        for pair, label in zip(derived.pair_indices.tolist(), derived.pair_labels, strict=True)
    ]
    assert pairs == sorted(graph_of(usable, transitive).derived_pairs())


@pytest.mark.parametrize(
    ("transitive", "expected"),
    [("none", []), ("one_step", [(0, 2), (1, 3)]), ("closure", [(0, 2), (0, 3), (1, 3)])],
)
def test_the_setting_chooses_what_is_derived(config, transitive, expected):
    dataset = load_dataset(config)
    train = dataset.split.train
    rows = [(train[0], train[1], 1), (train[1], train[2], 1), (train[2], train[3], 0)]
    derived = gather_knowledge(answered(rows), dataset, transitive=transitive).derived
    assert derived.pair_indices.tolist() == [[train[i], train[j]] for i, j in expected]
