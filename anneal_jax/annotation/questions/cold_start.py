"""Chooses the first questions from features alone."""

import numpy as np

from anneal_jax.pairs.canonical import canonicalise
from anneal_jax.types import MIN_NORM, FloatArray, PairIndices

ANCHORS = 256
"""Maximum number of tiles that the cold start asks about."""

PARTNERS = 5
"""Number of likely similar, and of likely dissimilar, partners for each tile."""

_APART = 0.3  # rank of a likely dissimilar anchor among the others, nearest first, as a share


def cold_start_pairs(directions: FloatArray, *, seed: int) -> PairIndices:
    """Choose the first questions from features alone: half likely similar, half not, all over the archive.

    Anchors are drawn as k-means++ draws its centres: far apart, but in populated regions. Each is paired
    with its nearest tiles, and with other anchors at the edge of the nearest third, which are likely
    dissimilar but not so far away that an answer would teach nothing.

    Args:
      directions: float32[N, F], centred features of unit length, N >= 2.
      seed: seed of the draws.

    Returns:
      int32[P, 2], canonical, unique, in the order to ask: similar and dissimilar alternate, and every
      anchor is asked about once before any is asked about again.

    Source: arthur2007kmeanspp for the anchors; the pairing is this project's.
    """
    from sklearn.cluster import kmeans_plusplus

    num_tiles = len(directions)
    _, anchors = kmeans_plusplus(
        directions, min(ANCHORS, num_tiles), random_state=np.random.RandomState(seed)
    )
    anchors = np.array(list(dict.fromkeys(anchors.tolist())))  # identical tiles can be drawn twice
    num_partners = min(PARTNERS, num_tiles - 1)
    similarities = directions[anchors] @ directions.T
    similarities[np.arange(len(anchors)), anchors] = -np.inf
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :num_partners]
    by_anchor = np.argsort(-similarities[:, anchors], axis=1, kind="stable")
    drawn = []
    for rank in range(num_partners):
        apart = min(int(_APART * len(anchors)) + rank, len(anchors) - 2)
        for place, anchor in enumerate(anchors.tolist()):
            drawn.append((anchor, nearest[place, rank]))
            drawn.append((anchor, anchors[by_anchor[place, apart]]))
    pairs = canonicalise(np.array([pair for pair in drawn if pair[0] != pair[1]], np.int32))
    _, first_places = np.unique(pairs, axis=0, return_index=True)
    return pairs[np.sort(first_places)]


def unit_directions(vectors: FloatArray) -> FloatArray:
    """Centre vectors float32[N, F] and normalise them to unit length; their dot products are cosines."""
    centred = vectors - np.mean(vectors, axis=0, dtype=np.float64).astype(np.float32)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.float32(MIN_NORM))
