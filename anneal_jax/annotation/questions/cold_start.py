"""First questions, from features alone."""

import numpy as np

from anneal_jax.pairs.canonical import canonicalise
from anneal_jax.types import MIN_NORM, FloatArray, PairIndices

ANCHORS = 256
"""Tiles that the cold start asks about, at most."""

PARTNERS = 5
"""Likely similar, and again likely dissimilar, partners of each of them."""

_APART = 0.3  # place of a likely dissimilar anchor among all others, the nearest first


def cold_start_pairs(directions: FloatArray, *, seed: int) -> PairIndices:
    """Choose first questions from features alone: half likely similar, half not, all over the archive.

    Anchors are drawn as k-means++ draws centres, far from each other yet where tiles are. Each is paired
    with its nearest tiles, and with other anchors at the edge of the nearest third: likely dissimilar, and
    not so far that nothing would be learnt.

    Args:
      directions: float32[N, F], centred features of unit length, N >= 2.
      seed: of the draws.

    Returns:
      int32[P, 2], canonical, unique, in the order to ask: similar and dissimilar take turns, and every
      anchor is asked about once before any is asked about again.

    Source: arthur2007kmeanspp for the anchors; the pairs are this project's.
    """
    from sklearn.cluster import kmeans_plusplus

    num_tiles = len(directions)
    _, anchors = kmeans_plusplus(
        directions, min(ANCHORS, num_tiles), random_state=np.random.RandomState(seed)
    )
    anchors = np.array(list(dict.fromkeys(anchors.tolist())))  # where all tiles are one, one is drawn again
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
    """Centre vectors float32[N, F] and give each unit length; the products are cosines."""
    centred = vectors - np.mean(vectors, axis=0, dtype=np.float64).astype(np.float32)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.float32(MIN_NORM))
