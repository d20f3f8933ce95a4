import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from tests.acquisition.beliefs.cases import random_graph
from tests.reference import beliefs as twin


@given(
    seed=st.integers(0, 10**6),
    num_tiles=st.integers(2, 25),
    num_neighbours=st.integers(1, 12),
    sharpness=st.sampled_from([0.0, 1.0, 4.0]),
)
def test_the_graph_matches_its_dense_twin(seed, num_tiles, num_neighbours, sharpness):
    features = np.random.default_rng(seed).normal(size=(num_tiles, 5)).astype(np.float32)
    graph = neighbour_graph(features, num_neighbours=num_neighbours, sharpness=sharpness)
    walk, weights = twin.walk(features, num_neighbours, sharpness)
    # Cosines come from float32 distances: an edge near a right angle is known to 1e-6 of a full one.
    np.testing.assert_allclose(graph.walk.toarray(), walk, rtol=1e-4, atol=1e-5)
    roots = np.sqrt(weights.sum(axis=1))
    smooth = weights / roots[:, None] / roots[None]
    np.testing.assert_allclose(graph.smooth.toarray(), smooth, rtol=1e-4, atol=1e-5)
    assert graph.walk.dtype == graph.smooth.dtype == graph.features.dtype == np.float32


@given(seed=st.integers(0, 10**6), num_tiles=st.integers(2, 30))
def test_a_step_leads_somewhere_else_from_every_tile(seed, num_tiles):
    graph = random_graph(seed, num_tiles)  # some of them alike, some without a direction
    walk, smooth = graph.walk.toarray(), graph.smooth.toarray()
    np.testing.assert_allclose(walk.sum(axis=1), 1, rtol=1e-5)
    assert not np.diag(walk).any()
    assert (walk >= 0).all()
    np.testing.assert_array_equal(walk > 0, walk.T > 0)
    np.testing.assert_allclose(smooth, smooth.T, rtol=1e-6)
    lengths = np.linalg.norm(graph.features, axis=1)
    assert (np.isclose(lengths, 1, atol=1e-6) | (lengths == 0)).all()


def test_one_tile_has_nowhere_to_go():
    graph = neighbour_graph(np.ones((1, 3), np.float32))
    assert graph.walk.toarray().tolist() == graph.smooth.toarray().tolist() == [[0.0]]


@pytest.mark.parametrize("other", [[1, 1], [1, 0], [0, 1], [-1, 0], [0, 0]])
def test_two_tiles_are_neighbours_whatever_they_are(other):
    graph = neighbour_graph(np.array([[1, 0], other], np.float32))
    np.testing.assert_allclose(graph.walk.toarray(), [[0, 1], [1, 0]], rtol=1e-6)


def test_where_tiles_are_fewer_than_neighbours_all_are_joined():
    features = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
    graph = neighbour_graph(features, num_neighbours=10)
    np.testing.assert_array_equal(graph.walk.toarray() > 0, ~np.eye(4, dtype=bool))


def test_tiles_that_are_all_alike_are_equally_near():
    graph = neighbour_graph(np.ones((5, 3), np.float32), num_neighbours=4)
    np.testing.assert_allclose(graph.walk.toarray(), (1 - np.eye(5)) / 4, rtol=1e-3)


def test_a_tile_without_a_direction_draws_no_walks():
    features = np.eye(6, dtype=np.float32) + 0.3  # every two at a cosine of 0.8
    features[0] = 0
    walk = neighbour_graph(features, num_neighbours=5).walk.toarray()
    assert walk[1:, 0].max() < 1e-20
    np.testing.assert_allclose(walk[0, 1:], 0.2, rtol=1e-6)


def test_a_tile_at_right_angles_to_all_others_keeps_its_neighbours():
    features = np.array([[1, 0, 0], [1, 0.1, 0], [1, -0.1, 0], [0, 0, 1]], np.float32)
    walk = neighbour_graph(features, num_neighbours=2).walk.toarray()
    np.testing.assert_allclose(np.sort(walk[3]), [0, 0, 0.5, 0.5], rtol=1e-6)


def test_the_length_of_a_feature_changes_nothing():
    features = np.random.default_rng(1).normal(size=(12, 4)).astype(np.float32)
    scaled = features * np.float32(2) ** np.arange(12)[:, None].astype(np.float32)
    one, other = (neighbour_graph(array, num_neighbours=3).walk.toarray() for array in (features, scaled))
    np.testing.assert_allclose(one, other, rtol=1e-5)
