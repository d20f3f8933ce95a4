"""Random known pairs for tests of what chooses among the others."""

import numpy as np

from anneal_jax.pairs.canonical import count_pairs, pair_keys, pairs_of_ranks


def known_keys(num_images, count, seed=1):
    """Return the sorted keys of so many pairs; `seed` may be a generator."""
    ranks = np.random.default_rng(seed).permutation(count_pairs(num_images))[:count]
    return np.sort(pair_keys(pairs_of_ranks(ranks, num_images), num_images))
