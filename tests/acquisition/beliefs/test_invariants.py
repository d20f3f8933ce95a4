"""Whatever is answered, asked for or not, the beliefs stay in order and the questions end."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs.choose import next_question
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    BeliefSettings,
    begin,
    membership,
    settled_groups,
)
from anneal_jax.acquisition.beliefs.update import add_answer
from anneal_jax.types import Answer
from tests.acquisition.beliefs.cases import random_graph

ANSWERS = st.sampled_from(Answer)

VOLUNTEERED = st.tuples(st.integers(0, 11), st.integers(0, 11), ANSWERS)
"""An answer about two tiles that nobody chose, of an archive of twelve at most."""


def check(state, num_tiles):
    num_groups = state.num_groups
    settled = state.groups != OPEN
    assert np.unique(state.groups[settled]).tolist() == list(range(num_groups))
    assert state.groups.dtype == state.seniority.dtype == np.int32
    assert state.evidence.shape == state.reached.shape == (num_tiles, num_groups)
    assert state.evidence.dtype == state.reached.dtype == state.apart.dtype == np.float32
    assert np.isfinite(state.evidence).all() and np.isfinite(state.apart).all()
    assert (state.reached >= 0).all() and (state.reached.sum(axis=1) < 1 + 1e-5).all()
    np.testing.assert_array_equal(state.apart, state.apart.T)
    assert not np.diag(state.apart).any()
    assert not state.seniority[~settled].any()
    ranks = state.seniority[state.seniority > 0]
    assert np.unique(ranks).size == ranks.size
    assert (np.diff(state.asked) > 0).all()
    assert 0 <= state.wrong <= state.judged
    assert state.subject != OPEN or not state.replies
    assert all(0 <= group < num_groups for group, _, _ in state.replies)
    np.testing.assert_allclose(membership(state, BeliefSettings()).sum(axis=1), 1, rtol=1e-5)


@settings(max_examples=75)
@given(
    seed=st.integers(0, 10**6),
    num_tiles=st.integers(1, 12),
    answers=st.lists(ANSWERS, max_size=66),
    volunteered=st.lists(st.none() | VOLUNTEERED, max_size=66),
)
def test_any_answers_leave_the_beliefs_in_order_and_the_questions_end(
    seed, num_tiles, answers, volunteered
):
    graph = random_graph(seed, num_tiles)
    state, known = begin(graph), set()
    for turn in range(num_tiles * (num_tiles - 1) // 2 + 1):
        check(state, num_tiles)
        before = state
        state, pair = next_question(graph, state)
        check(state, num_tiles)
        if pair is None:
            break
        assert 0 <= pair[0] < pair[1] < num_tiles
        assert pair not in known
        np.testing.assert_array_equal(before.asked, state.asked)
        known.add(pair)
        answer = answers[turn] if turn < len(answers) else Answer.DISSIMILAR
        state = add_answer(graph, state, *pair, answer)
        if turn < len(volunteered) and volunteered[turn] is not None:
            first, second, answer = volunteered[turn]
            if first != second and max(first, second) < num_tiles:
                state = add_answer(graph, state, first, second, answer)
                known.add((min(first, second), max(first, second)))
    else:
        raise AssertionError("more questions than pairs")
    groups, belief = settled_groups(graph, state)
    assert groups.shape == belief.shape == (num_tiles,)
    assert groups.dtype == np.int32 and belief.dtype == np.float32
    assert ((belief >= 0) & (belief <= 1 + 1e-5)).all()
    np.testing.assert_array_equal(groups[state.groups != OPEN], state.groups[state.groups != OPEN])


@settings(max_examples=30)
@given(
    seed=st.integers(0, 10**6),
    num_tiles=st.integers(2, 12),
    pairs=st.lists(VOLUNTEERED, max_size=40),
)
def test_answers_that_nobody_asked_for_are_learnt_from_in_any_order(seed, num_tiles, pairs):
    graph = random_graph(seed, num_tiles)
    state = begin(graph)
    for first, second, answer in pairs:
        if first != second and max(first, second) < num_tiles:
            state = add_answer(graph, state, first, second, answer)
            check(state, num_tiles)
            key = min(first, second) * num_tiles + max(first, second)
            assert key in state.asked
            swapped = add_answer(graph, begin(graph), second, first, answer)
            straight = add_answer(graph, begin(graph), first, second, answer)
            np.testing.assert_array_equal(swapped.asked, straight.asked)
