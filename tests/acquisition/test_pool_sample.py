import numpy as np
import pytest

from anneal_jax.acquisition import coreset, pool_sample
from anneal_jax.acquisition.coreset import rank_by_coverage
from anneal_jax.acquisition.pool_sample import sample_pool
from anneal_jax.acquisition.typicality import rank_by_typicality
from anneal_jax.pairs.canonical import contains, pair_keys
from tests.acquisition.conftest import NUM_IMAGES
from tests.pairs.known import known_keys


@pytest.mark.parametrize("rank", [rank_by_coverage, rank_by_typicality])
def test_blocks_and_samples_change_nothing_but_what_is_seen(embeddings, rank, monkeypatch):
    whole = rank(embeddings, known_keys(NUM_IMAGES, 12), 6, seed=0)
    monkeypatch.setattr(pool_sample, "_BLOCK_ROWS", 5)
    for part, same in zip(whole, rank(embeddings, known_keys(NUM_IMAGES, 12), 6, seed=0), strict=True):
        np.testing.assert_allclose(part, same, rtol=1e-6)
    monkeypatch.setattr(pool_sample, "_SAMPLED_PAIRS", 1)
    monkeypatch.setattr(coreset, "_MAX_CENTRES", 2)
    pairs, _ = rank(embeddings, known_keys(NUM_IMAGES, 12), 3, seed=0)
    assert len(pairs) == 3
    assert not contains(known_keys(NUM_IMAGES, 12), pair_keys(pairs, NUM_IMAGES)).any()


def test_a_sample_is_at_least_four_times_what_is_chosen():
    known = known_keys(100, 0)
    assert [len(sample_pool(100, known, k, seed=0, least=60)) for k in (10, 30)] == [60, 120]
