import numpy as np
import pytest

from anneal_jax.acquisition import representative
from anneal_jax.acquisition.diversity import pair_representation
from anneal_jax.acquisition.representative import rank_by_coverage, rank_by_typicality, sample_pool
from anneal_jax.pairs.canonical import contains, count_pairs, pair_keys, pairs_of_keys
from tests.answers.known import known_keys
from tests.reference import representative as twin

NUM_IMAGES = 9


@pytest.fixture
def embeddings():
    vectors = np.random.default_rng(0).normal(size=(NUM_IMAGES, 3)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


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


def test_typicality_matches_its_twin(embeddings):
    known = known_keys(NUM_IMAGES, 5)
    pairs, utilities = rank_by_typicality(embeddings, known, 31, seed=0)
    points = pair_representation(embeddings, pairs)
    assert len(points) == count_pairs(NUM_IMAGES) - 5
    expected = [-twin.mean_near_distance(points, row, 20) for row in range(len(points))]
    np.testing.assert_allclose(utilities, expected, rtol=1e-5)
    assert (np.diff(utilities) <= 0).all()


@pytest.mark.parametrize("rank", [rank_by_coverage, rank_by_typicality])
def test_blocks_and_samples_change_nothing_but_what_is_seen(embeddings, rank, monkeypatch):
    whole = rank(embeddings, known_keys(NUM_IMAGES, 12), 6, seed=0)
    monkeypatch.setattr(representative, "_BLOCK_ROWS", 5)
    for part, same in zip(whole, rank(embeddings, known_keys(NUM_IMAGES, 12), 6, seed=0), strict=True):
        np.testing.assert_allclose(part, same, rtol=1e-6)
    monkeypatch.setattr(representative, "_SAMPLED_PAIRS", 1)
    monkeypatch.setattr(representative, "_MOST_CENTRES", 2)
    pairs, _ = rank(embeddings, known_keys(NUM_IMAGES, 12), 3, seed=0)
    assert len(pairs) == 3
    assert not contains(known_keys(NUM_IMAGES, 12), pair_keys(pairs, NUM_IMAGES)).any()


def test_a_sample_is_at_least_four_times_what_is_chosen():
    known = known_keys(100, 0)
    assert [len(sample_pool(100, known, k, seed=0, least=60)) for k in (10, 30)] == [60, 120]
