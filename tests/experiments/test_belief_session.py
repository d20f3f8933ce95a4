"""The interview between an archive and a store: what is replayed, sampled, left out and trained on."""

import numpy as np
import pytest

from anneal_jax.acquisition.beliefs.choose_several import Interleaved
from anneal_jax.acquisition.beliefs.session import (
    ask_next,
    hear,
    hear_several,
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
    LEAST_BELIEF,
    open_interview,
    training_groups,
)
from anneal_jax.experiments.dataset import load_problem
from anneal_jax.pairs.canonical import pairs_of_keys
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.training.factory import make_learner
from anneal_jax.types import Answer

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
    problem = load_problem(config)
    return problem, open_interview(
        config, problem, make_learner(config, problem.archive, problem.split.train, with_classifier=False)
    )


def converse(interview, annotator, num_questions=10**6):
    """Return the answers, the beliefs after each of them, and whether each was about a settled tile."""
    beliefs, given, states, was_settled = interview.start, [], [interview.start], []
    for _ in range(num_questions):
        chosen, pair = ask_next(interview, beliefs)
        if pair is None:
            assert chosen is beliefs  # what is believed follows from the answers alone
            break
        was_settled.append(chosen.subject != OPEN and chosen.groups[chosen.subject] != OPEN)
        given.append(Given(*pair, annotator(*pair), "Ada", kind="training"))
        beliefs = hear(interview, chosen, *pair, given[-1].answer)
        states.append(beliefs)
    return given, states, was_settled


def assert_same_beliefs(found, expected):
    for name, value in expected._asdict().items():
        np.testing.assert_array_equal(getattr(found, name), value, err_msg=name)


def stored(tmp_path, problem, given):
    store = AnswerStore(tmp_path / "answers.sqlite", problem.archive.ids)
    store.add_round(0, np.empty((0, 2), np.int32), facts={})
    store.give(given)
    return store


@pytest.mark.parametrize("seed", [0, 1])
def test_a_replay_of_any_part_of_the_answers_believes_what_was_believed_then(vectors, tmp_path, seed):
    problem, interview = opened(vectors)
    annotator = ClassOracle(problem.labels, wrong_share=0.15, unsure_share=0.15, seed=seed)
    given, states, was_settled = converse(interview, annotator)
    answers = {row.answer for row in given}
    assert answers == set(Answer)
    assert sum(was_settled) > 0  # tiles are asked about again
    assert any((state.is_aside & (state.groups == OPEN)).any() for state in states)
    assert_same_beliefs(replay(interview, stored(tmp_path, problem, given).answered(0)), states[-1])
    for count in range(0, len(given), 17):
        (tmp_path / str(count)).mkdir()
        store = stored(tmp_path / str(count), problem, given[:count])
        assert_same_beliefs(replay(interview, store.answered(0)), states[count])


def test_answers_that_nobody_asked_for_are_replayed_too(vectors, tmp_path):
    problem, interview = opened(vectors)
    oracle = ClassOracle(problem.labels)
    rng = np.random.default_rng(0)
    beliefs, given = interview.start, []
    for turn in range(40):
        chosen, pair = ask_next(interview, beliefs)
        if turn % 3 == 2:  # a marked search result, while a question stands
            pair = tuple(sorted(rng.choice(interview.tiles, 2, replace=False).tolist()))
            chosen = beliefs
        given.append(Given(*pair, oracle(*pair), "Ada"))
        beliefs = hear(interview, chosen, *pair, given[-1].answer)
    assert_same_beliefs(replay(interview, stored(tmp_path, problem, given).answered(0)), beliefs)


def test_questions_are_about_different_training_tiles_and_never_about_identical_ones(vectors):
    problem, interview = opened(vectors)
    identical = pairs_of_keys(problem.identical, len(problem.labels))
    identical = set(map(tuple, identical[np.isin(identical, interview.tiles).all(axis=1)].tolist()))
    assert identical
    given, _, _ = converse(interview, ClassOracle(problem.labels, wrong_share=0.3))
    pairs = [(row.first, row.second) for row in given]
    assert len(set(pairs)) == len(pairs)
    assert not identical & set(pairs)
    assert np.isin(pairs, problem.split.train).all()
    assert all(first < second for first, second in pairs)


def test_of_a_large_archive_a_sample_is_asked_about(vectors):
    problem, whole = opened(vectors)
    np.testing.assert_array_equal(whole.tiles, problem.split.train)
    samples = [opened(vectors, belief_tiles=20, seed=seed)[1].tiles for seed in (0, 0, 1)]
    assert len(np.unique(samples[0])) == 20
    assert (np.diff(samples[0]) > 0).all()
    assert np.isin(samples[0], problem.split.train).all()
    np.testing.assert_array_equal(samples[0], samples[1])
    assert samples[0].tolist() != samples[2].tolist()


def test_a_sampled_interview_speaks_of_the_archive_and_hears_nothing_of_other_tiles(vectors):
    problem, interview = opened(vectors, belief_tiles=20)
    given, states, _ = converse(interview, ClassOracle(problem.labels))
    assert np.isin([(row.first, row.second) for row in given], interview.tiles).all()
    assert states[-1].num_groups == NUM_CLASSES
    settled = states[-1].groups != OPEN
    by_class = set(zip(states[-1].groups[settled], problem.labels[interview.tiles[settled]], strict=True))
    assert len(by_class) == NUM_CLASSES
    outside = np.setdiff1d(np.arange(len(problem.labels)), interview.tiles)
    inside = int(interview.tiles[0])
    for first, second in [(outside[0], outside[1]), (inside, outside[-1]), (outside[0], inside)]:
        assert hear(interview, states[3], int(first), int(second), Answer.SIMILAR) is states[3]


def test_tiles_are_trained_on_once_they_are_believed(vectors):
    problem, interview = opened(vectors)
    first = training_groups(interview, interview.start)
    assert len(first.images) > 0
    _, states, _ = converse(interview, ClassOracle(problem.labels))
    for beliefs in states[:: max(1, len(states) // 8)]:
        images, groups, weights = training_groups(interview, beliefs)
        assert images.shape == groups.shape == weights.shape
        assert images.dtype == groups.dtype == np.int32 and weights.dtype == np.float64
        assert np.isin(images, interview.tiles).all() and len(np.unique(images)) == len(images)
        assert (groups >= 0).all() and (groups < beliefs.num_groups).all()
        assert np.isfinite(weights).all() and (weights > 0).all()
    images, groups, weights = training_groups(interview, states[-1])
    right = np.mean([len(set(problem.labels[images[groups == group]])) == 1 for group in np.unique(groups)])
    assert right == 1 and len(images) > 0.9 * len(interview.tiles)
    _, belief = settled_groups(interview.graph, states[-1])
    belief = belief[np.searchsorted(interview.tiles, images)].astype(np.float64)
    assert (belief >= LEAST_BELIEF).all()
    # A group is drawn as often as the root of its size says, and the surest of its tiles most often.
    for group in np.unique(groups):
        squares = belief[groups == group] ** 2
        np.testing.assert_allclose(
            weights[groups == group], squares / squares.sum() ** (1 - GROUP_SIZE_POWER)
        )


def test_marks_about_one_tile_tell_of_one_group_and_refused_tiles_are_not_in_it(vectors):
    problem, interview = opened(vectors)
    labels, oracle = problem.labels, ClassOracle(problem.labels)
    state = Interleaved(interview.start, {})
    founder = int(interview.tiles[interview.start.groups == 0][0])
    tiles = np.random.default_rng(4).permutation(interview.tiles).tolist()
    query, *others = [tile for tile in tiles if tile != founder]
    for tile in others[:30]:
        pair = min(query, tile), max(query, tile)
        state = hear_several(interview, state, *pair, oracle(*pair))
    place = {int(tile): row for row, tile in enumerate(interview.tiles)}
    groups, _ = settled_groups(interview.graph, state.beliefs)
    own = groups[place[query]]
    assert state.beliefs.num_groups <= 3  # the first one, the query's, and at most one of a refused tile
    for tile in others[:30]:
        assert (groups[place[tile]] == own) == (labels[tile] == labels[query])


def test_a_tile_whose_last_question_is_kept_from_being_asked_is_settled(vectors):
    """As an audit keeps it: its answer teaches nothing, and it would else be in question for ever."""
    problem, interview = opened(vectors, belief_tiles=20)
    oracle, state = ClassOracle(problem.labels), Interleaved(interview.start, {})
    while not state.pending:
        pair = next(propose_several(interview, state))
        state = hear_several(interview, state, *pair, oracle(*pair))
    (place,) = state.pending
    for _ in range(len(interview.tiles)):
        if place in state.pending:
            state = keep_off(interview, state, *next(propose_several(interview, state)))
    assert place not in state.pending and state.beliefs.groups[place] != OPEN
    assert list(propose_several(interview, state))


def test_where_everything_is_doubtful_the_tiles_asked_about_are_trained_on(vectors):
    _, interview = opened(vectors)
    beliefs = interview.start._replace(reached=np.zeros_like(interview.start.reached))
    nowhere = interview._replace(graph=interview.graph._replace(walk=interview.graph.walk * np.float32(0)))
    found = training_groups(nowhere, beliefs)
    assert found.images.tolist() == [int(interview.tiles[np.argmax(beliefs.groups)])]
    assert found.groups.tolist() == [0]
    assert (found.weights > 0).all()
