import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    BeliefSettings,
    begin,
    chances,
    error_rate,
    found_group,
    joining_chances,
    membership,
    own_beliefs,
    settled_groups,
    spread,
    unreached,
)
from anneal_jax.acquisition.beliefs.update import add_answer
from anneal_jax.types import Answer
from tests.acquisition.beliefs.cases import blobs, random_graph
from tests.reference import beliefs as twin

SETTINGS = BeliefSettings()


def partly_settled(graph, seed):
    """Return beliefs in which a third of the tiles, and one at least, are settled in a few groups."""
    rng = np.random.default_rng(seed)
    state = begin(graph)
    tiles = rng.permutation(np.flatnonzero(state.groups == OPEN))
    for tile in tiles[: rng.integers(0, 4)]:
        state = found_group(state, int(tile))
    groups = state.groups.copy()
    more = tiles[4 : 4 + len(tiles) // 3]
    groups[more] = rng.integers(state.num_groups, size=len(more))
    return state._replace(groups=groups)


@given(seed=st.integers(0, 10**6), num_tiles=st.integers(2, 15), num_steps=st.integers(0, 6))
def test_spreading_matches_its_dense_twin(seed, num_tiles, num_steps):
    graph = random_graph(seed, num_tiles)
    state = partly_settled(graph, seed)
    found = spread(graph, state, SETTINGS, num_steps).reached
    walk = graph.walk.toarray().astype(np.float64)
    expected = twin.spread(walk, state.groups, state.reached, num_steps, SETTINGS.death)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32


@given(seed=st.integers(0, 10**6), num_tiles=st.integers(2, 25), death=st.sampled_from([0.05, 0.3]))
def test_many_steps_end_where_all_walks_do(seed, num_tiles, death):
    graph = random_graph(seed, num_tiles)
    state = partly_settled(graph, seed)
    settings = SETTINGS._replace(death=death)
    found = spread(graph, state, settings, 400)
    walk = graph.walk.toarray().astype(np.float64)
    ends = twin.ends_of_walks(walk, state.groups, state.num_groups, death)
    np.testing.assert_allclose(found.reached, ends, atol=1e-5)
    np.testing.assert_allclose(unreached(found), np.clip(1 - ends.sum(axis=1), 0, 1), atol=1e-5)
    shares = membership(found, settings)
    np.testing.assert_allclose(shares, twin.membership(ends, settings.balance), atol=1e-4)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    settled = state.groups != OPEN
    np.testing.assert_array_equal(shares[settled], np.eye(state.num_groups)[state.groups[settled]])


def test_tiles_that_no_walk_leads_away_from_may_be_in_any_group():
    two_islands = np.array([[1, 0], [1, 0.01], [-1, 0], [-1, 0.01]], np.float32)
    graph = neighbour_graph(two_islands, num_neighbours=1)
    state = spread(graph, found_group(begin(graph), 1 - int(np.argmax(begin(graph).groups))), SETTINGS, 50)
    far = [2, 3] if state.groups[0] != OPEN else [0, 1]
    np.testing.assert_array_equal(membership(state, SETTINGS)[far], 0.5)
    np.testing.assert_array_equal(unreached(state)[far], 1)
    groups, belief = settled_groups(graph, state)
    assert belief[far].tolist() == [0, 0]
    settled = np.flatnonzero(state.groups != OPEN)
    np.testing.assert_array_equal(groups[settled], state.groups[settled])


@given(
    seed=st.integers(0, 10**6),
    replies=st.lists(
        st.tuples(st.integers(0, 2), st.booleans(), st.sampled_from([0.0, 0.05, 0.3])),
        min_size=1,
        max_size=3,
    ),
)
def test_chances_follow_bayes(seed, replies):
    features, _ = blobs(seed, num_classes=3, per_class=8)
    graph = neighbour_graph(features)
    state = begin(graph)
    others = np.random.default_rng(seed).permutation(np.flatnonzero(state.groups == OPEN))
    for tile in others[:2]:
        state = found_group(state, int(tile))
    state = spread(graph, state, SETTINGS, 100)
    subject = int(others[2])
    # Nothing is settled by these answers: the tile is looked at before and after them.
    never = SETTINGS._replace(confidence=2.0, least_answers=99, least_first_answers=99)
    before = chances(graph, state, subject, never)
    new = before[-1]
    rate = error_rate(state, never)
    prior = before[:-1] / (1 - new)
    founders = [int(np.flatnonzero(state.groups == group)[0]) for group in range(3)]
    assert rate == 0.05
    replies = [(group, is_yes, miss_rate if is_yes else 0.0) for group, is_yes, miss_rate in replies]
    for group, is_yes, miss_rate in replies:
        answer = Answer(int(is_yes))
        state = add_answer(graph, state, subject, founders[group], answer, never, miss_rate=miss_rate)
        if state.subject != subject:
            return  # a tile with a group of its own: `test_a_tile_refused_by_all_founds_a_group`
    expected = twin.chances(prior, new, replies, rate)
    np.testing.assert_allclose(chances(graph, state, subject, never), expected, rtol=1e-4)


@given(seed=st.integers(0, 10**6))
def test_the_chance_of_a_new_group_is_good_and_turings_with_the_walks_that_die(seed):
    features, _ = blobs(seed, num_classes=3, per_class=8)
    graph = neighbour_graph(features)
    state = spread(graph, partly_settled(graph, seed), SETTINGS, 100)
    reached, groups = state.reached.tolist(), state.groups.tolist()
    for tile in np.flatnonzero(state.groups == OPEN).tolist():
        expected = twin.chance_of_new(groups, reached, tile, SETTINGS.most_new, OPEN)
        assert chances(graph, state, tile, SETTINGS)[-1] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "judged", "expected"), [(0, 0, 0.05), (0, 10**6, 0.01), (900, 1000, 0.05)]
)
def test_the_share_of_wrong_answers_is_learnt_within_its_range(wrong, judged, expected):
    state = begin(random_graph(0, 5))._replace(wrong=float(wrong), judged=judged)
    assert error_rate(state, SETTINGS) == pytest.approx(expected)


def test_a_hundred_answers_without_a_slip_lower_the_expected_share():
    state = begin(random_graph(0, 5))._replace(wrong=1.0, judged=100)
    assert error_rate(state, SETTINGS) == pytest.approx((0.05 * 50 + 1) / 150)


@given(seed=st.integers(0, 10**6), num_tiles=st.integers(3, 25))
def test_chances_of_joining_are_symmetric_and_follow_the_answers(seed, num_tiles):
    graph = random_graph(seed, num_tiles)
    state = spread(graph, partly_settled(graph, seed), SETTINGS, 30)
    before = joining_chances(graph, state, SETTINGS)
    np.testing.assert_allclose(before, before.T, rtol=1e-12)
    assert not np.diag(before).any()
    assert (before <= 0.5).all()
    if state.num_groups > 1:
        apart = state.apart.copy()
        apart[0, 1] = apart[1, 0] = 1.0
        after = joining_chances(graph, state._replace(apart=apart), SETTINGS)
        odds = before[0, 1] / (1 - before[0, 1]) * np.e
        assert after[0, 1] == pytest.approx(odds / (1 + odds))


def test_a_settled_tile_is_judged_by_its_neighbours_not_by_itself():
    features, labels = blobs(3, num_classes=2, per_class=15, spread=0.3)
    graph = neighbour_graph(features)
    right = labels.astype(np.int32)
    right[0] = 1 - right[0]  # a slip
    state = found_group(begin(graph), int(np.flatnonzero(begin(graph).groups == OPEN)[0]))
    state = spread(graph, state._replace(groups=right), SETTINGS)
    _, own = own_beliefs(graph, state, membership(state, SETTINGS), np.arange(30))
    assert own[0] < 0.1
    assert own[1:].min() > 0.5
