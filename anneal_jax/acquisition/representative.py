"""Pairs that represent the pool: core-set and typicality, known for images, carried over to pairs.

Both look at a uniform sample of the pool, since neither can be ranked without seeing all the others: some
thousands of pairs, or four times as many as are wanted.
"""

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.diversity import pair_representation
from anneal_jax.pairs.canonical import PairKeys, pairs_of_keys
from anneal_jax.pairs.drawing import draw_random_pairs
from anneal_jax.types import FloatArray, PairIndices

NUM_NEIGHBOURS = 20
"""Neighbours that typicality is measured by (hacohen2022typiclust)."""

_SAMPLED_PAIRS = 4096
_MOST_CENTRES = 8192
_BLOCK_ROWS = 512

Wide = npt.NDArray[np.float64]


def sample_pool(
    num_images: int, known: PairKeys, num_pairs: int, *, seed: int, least: int | None = None
) -> PairIndices:
    """Draw the pairs to choose from, in an order that breaks ties.

    Args:
      num_images: N.
      known: int64[M], sorted keys of the pairs that must not be drawn.
      num_pairs: k, how many will be chosen.
      seed: of the draw.
      least: pairs to draw at least, while the pool has as many; some thousands by default.
    """
    wanted = max(_SAMPLED_PAIRS if least is None else least, 4 * num_pairs)
    return draw_random_pairs(np.random.default_rng(seed), num_images, wanted, known=known)


def rank_by_coverage(
    embeddings: FloatArray, known: PairKeys, num_pairs: int, *, seed: int
) -> tuple[PairIndices, FloatArray]:
    """Choose pairs so that none is far from a chosen or known one: k-centre greedy, or core-set.

    Each next pair is the one farthest from all known and chosen ones, by `pair_representation`; its
    utility is that distance. Of more than 8,192 known pairs a sample stands for all. Where none is
    known, the mean of the sample is the first centre. Time is k times the size of the sample.

    Args:
      embeddings: float32[N, D].
      known: int64[M], sorted keys of the pairs that must not be chosen.
      num_pairs: k.
      seed: of the samples.

    Returns:
      int32[P, 2], in the order chosen, and float32[P], not increasing; P = min(k, size of the pool).

    Source: sener2018coreset, its greedy form; on pairs it is this project's.
    """
    pairs = sample_pool(len(embeddings), known, num_pairs, seed=seed)
    points = _wide_representation(embeddings, pairs)
    centres = _centres(embeddings, known, points, seed)
    distances = np.concatenate(
        [_squared_distances(block, centres).min(axis=1) for block in _blocks(points)]
    )
    chosen, gaps = farthest_first(points, distances, num_pairs)
    return pairs[chosen], gaps


def farthest_first(
    points: Wide, squared_distances: npt.NDArray[np.float64], count: int
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
        to_farthest = _squared_distances(points, points[farthest][None])[:, 0]
        distances = np.minimum(distances, to_farthest)
        distances[farthest] = -np.inf  # below all others, were they equal
    return chosen, gaps


def rank_by_typicality(
    embeddings: FloatArray, known: PairKeys, num_pairs: int, *, seed: int
) -> tuple[PairIndices, FloatArray]:
    """Choose the pairs of the densest regions; with clustering, the most typical pair of each cluster.

    The utility is minus the mean distance to the 20 nearest pairs of the sample, by
    `pair_representation`: the paper's typicality is its inverse, which ranks alike.

    Args:
      embeddings: float32[N, D].
      known: int64[M], sorted keys of the pairs that must not be chosen.
      num_pairs: k.
      seed: of the sample.

    Returns:
      int32[P, 2] and float32[P], not increasing; P = min(k, size of the pool).

    Source: hacohen2022typiclust; on pairs it is this project's.
    """
    pairs = sample_pool(len(embeddings), known, num_pairs, seed=seed)
    points = _wide_representation(embeddings, pairs)
    num_near = min(NUM_NEIGHBOURS, len(points) - 1)
    means = [np.empty(0)]
    for block in _blocks(points) if num_near > 0 else [points]:
        # The nearest of all is the pair itself, at distance 0.
        nearest = np.sort(_squared_distances(block, points), axis=1)[:, : num_near + 1]
        means.append(np.sqrt(nearest).sum(axis=1) / max(1, num_near))
    utilities = -np.concatenate(means)
    order = np.argsort(-utilities, kind="stable")[:num_pairs]
    return pairs[order], utilities[order].astype(np.float32)


def _wide_representation(embeddings: FloatArray, pairs: PairIndices) -> Wide:
    return pair_representation(embeddings, pairs).astype(np.float64)


def _centres(embeddings: FloatArray, known: PairKeys, points: Wide, seed: int) -> Wide:
    if not known.size:
        return np.sum(points, axis=0, keepdims=True) / max(1, len(points))
    if known.size > _MOST_CENTRES:
        known = np.random.default_rng([seed, 1]).choice(known, _MOST_CENTRES, replace=False)
    return _wide_representation(embeddings, pairs_of_keys(known, len(embeddings)))


def _blocks(points: Wide) -> list[Wide]:
    """Split points so that a block's distances to all centres fit into memory; at least one block."""
    return np.array_split(points, max(1, -(-len(points) // _BLOCK_ROWS)))


def _squared_distances(points: Wide, centres: Wide) -> Wide:
    """Return |x - c|^2, float64[P, C]."""
    norms, centre_norms = (np.einsum("pd,pd->p", vectors, vectors) for vectors in (points, centres))
    return np.maximum(norms[:, None] + centre_norms[None] - 2 * points @ centres.T, 0.0)
