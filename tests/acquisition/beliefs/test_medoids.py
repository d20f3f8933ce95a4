"""The tiles to ask about first: one from the middle of each cluster, the largest first."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs import medoids
from anneal_jax.acquisition.beliefs.medoids import cluster_medoids
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.state import OPEN, begin, open_medoids
from tests.acquisition.beliefs.cases import blobs, oracle, random_graph, session


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), num_tiles=st.integers(1, 30))
def test_they_are_as_many_different_tiles_as_there_are_clusters(seed, num_tiles):
    found = random_graph(seed, num_tiles).medoids
    assert found.dtype == np.int32
    assert len(found) == min(num_tiles, round(1.5 * num_tiles**0.5)) == np.unique(found).size
    assert ((found >= 0) & (found < num_tiles)).all()


def test_the_middle_of_the_largest_cluster_comes_first(monkeypatch):
    monkeypatch.setattr(medoids, "MAX_CLUSTERS", 2)
    angles = np.array([0.0, 0.1, 0.2, 3.0, 3.1, 3.2, 3.3, 3.4])
    units = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert cluster_medoids(units).tolist() == [5, 1]


@pytest.mark.parametrize("most", [40, 1_000])
def test_every_class_has_its_tile_also_when_a_sample_is_clustered(monkeypatch, most):
    monkeypatch.setattr(medoids, "MAX_CLUSTERED", most)
    features, labels = blobs(3)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    assert set(labels[cluster_medoids(units)]) == set(range(6))


def test_they_are_asked_about_in_their_order_before_all_others():
    features, labels = blobs(0)
    graph = neighbour_graph(features)
    state = begin(graph)
    assert np.flatnonzero(state.groups != OPEN).tolist() == graph.medoids[:1].tolist()
    first_seen, order = set(graph.medoids[:1].tolist()), graph.medoids.tolist()
    _, asked = session(graph, oracle(labels), num_questions=len(order))
    for first, second, _ in asked:
        new = {first, second} - first_seen
        assert len(new) <= 1 and new <= set(order)
        first_seen |= new
    assert first_seen == set(order[: len(first_seen)])
    done, _ = session(graph, oracle(labels), num_questions=4 * len(order))
    assert open_medoids(graph, done).size == 0
