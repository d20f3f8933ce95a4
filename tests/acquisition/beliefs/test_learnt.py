"""The graph that is learnt from answers: what it is, when it is learnt, and when it is used."""

import numpy as np
import pytest

from anneal_jax.acquisition.beliefs.learnt import (
    GROWTH,
    MIN_SETTLED,
    Learnt,
    current_graph,
    discriminants,
    is_due,
    learn_graph,
)
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.state import OPEN, BeliefSettings, begin, spread
from tests.acquisition.beliefs.cases import blobs
from tests.reference import beliefs as twin


def hidden_classes(seed=0):
    """Return features whose classes differ in a few directions, while all tiles differ more in others."""
    features, labels = blobs(seed, num_classes=4, per_class=60, dim=6, spread=0.5)
    noise = 2 * np.random.default_rng(seed).normal(size=(len(labels), 12))
    return np.concatenate([features, noise], axis=1).astype(np.float32), labels


def settled(graph, groups, tiles, before=None):
    """Return beliefs in which some tiles are settled in given groups, all of which are there."""
    state = begin(graph)
    num_groups = int(groups.max()) + 1
    where = np.full(len(groups), OPEN, np.int32)
    where[tiles] = groups[tiles]
    seniority = np.zeros(len(groups), np.int32)
    seniority[tiles] = np.arange(1, len(tiles) + 1)
    empty = np.zeros((len(groups), num_groups), np.float32)
    evidence = empty.copy()
    evidence[tiles, groups[tiles]] = 5  # an answer or two
    apart = np.zeros((num_groups, num_groups), np.float32)
    state = state._replace(
        groups=where, seniority=seniority, evidence=evidence, reached=empty, apart=apart, learnt=before
    )
    return spread(graph, state, BeliefSettings(), 30)


def same_class(graph, labels):
    """Return the share of steps that stay within a class."""
    walk = graph.walk.tocoo()
    return walk.data[labels[walk.row] == labels[walk.col]].sum() / len(labels)


@pytest.mark.parametrize("seed", range(3))
def test_discriminants_match_their_twin(seed):
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(40, 5)).astype(np.float32)
    groups = rng.integers(3, size=40).astype(np.int32)
    kept = rng.random(40) < 0.7
    found = discriminants(directions, groups, kept)
    expected = twin.discriminants(directions, groups, kept)
    assert found.dtype == np.float32 and found.shape == expected.shape == (40, 2)
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, rtol=1e-3, atol=1e-3)


def test_a_graph_is_learnt_at_so_many_settled_tiles_and_each_time_a_quarter_more_are():
    features, labels = hidden_classes()
    graph, order = neighbour_graph(features), np.random.default_rng(1).permutation(len(labels))
    early = settled(graph, labels, order[: MIN_SETTLED - 1])
    assert learn_graph(graph, early) is early
    first = learn_graph(graph, settled(graph, labels, order[:MIN_SETTLED]))
    assert first.learnt.lead == 0 and current_graph(graph, first) is graph
    assert learn_graph(graph, first) is first
    later = settled(graph, labels, order[: int(GROWTH * MIN_SETTLED) - 1], first.learnt)
    assert learn_graph(graph, later) is later
    second = learn_graph(graph, settled(graph, labels, order[: int(GROWTH * MIN_SETTLED)], first.learnt))
    assert second.learnt.graph is not first.learnt.graph


@pytest.mark.parametrize("seed", range(3))
def test_where_the_features_join_the_wrong_tiles_the_learnt_graph_leads_and_is_better(seed):
    features, labels = hidden_classes(seed)
    graph, order = neighbour_graph(features), np.random.default_rng(seed).permutation(len(labels))
    first = learn_graph(graph, settled(graph, labels, order[:60]))
    second = learn_graph(graph, settled(graph, labels, order[:120], first.learnt))
    assert second.learnt.lead > 0
    used = current_graph(graph, second)
    assert used is second.learnt.graph
    assert same_class(used, labels) > same_class(graph, labels) + 0.05
    right = [np.mean(np.argmax(state.reached, axis=1) == labels) for state in (first, second)]
    assert right[1] > right[0]


def test_a_graph_learnt_from_wrong_groups_is_not_used():
    features, labels = blobs(0, num_classes=4, per_class=60, spread=0.5)
    graph, rng = neighbour_graph(features), np.random.default_rng(0)
    order, wrong = rng.permutation(len(labels)), rng.permutation(labels)
    first = learn_graph(graph, settled(graph, wrong, order[:60]))
    second = learn_graph(graph, settled(graph, labels, order, first.learnt))
    assert second.learnt.lead < 0
    assert current_graph(graph, second) is graph


def test_nothing_is_learnt_from_a_single_group_and_it_is_tried_again_a_quarter_later():
    features, labels = hidden_classes()
    graph, order = neighbour_graph(features), np.random.default_rng(1).permutation(len(labels))
    state = learn_graph(graph, settled(graph, np.zeros_like(labels), order[:MIN_SETTLED]))
    assert state.learnt.graph is graph and state.learnt.lead == 0
    assert not is_due(state) and learn_graph(graph, state) is state
    more = settled(graph, labels, order[: int(GROWTH * MIN_SETTLED)], state.learnt)
    assert is_due(more) and learn_graph(graph, more).learnt.graph is not graph


def test_a_graph_that_was_learnt_stays_when_a_later_one_cannot_be():
    features, labels = hidden_classes()
    graph, order = neighbour_graph(features), np.random.default_rng(1).permutation(len(labels))
    first = learn_graph(graph, settled(graph, labels, order[:MIN_SETTLED]))
    single = settled(graph, np.zeros_like(labels), order[: int(GROWTH * MIN_SETTLED)], first.learnt)
    second = learn_graph(graph, single)
    assert second.learnt.graph is first.learnt.graph and not is_due(second)


def test_a_level_graph_is_not_used():
    graph = neighbour_graph(blobs()[0])
    other = graph._replace(walk=graph.walk * np.float32(0))
    level = begin(graph)._replace(learnt=Learnt(other, np.zeros(120, bool), 0.0))
    assert current_graph(graph, level) is graph
    assert current_graph(graph, level._replace(learnt=level.learnt._replace(lead=0.1))) is other
