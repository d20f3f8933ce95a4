"""The belief session between an archive and a store: what is replayed, sampled, left out and trained on."""

import numpy as np
import pytest

from anneal_jax.acquisition.beliefs.choose_several import Interleaved
from anneal_jax.acquisition.beliefs.session import (
    add_answer,
    add_interleaved_answer,
    ask_next,
    beliefs_of_page,
    keep_off,
    propose_several,
    replay,
)
from anneal_jax.acquisition.beliefs.state import OPEN, settled_groups
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.belief_rounds import (
    GROUP_SIZE_POWER,
    MIN_BELIEF,
    RECENT,
    beliefs_recently,
    open_belief_session,
    outlook,
    training_groups,
)
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.pairs.canonical import pairs_of_keys
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.training.factory import make_learner
from anneal_jax.types import Answer
from tests.reference import beliefs as twin

NUM_CLASSES, PER_CLASS, NUM_TWINS = 4, 20, 6


@pytest.fixture(scope="module")
def vectors(tmp_path_factory):
    """Four overlapping clouds; the first tiles come twice."""
    rng = np.random.default_rng(11)
    labels = np.arange(NUM_CLASSES * PER_CLASS) % NUM_CLASSES
    embeddings = rng.normal(size=(NUM_CLASSES, 8))[labels] + 0.8 * rng.normal(size=(len(labels), 8))
    embeddings = np.concatenate([embeddings, embeddings[:NUM_TWINS]]).astype(np.float32)
    path = tmp_path_factory.mktemp("archive") / "vectors.npz"
    np.savez(path, embeddings=embeddings, labels=np.concatenate([labels, labels[:NUM_TWINS]]))
    return path


def opened(vectors, **changes):
    settings = {"supervision": "belief_ask", "initial_draw": "random", **changes}
    config = ExperimentConfig(archive=f"embeddings:{vectors}", **settings)
    dataset = load_dataset(config)
    return dataset, open_belief_session(
        config, dataset, make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    )


def converse(session, annotator, num_questions=10**6):
    """Return the answers, the beliefs after each of them, and whether each was about a settled tile."""
    beliefs, given, states, was_settled = session.start, [], [session.start], []
    for _ in range(num_questions):
        chosen, pair = ask_next(session, beliefs)
        if pair is None:
            assert chosen is beliefs  # what is believed follows from the answers alone
            break
        was_settled.append(chosen.subject != OPEN and chosen.groups[chosen.subject] != OPEN)
        given.append(Given(*pair, annotator(*pair), "Ada", kind="training"))
        beliefs = add_answer(session, chosen, *pair, given[-1].answer)
        states.append(beliefs)
    return given, states, was_settled


def assert_same_beliefs(found, expected):
    for name, value in expected._replace(learnt=None)._asdict().items():
        np.testing.assert_array_equal(getattr(found._replace(learnt=None), name), value, err_msg=name)
    assert (found.learnt is None) == (expected.learnt is None)
    if found.learnt is not None:
        assert found.learnt.lead == expected.learnt.lead
        np.testing.assert_array_equal(found.learnt.was_settled, expected.learnt.was_settled)
        difference = found.learnt.graph.walk - expected.learnt.graph.walk
        assert difference.count_nonzero() == 0


def stored(tmp_path, dataset, given):
    store = AnswerStore(tmp_path / "answers.sqlite", dataset.archive.ids)
    store.add_round(0, np.empty((0, 2), np.int32), facts={})
    store.give(given)
    return store


@pytest.mark.parametrize("seed", [1, 2])
def test_a_replay_of_any_part_of_the_answers_believes_what_was_believed_then(vectors, tmp_path, seed):
    dataset, session = opened(vectors)
    annotator = ClassOracle(dataset.labels, wrong_share=0.15, unsure_share=0.15, seed=seed)
    given, states, was_settled = converse(session, annotator)
    answers = {row.answer for row in given}
    assert answers == set(Answer)
    assert sum(was_settled) > 0  # tiles are asked about again
    assert any((state.is_aside & (state.groups == OPEN)).any() for state in states)
    assert_same_beliefs(replay(session, stored(tmp_path, dataset, given).answered(0)), states[-1])
    for count in range(0, len(given), 17):
        (tmp_path / str(count)).mkdir()
        store = stored(tmp_path / str(count), dataset, given[:count])
        assert_same_beliefs(replay(session, store.answered(0)), states[count])


def test_answers_that_nobody_asked_for_are_replayed_too(vectors, tmp_path):
    dataset, session = opened(vectors)
    oracle = ClassOracle(dataset.labels)
    rng = np.random.default_rng(0)
    beliefs, given = session.start, []
    for turn in range(40):
        chosen, pair = ask_next(session, beliefs)
        if turn % 3 == 2:  # a marked search result, while a question stands
            pair = tuple(sorted(rng.choice(session.tiles, 2, replace=False).tolist()))
            chosen = beliefs
        given.append(Given(*pair, oracle(*pair), "Ada"))
        beliefs = add_answer(session, chosen, *pair, given[-1].answer)
    assert_same_beliefs(replay(session, stored(tmp_path, dataset, given).answered(0)), beliefs)


def test_questions_are_about_different_training_tiles_and_never_about_identical_ones(vectors):
    dataset, session = opened(vectors)
    identical = pairs_of_keys(dataset.identical, len(dataset.labels))
    identical = set(map(tuple, identical[np.isin(identical, session.tiles).all(axis=1)].tolist()))
    assert identical
    given, _, _ = converse(session, ClassOracle(dataset.labels, wrong_share=0.3))
    pairs = [(row.first, row.second) for row in given]
    assert len(set(pairs)) == len(pairs)
    assert not identical & set(pairs)
    assert np.isin(pairs, dataset.split.train).all()
    assert all(first < second for first, second in pairs)


def test_of_a_large_archive_a_sample_is_asked_about(vectors):
    dataset, whole = opened(vectors)
    np.testing.assert_array_equal(whole.tiles, dataset.split.train)
    samples = [opened(vectors, belief_tiles=20, seed=seed)[1].tiles for seed in (0, 0, 1)]
    assert len(np.unique(samples[0])) == 20
    assert (np.diff(samples[0]) > 0).all()
    assert np.isin(samples[0], dataset.split.train).all()
    np.testing.assert_array_equal(samples[0], samples[1])
    assert samples[0].tolist() != samples[2].tolist()


def test_a_sampled_belief_session_speaks_of_the_archive_and_learns_nothing_of_other_tiles(vectors):
    dataset, session = opened(vectors, belief_tiles=20)
    given, states, _ = converse(session, ClassOracle(dataset.labels))
    assert np.isin([(row.first, row.second) for row in given], session.tiles).all()
    assert states[-1].num_groups == NUM_CLASSES
    settled = states[-1].groups != OPEN
    by_class = set(zip(states[-1].groups[settled], dataset.labels[session.tiles[settled]], strict=True))
    assert len(by_class) == NUM_CLASSES
    outside = np.setdiff1d(np.arange(len(dataset.labels)), session.tiles)
    inside = int(session.tiles[0])
    for first, second in [(outside[0], outside[1]), (inside, outside[-1]), (outside[0], inside)]:
        assert add_answer(session, states[3], int(first), int(second), Answer.SIMILAR) is states[3]


def test_tiles_are_trained_on_once_they_are_believed(vectors):
    dataset, session = opened(vectors)
    first = training_groups(session, session.start)
    assert len(first.images) > 0
    _, states, _ = converse(session, ClassOracle(dataset.labels))
    for beliefs in states[:: max(1, len(states) // 8)]:
        images, groups, weights = training_groups(session, beliefs)
        assert images.shape == groups.shape == weights.shape
        assert images.dtype == groups.dtype == np.int32 and weights.dtype == np.float64
        assert np.isin(images, session.tiles).all() and len(np.unique(images)) == len(images)
        assert (groups >= 0).all() and (groups < beliefs.num_groups).all()
        assert np.isfinite(weights).all() and (weights > 0).all()
    images, groups, weights = training_groups(session, states[-1])
    right = np.mean([len(set(dataset.labels[images[groups == group]])) == 1 for group in np.unique(groups)])
    assert right == 1 and len(images) > 0.9 * len(session.tiles)
    _, belief = settled_groups(session.graph_of(states[-1]), states[-1])
    belief = belief[np.searchsorted(session.tiles, images)].astype(np.float64)
    assert (belief >= MIN_BELIEF).all()
    # A group is drawn as often as the root of its size says, and the surest of its tiles most often.
    for group in np.unique(groups):
        squares = belief[groups == group] ** 2
        np.testing.assert_allclose(
            weights[groups == group], squares / squares.sum() ** (1 - GROUP_SIZE_POWER)
        )


@pytest.mark.parametrize("count", [RECENT - 1, RECENT, RECENT + 10])
def test_the_outlook_counts_the_tiles_that_the_last_answers_moved(vectors, tmp_path, count):
    dataset, session = opened(vectors)
    given, _, _ = converse(session, ClassOracle(dataset.labels, wrong_share=0.15), count)
    assert len(given) == count
    answered = stored(tmp_path, dataset, given).answered(0)
    before, beliefs = beliefs_recently(session, answered)
    found = outlook(session, before, beliefs)
    (tmp_path / "earlier").mkdir()
    earlier = stored(tmp_path / "earlier", dataset, given[: max(0, count - RECENT)]).answered(0)
    (was, _), (now, belief) = (
        settled_groups(session.graph_of(one), one)
        for one in (beliefs_of_page(session, kept) for kept in (earlier, answered))
    )
    assert found.num_moved == (None if count < RECENT else twin.num_moved(was.tolist(), now.tolist()))
    assert found.num_moved is None or found.num_moved > 0
    assert found.doubt == pytest.approx(1 - np.mean(belief, dtype=np.float64)) and found.num_tiles == len(
        session.tiles
    )


def test_marks_about_one_tile_tell_of_one_group_and_refused_tiles_are_not_in_it(vectors):
    dataset, session = opened(vectors)
    labels, oracle = dataset.labels, ClassOracle(dataset.labels)
    state = Interleaved(session.start, {})
    founder = int(session.tiles[session.start.groups == 0][0])
    tiles = np.random.default_rng(4).permutation(session.tiles).tolist()
    query, *others = [tile for tile in tiles if tile != founder]
    for tile in others[:30]:
        pair = min(query, tile), max(query, tile)
        state = add_interleaved_answer(session, state, *pair, oracle(*pair))
    place = {int(tile): row for row, tile in enumerate(session.tiles)}
    groups, _ = settled_groups(session.graph, state.beliefs)
    own = groups[place[query]]
    assert state.beliefs.num_groups <= 3  # the first one, the query's, and at most one of a refused tile
    for tile in others[:30]:
        assert (groups[place[tile]] == own) == (labels[tile] == labels[query])


def test_a_tile_whose_last_question_is_kept_from_being_asked_is_settled(vectors):
    """As an audit keeps it: its answer teaches nothing, and it would else be in question for ever."""
    dataset, session = opened(vectors, belief_tiles=20)
    oracle, state = ClassOracle(dataset.labels), Interleaved(session.start, {})
    while not state.pending:
        pair = next(propose_several(session, state))
        state = add_interleaved_answer(session, state, *pair, oracle(*pair))
    (place,) = state.pending
    for _ in range(len(session.tiles)):
        if place in state.pending:
            state = keep_off(session, state, *next(propose_several(session, state)))
    assert place not in state.pending and state.beliefs.groups[place] != OPEN
    assert list(propose_several(session, state))


def test_where_everything_is_doubtful_the_tiles_asked_about_are_trained_on(vectors):
    _, session = opened(vectors)
    beliefs = session.start._replace(reached=np.zeros_like(session.start.reached))
    nowhere = session._replace(graph=session.graph._replace(walk=session.graph.walk * np.float32(0)))
    found = training_groups(nowhere, beliefs)
    assert found.images.tolist() == [int(session.tiles[np.argmax(beliefs.groups)])]
    assert found.groups.tolist() == [0]
    assert (found.weights > 0).all()
