"""Chooses pairs in the densest regions of the pool: typicality, for pairs."""

import numpy as np

from anneal_jax.acquisition.pool_sample import (
    pairwise_squared_distances,
    row_blocks,
    sample_pool,
    wide_representation,
)
from anneal_jax.pairs.canonical import PairKeys
from anneal_jax.types import FloatArray, PairIndices

NUM_NEIGHBOURS = 20
"""Neighbours that typicality is measured by (hacohen2022typiclust)."""


def rank_by_typicality(
    embeddings: FloatArray, known: PairKeys, num_pairs: int, *, seed: int
) -> tuple[PairIndices, FloatArray]:
    """Choose pairs in the densest regions; with clustering, the most typical pair of each cluster.

    The utility is minus the mean distance to the 20 nearest pairs of the sample, by
    `pair_representation`. The paper's typicality is the inverse of that distance, with the same order.

    Args:
      embeddings: float32[N, D].
      known: int64[M], sorted keys of the pairs that must not be chosen.
      num_pairs: k.
      seed: seed of the sample.

    Returns:
      int32[P, 2] and float32[P], not increasing; P = min(k, size of the pool).

    Source: hacohen2022typiclust; on pairs it is this project's.
    """
    pairs = sample_pool(len(embeddings), known, num_pairs, seed=seed)
    points = wide_representation(embeddings, pairs)
    num_near = min(NUM_NEIGHBOURS, len(points) - 1)
    means = [np.empty(0)]
    for block in row_blocks(points) if num_near > 0 else [points]:
        # The nearest pair is the pair itself, at distance 0.
        nearest = np.sort(pairwise_squared_distances(block, points), axis=1)[:, : num_near + 1]
        means.append(np.sqrt(nearest).sum(axis=1) / max(1, num_near))
    utilities = -np.concatenate(means)
    order = np.argsort(-utilities, kind="stable")[:num_pairs]
    return pairs[order], utilities[order].astype(np.float32)
