import numpy as np
import pytest

from anneal_jax.acquisition.coreset import rank_by_coverage
from anneal_jax.acquisition.diversity import pair_representation
from anneal_jax.acquisition.pool_sample import sample_pool
from anneal_jax.pairs.canonical import pairs_of_keys
from tests.acquisition.conftest import NUM_IMAGES
from tests.pairs.known import known_keys
from tests.reference import pool_sample as twin


@pytest.mark.parametrize("num_known", [0, 1, 12])
def test_coverage_matches_its_twin(embeddings, num_known):
    known = known_keys(NUM_IMAGES, num_known)
    pairs, utilities = rank_by_coverage(embeddings, known, 8, seed=0)
    pool = sample_pool(NUM_IMAGES, known, 8, seed=0)
    points = pair_representation(embeddings, pool)
    centres = pair_representation(embeddings, pairs_of_keys(known, NUM_IMAGES))
    centres = centres if num_known else [points.mean(axis=0)]
    np.testing.assert_array_equal(pairs, pool[twin.farthest_first(points, centres, 8)])
    covered = [*centres, *pair_representation(embeddings, pairs)[:-1]]
    last = pair_representation(embeddings, pairs)[-1]
    np.testing.assert_allclose(utilities[-1], min(twin.distance(last, c) for c in covered), rtol=1e-5)
