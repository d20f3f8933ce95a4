"""Canonical pairs of images: i < j, one int64 key each, so that sets of pairs are sorted arrays."""

import numpy as np
import numpy.typing as npt

from anneal_jax.types import IntArray, PairIndices, PairLabels

PairKeys = npt.NDArray[np.int64]
"""int64[P], `first * num_images + second`; sorting keys sorts pairs."""


def count_pairs(num_images: int) -> int:
    """Return the number of unordered pairs of different images, N(N-1)/2.

    >>> count_pairs(1680)
    1410360
    """
    return num_images * (num_images - 1) // 2


def canonicalise(pairs: npt.ArrayLike) -> PairIndices:
    """Order each pair as first < second.

    Args:
      pairs: int[P, 2], image indices in any order.

    Returns:
      int32[P, 2] with first < second, in the same row order.

    Raises:
      ValueError: an image is paired with itself, the shape is not [P, 2], or an entry is not a whole number
        in [0, 2^31).

    >>> canonicalise([[5, 2], [0, 1]]).tolist()
    [[2, 5], [0, 1]]
    """
    array = np.asarray(pairs)
    if array.size == 0:
        return np.empty((0, 2), np.int32)
    if array.ndim != 2 or array.shape[1] != 2:
        raise ValueError(f"pairs must have shape [P, 2]; this array has {array.shape}.")
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= 2**31:
        raise ValueError("pairs must contain image indices: whole numbers in [0, 2^31).")
    ordered = np.sort(array, axis=1).astype(np.int32)
    same = np.flatnonzero(ordered[:, 0] == ordered[:, 1])
    if same.size:
        raise ValueError(f"pair {same[0]} joins image {ordered[same[0], 0]} with itself.")
    return ordered


def pair_keys(pair_indices: PairIndices, num_images: int) -> PairKeys:
    """Return one int64 key per canonical pair, in the order given.

    >>> pair_keys(np.array([[0, 1], [1, 2]], np.int32), 10).tolist()
    [1, 12]
    """
    wide = pair_indices.astype(np.int64)
    return wide[:, 0] * num_images + wide[:, 1]


def pairs_of_keys(keys: PairKeys, num_images: int) -> PairIndices:
    """Invert `pair_keys`.

    >>> pairs_of_keys(np.array([1, 12]), 10).tolist()
    [[0, 1], [1, 2]]
    """
    return np.stack(np.divmod(keys, num_images), axis=1).astype(np.int32)


def keys_within(images: IntArray, pair_indices: PairIndices) -> PairKeys:
    """Return the sorted, unique keys of the pairs within a set of images, by positions in that set.

    Args:
      images: int32[M], sorted, so that pairs stay canonical.
      pair_indices: int32[P, 2], canonical; pairs with an image outside the set are left out.

    >>> keys_within(np.array([2, 5, 7]), np.array([[2, 7], [2, 3]])).tolist()
    [2]
    """
    is_inside = np.isin(pair_indices, images).all(axis=1)
    places = np.searchsorted(images, pair_indices[is_inside]).astype(np.int32)
    return np.unique(pair_keys(places, len(images)))


def contains(sorted_keys: PairKeys, keys: PairKeys) -> npt.NDArray[np.bool_]:
    """Return for each key whether it is in a sorted set of keys; O(log M) each.

    >>> contains(np.array([1, 12, 40]), np.array([12, 13])).tolist()
    [True, False]
    """
    if sorted_keys.size == 0:
        return np.zeros(keys.shape, np.bool_)
    places = np.minimum(np.searchsorted(sorted_keys, keys), sorted_keys.size - 1)
    return sorted_keys[places] == keys


def agreed(
    pair_indices: PairIndices, pair_labels: PairLabels, num_images: int
) -> tuple[PairIndices, PairLabels]:
    """Return each pair once, at its first position, and leave out pairs with two labels.

    Args:
      pair_indices: int32[P, 2], canonical.
      pair_labels: int8[P], 1 or 0.
      num_images: N, above every index.

    >>> pairs = np.array([[1, 2], [0, 1], [1, 2]], np.int32)
    >>> pairs, labels = agreed(pairs, np.array([1, 0, 1], np.int8), 3)
    >>> pairs.tolist(), labels.tolist()
    ([[1, 2], [0, 1]], [1, 0])
    """
    _, places, inverse, counts = np.unique(
        pair_keys(pair_indices, num_images), return_index=True, return_inverse=True, return_counts=True
    )
    num_similar = np.bincount(inverse, weights=pair_labels, minlength=counts.size)
    kept = np.sort(places[(num_similar == 0) | (num_similar == counts)])
    return pair_indices[kept], pair_labels[kept]


def pairs_of_ranks(ranks: npt.NDArray[np.int64], num_images: int | npt.NDArray[np.int64]) -> PairIndices:
    """Return the pairs at the given positions of the row-by-row list of all pairs.

    Position 0 is (0, 1), position N-2 is (0, N-1), position N-1 is (1, 2). Exact for every N up to 2^31 -
    1: the square root only gives a first guess, and integers correct it.

    Args:
      ranks: int64[P] in [0, N(N-1)/2).
      num_images: N; or int64[P], one for each rank.

    >>> pairs_of_ranks(np.arange(3), 3).tolist()
    [[0, 1], [0, 2], [1, 2]]
    """

    def row_start(row: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        return row * (num_images - 1) - row * (row - 1) // 2

    # Counted from the end, each row is longer by one, so the row is a triangular root. Rounding in float64
    # may make the root too large by one, but never too small.
    remaining = num_images * (num_images - 1) // 2 - 1 - ranks
    root = ((np.sqrt(8.0 * remaining + 1.0) - 1.0) / 2.0).astype(np.int64)
    first = num_images - 2 - root
    first += row_start(first + 1) <= ranks
    second = first + 1 + ranks - row_start(first)
    return np.stack([first, second], axis=1).astype(np.int32)
