import numpy as np

from anneal_jax.acquisition.diversity import pair_representation
from anneal_jax.acquisition.typicality import rank_by_typicality
from anneal_jax.pairs.canonical import count_pairs
from tests.acquisition.conftest import NUM_IMAGES
from tests.pairs.known import known_keys
from tests.reference import pool_sample as twin


def test_typicality_matches_its_twin(embeddings):
    known = known_keys(NUM_IMAGES, 5)
    pairs, utilities = rank_by_typicality(embeddings, known, 31, seed=0)
    points = pair_representation(embeddings, pairs)
    assert len(points) == count_pairs(NUM_IMAGES) - 5
    expected = [-twin.mean_near_distance(points, row, 20) for row in range(len(points))]
    np.testing.assert_allclose(utilities, expected, rtol=1e-5)
    assert (np.diff(utilities) <= 0).all()
