"""Random pairs: the paper's first training set, and uniform draws from the pool."""

import numpy as np
import numpy.typing as npt

from anneal_jax.pairs.canonical import (
    PairKeys,
    canonicalise,
    contains,
    count_pairs,
    pair_keys,
    pairs_of_keys,
    pairs_of_ranks,
)
from anneal_jax.types import IntArray, PairIndices

# Below this many pairs the whole pool is listed: simpler, and exact when nearly all pairs are known.
_LISTED_PAIRS = 1 << 21


def draw_anchors(rng: np.random.Generator, num_images: int, fraction: float) -> npt.NDArray[np.intp]:
    """Draw the images that receive partners in the paper's first training set.

    Args:
      rng: source of randomness.
      num_images: N >= 1.
      fraction: share of the images, rounded to a whole number, at least one.

    Returns:
      int[M] in [0, N), all different, in the order drawn.
    """
    return rng.permutation(num_images)[: max(1, round(fraction * num_images))]


def draw_class_balanced_pairs(
    rng: np.random.Generator,
    labels: IntArray,
    *,
    fraction: float = 0.05,
    num_similar: int = 4,
    num_dissimilar: int = 4,
) -> PairIndices:
    """Draw the paper's first training set, which needs class labels.

    A share of the images, drawn at random, each get `num_similar` partners of their own class and
    `num_dissimilar` of other classes. A pair drawn from both its ends is kept once, so the set may be
    a little smaller than `fraction * N * (num_similar + num_dissimilar)`.

    Args:
      rng: source of randomness.
      labels: int32[N], class of each image; N >= 1.
      fraction: share of the images that get partners, rounded to a whole number, at least one.
      num_similar: number of partners of the same class; fewer if the class is smaller.
      num_dissimilar: number of partners of other classes; fewer if there are not as many.

    Returns:
      int32[P, 2], canonical and unique, in the order drawn.

    Source: henkel2023anneal, section 3.
    """
    num_images = len(labels)
    anchors = draw_anchors(rng, num_images, fraction)
    drawn = []
    for anchor in anchors:
        same = labels == labels[anchor]
        for is_wanted, count in ((same, num_similar), (~same, num_dissimilar)):
            partners = np.flatnonzero(is_wanted)
            partners = partners[partners != anchor]
            chosen = rng.permutation(partners)[:count]
            drawn.append(np.stack([np.full(chosen.shape, anchor), chosen], axis=1))
    return _unique_in_order(canonicalise(np.concatenate(drawn)), num_images)


def draw_random_pairs(
    rng: np.random.Generator, num_images: int, num_pairs: int, *, known: PairKeys
) -> PairIndices:
    """Draw pairs uniformly, without replacement, from all unknown pairs.

    Args:
      rng: source of randomness.
      num_images: N.
      num_pairs: number of pairs to draw.
      known: int64[M], sorted keys of the pairs that must not be drawn.

    Returns:
      int32[P, 2] with P = min(num_pairs, size of the pool), canonical, in random order.
    """
    total = count_pairs(num_images)
    num_pairs = min(num_pairs, total - known.size)
    if num_pairs <= 0:
        return np.empty((0, 2), np.int32)
    if total <= max(_LISTED_PAIRS, 2 * (known.size + num_pairs)):
        keys = pair_keys(pairs_of_ranks(np.arange(total), num_images), num_images)
        pool = keys[~contains(known, keys)]
        return pairs_of_keys(rng.permutation(pool)[:num_pairs], num_images)
    drawn = np.empty((0, 2), np.int32)
    while len(drawn) < num_pairs:
        ranks = rng.integers(0, total, size=2 * (num_pairs - len(drawn)))
        fresh = pairs_of_ranks(ranks, num_images)
        fresh = fresh[~contains(known, pair_keys(fresh, num_images))]
        drawn = _unique_in_order(np.concatenate([drawn, fresh]), num_images)
    return drawn[:num_pairs]


def _unique_in_order(pairs: PairIndices, num_images: int) -> PairIndices:
    _, first_places = np.unique(pair_keys(pairs, num_images), return_index=True)
    return pairs[np.sort(first_places)]
