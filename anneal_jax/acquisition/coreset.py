"""Chooses pairs such that no pair of the pool is far from a chosen one: core-set, for pairs."""

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.pool_sample import (
    Points,
    pairwise_squared_distances,
    row_blocks,
    sample_pool,
    wide_representation,
)
from anneal_jax.pairs.canonical import PairKeys, pairs_of_keys
from anneal_jax.types import FloatArray, PairIndices

_MAX_CENTRES = 8192


def rank_by_coverage(
    embeddings: FloatArray, known: PairKeys, num_pairs: int, *, seed: int
) -> tuple[PairIndices, FloatArray]:
    """Choose pairs so that none is far from a chosen or known one: k-centre greedy, or core-set.

    Each next pair is the one farthest from all known and chosen ones, by `pair_representation`; its
    utility is that distance. If more than 8,192 pairs are known, a sample represents them. If none is
    known, the mean of the sample is the first centre. Time is proportional to k times the sample size.

    Args:
      embeddings: float32[N, D].
      known: int64[M], sorted keys of the pairs that must not be chosen.
      num_pairs: k.
      seed: seed of the samples.

    Returns:
      int32[P, 2], in the order chosen, and float32[P], not increasing; P = min(k, size of the pool).

    Source: sener2018coreset, its greedy form; on pairs it is this project's.
    """
    pairs = sample_pool(len(embeddings), known, num_pairs, seed=seed)
    points = wide_representation(embeddings, pairs)
    centres = _centres(embeddings, known, points, seed)
    distances = np.concatenate(
        [pairwise_squared_distances(block, centres).min(axis=1) for block in row_blocks(points)]
    )
    chosen, gaps = farthest_first(points, distances, num_pairs)
    return pairs[chosen], gaps


def farthest_first(
    points: Points, squared_distances: npt.NDArray[np.float64], count: int
) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """Choose points one by one, each the farthest from the centres and from those chosen before it.

    Args:
      points: float64[P, F].
      squared_distances: float64[P], of each point to the nearest centre.
      count: k.

    Returns:
      int[k'], rows in the order chosen, the earlier of equal ones first, and float32[k'], their distances
      at that moment, not increasing; k' = min(k, P).

    >>> rows, gaps = farthest_first(np.array([[1.0], [5.0], [4.0]]), np.array([1.0, 25.0, 16.0]), 2)
    >>> rows.tolist(), gaps.tolist()
    ([1, 0], [5.0, 1.0])
    """
    chosen = np.empty(min(count, len(points)), np.intp)
    gaps = np.empty(len(chosen), np.float32)
    distances = squared_distances
    for place in range(len(chosen)):
        farthest = np.argmax(distances)
        chosen[place], gaps[place] = farthest, np.sqrt(distances[farthest])
        to_farthest = pairwise_squared_distances(points, points[farthest][None])[:, 0]
        distances = np.minimum(distances, to_farthest)
        distances[farthest] = -np.inf  # below all others, even equal ones
    return chosen, gaps


def _centres(embeddings: FloatArray, known: PairKeys, points: Points, seed: int) -> Points:
    if not known.size:
        return np.sum(points, axis=0, keepdims=True) / max(1, len(points))
    if known.size > _MAX_CENTRES:
        known = np.random.default_rng([seed, 1]).choice(known, _MAX_CENTRES, replace=False)
    return wide_representation(embeddings, pairs_of_keys(known, len(embeddings)))
