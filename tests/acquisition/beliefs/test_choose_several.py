"""Several questions open at once: as good as one after the other, whatever is answered to each."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs.choose import partner
from anneal_jax.acquisition.beliefs.choose_several import (
    Interleaved,
    add_interleaved_answer,
    asking_about,
    open_questions,
)
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    BeliefSettings,
    Reply,
    begin,
    found_group,
    spread,
    unreached,
)
from anneal_jax.types import Answer
from tests.acquisition.beliefs.cases import (
    blobs,
    oracle,
    partition,
    random_graph,
    session,
    with_a_slip,
)
from tests.acquisition.beliefs.test_invariants import ANSWERS, check


def converse(graph, annotator, *, depth, num_questions=10**6):
    """Answer with `depth` questions open; return the state and (first, second, answer) of each."""
    state, flight, asked = Interleaved(begin(graph), {}), [], []
    while len(asked) < num_questions:
        for pair in open_questions(graph, state):
            if len(flight) == depth:
                break
            if pair not in flight:
                flight.append(pair)
        if not flight:
            break
        pair = flight.pop(0)
        asked.append((*pair, annotator(*pair)))
        state = add_interleaved_answer(graph, state, *asked[-1])
    return state, asked


def test_one_question_at_a_time_is_what_a_run_asks():
    features, labels = blobs(3, spread=0.9)
    graph = neighbour_graph(features)
    mine, asked = converse(graph, oracle(labels), depth=1)
    found, run = session(graph, oracle(labels))
    assert asked == run
    np.testing.assert_array_equal(mine.beliefs.groups, found.groups)
    np.testing.assert_array_equal(mine.beliefs.reached, found.reached)


def test_three_at_a_time_find_the_classes_with_hardly_more_questions():
    features, labels = blobs(1, spread=0.9)
    graph = neighbour_graph(features)
    _, one = converse(graph, oracle(labels), depth=1)
    state, three = converse(graph, oracle(labels), depth=3)
    assert partition(state.beliefs.groups) == partition(labels)
    assert len(three) < 1.2 * len(one)


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    num_tiles=st.integers(2, 12),
    depth=st.integers(1, 4),
    answers=st.lists(ANSWERS, max_size=66),
)
def test_any_answers_leave_it_in_order_and_the_questions_end(seed, num_tiles, depth, answers):
    graph = random_graph(seed, num_tiles)
    given_answers = iter(answers)

    def annotator(first, second):
        return next(given_answers, Answer.DISSIMILAR)

    state, asked = converse(graph, annotator, depth=depth)
    check(state.beliefs, num_tiles)
    assert state.beliefs.subject == OPEN
    pairs = [pair[:2] for pair in asked]
    assert len(set(pairs)) == len(pairs) <= num_tiles * (num_tiles - 1) // 2
    again = Interleaved(begin(graph), {})
    for said in asked:
        before = copy.deepcopy(again)
        after = add_interleaved_answer(graph, again, *said)
        list(open_questions(graph, again))  # whatever was proposed meanwhile changes nothing
        np.testing.assert_equal(again, before)
        again = after
    np.testing.assert_equal(again, state)


@pytest.mark.parametrize("seed", range(40))
def test_every_tile_in_question_has_a_question_whatever_is_said_of_others(seed):
    """Else nobody would ever ask about it again, and it would never be settled."""
    rng = np.random.default_rng(seed)
    num_tiles = int(rng.integers(4, 13))
    graph = random_graph(seed, num_tiles)
    state = Interleaved(begin(graph), {})
    for _ in range(60):
        first, second = rng.choice(num_tiles, 2, replace=False).tolist()
        answer = Answer(int(rng.choice(3, p=[0.45, 0.45, 0.1])))
        state = add_interleaved_answer(graph, state, first, second, answer)
        check(state.beliefs, num_tiles)
        for tile, replies in state.pending.items():
            asking = asking_about(state.beliefs, tile, replies)
            assert partner(graph, asking, BeliefSettings()) is not None


def test_what_is_proposed_at_one_time_is_about_different_tiles():
    features, labels = blobs(0, spread=1.0)
    graph = neighbour_graph(features)
    state, _ = converse(graph, oracle(labels), depth=3, num_questions=30)
    pairs = [pair for pair, _ in zip(open_questions(graph, state), range(8), strict=False)]
    subjects = [
        tile
        for pair in pairs
        for tile in pair
        if state.beliefs.groups[tile] == OPEN or tile in state.pending
    ]
    assert len(set(subjects)) == len(subjects) >= 5
    fresh = [tile for tile in subjects if tile not in state.pending]
    assert not graph.smooth[fresh][:, fresh].toarray().any()  # nor about neighbours
    assert len(state.pending) == len(subjects) - len(fresh)


def test_a_tile_that_somebody_was_unsure_about_waits():
    features, labels = blobs(2, spread=0.8)
    graph = neighbour_graph(features)
    truth = oracle(labels)
    state, _ = converse(graph, truth, depth=3, num_questions=20)
    pair = next(open_questions(graph, state))
    (tile,) = (tile for tile in pair if tile in state.pending or state.beliefs.groups[tile] == OPEN)
    state = add_interleaved_answer(graph, state, *pair, Answer.UNSURE)
    for turn, proposed in enumerate(open_questions(graph, state)):
        assert tile not in proposed
        if turn == 20:
            break
    assert tile not in state.pending and state.beliefs.is_aside[tile]


def test_of_two_settled_tiles_an_answer_is_about_the_doubted_one():
    features, labels = blobs(2)
    graph = neighbour_graph(features)
    found, slipped, tile = with_a_slip(graph, labels)
    right = found.groups[tile]
    others = np.flatnonzero((slipped.groups == right) & (labels == labels[tile]))
    state = Interleaved(slipped, {})
    for other in others[:3].tolist():
        state = add_interleaved_answer(graph, state, tile, other, Answer.SIMILAR)
        assert not set(state.pending) - {tile}
    assert state.beliefs.groups[tile] == right and not state.pending


def test_an_answer_between_two_settled_tiles_that_nobody_doubts_is_about_their_groups():
    features, labels = blobs(2)
    graph = neighbour_graph(features)
    found, _ = session(graph, oracle(labels), num_questions=60)
    state = Interleaved(found._replace(subject=OPEN, replies=()), {})
    once = np.flatnonzero((found.groups != OPEN) & (found.num_answers == 1))
    first, second = once[0], once[found.groups[once] != found.groups[once[0]]][0]
    state = add_interleaved_answer(graph, state, int(first), int(second), Answer.DISSIMILAR)
    assert not state.pending
    assert state.beliefs.num_answers[[first, second]].tolist() == [2, 2]


def test_what_was_said_of_a_tile_holds_on_where_it_is_compared_with_an_open_one():
    features, labels = blobs(2, num_classes=4)
    graph = neighbour_graph(features, num_neighbours=1)
    beliefs = begin(graph)
    founder = int(np.flatnonzero(beliefs.groups == 0)[0])
    for label in set(range(4)) - {int(labels[founder])}:
        beliefs = found_group(beliefs, int(np.flatnonzero((labels == label) & (beliefs.groups == OPEN))[0]))
    beliefs = spread(graph, beliefs, BeliefSettings())
    tile, other = np.flatnonzero((labels == labels[founder]) & (unreached(beliefs) == 1)).tolist()[:2]
    state = add_interleaved_answer(graph, Interleaved(beliefs, {}), tile, founder, Answer.SIMILAR)
    assert state.pending == {tile: (Reply(founder, True),)}  # one yes about a tile far from all groups
    state = add_interleaved_answer(graph, state, tile, other, Answer.DISSIMILAR)
    assert state.beliefs.groups[tile] == 0 and tile not in state.pending
