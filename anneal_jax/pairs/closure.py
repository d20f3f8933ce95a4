"""The whole transitive closure of many answers at once, as arrays to train on."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse import csgraph

from anneal_jax.pairs.canonical import PairKeys, contains, pair_keys, pairs_of_ranks
from anneal_jax.pairs.transitive import DerivedPairs
from anneal_jax.types import IntArray, PairIndices, PairLabels

MAX_DERIVED_PAIRS = 4_000_000
"""Default maximum number of listed pairs: 36 MB, and more than a round trains on."""

_Int64s = npt.NDArray[np.int64]


class _Groups(NamedTuple):
    """Images sorted by group.

    Attributes:
      images: int32[M], every image that an answer names, by group.
      starts: int64[G], start of each group.
      sizes: int64[G], size of each group.
      is_sound: bool[G], whether no answer inside the group says "dissimilar".
    """

    images: IntArray
    starts: _Int64s
    sizes: _Int64s
    is_sound: npt.NDArray[np.bool_]


class _Blocks(NamedTuple):
    """All implied pairs between two groups, or within one.

    Attributes:
      first: int64[K], a group.
      second: int64[K], another group, or the same.
      num_pairs: int64[K], number of pairs.
    """

    first: _Int64s
    second: _Int64s
    num_pairs: _Int64s


def expand_closure(
    pair_indices: PairIndices,
    pair_labels: PairLabels,
    num_images: int,
    *,
    max_pairs: int = MAX_DERIVED_PAIRS,
) -> DerivedPairs:
    """Derive every pair that follows from any number of answers.

    The rule is `closure` of `anneal_jax.pairs.rules`. A few thousand answers may imply millions of pairs.
    If there are more than `max_pairs`, about every (number / `max_pairs`)-th pair in the order of groups is
    listed: always the same pairs, and a proportional share for every two groups. An implied pair that is
    left out this way may be asked.

    Args:
      pair_indices: int32[P, 2], the answered pairs, canonical; a pair may occur more than once.
      pair_labels: int8[P], their answers.
      num_images: N, above every index.
      max_pairs: maximum number of pairs to list, including answered ones.

    Returns:
      The derived pairs without the answered ones. All pairs within a group that contradicts itself are
      contradictory: both labels are implied for each.

    >>> answers = np.array([[0, 1], [1, 2], [2, 3]], np.int32), np.array([1, 1, 0], np.int8)
    >>> derived = expand_closure(*answers, 4)
    >>> derived.pair_indices.tolist(), derived.pair_labels.tolist()
    ([[0, 2], [0, 3], [1, 3]], [1, 0, 0])
    """
    groups, blocks = _implied_blocks(pair_indices, pair_labels)
    pairs, labels = _list_pairs(groups, blocks, max_pairs)
    keys = pair_keys(pairs, num_images)
    is_new = ~contains(np.sort(pair_keys(pair_indices, num_images)), keys)
    order = np.flatnonzero(is_new)[np.argsort(keys[is_new])]
    contradictory = groups.sizes[~groups.is_sound]
    return DerivedPairs(pairs[order], labels[order], int(np.sum(contradictory * (contradictory - 1) // 2)))


def _implied_blocks(pair_indices: PairIndices, pair_labels: PairLabels) -> tuple[_Groups, _Blocks]:
    images, places = np.unique(pair_indices, return_inverse=True)
    places = places.reshape(-1, 2)
    similar, dissimilar = places[pair_labels == 1], places[pair_labels == 0]
    ones = np.ones(len(similar), np.int8)
    joins = sparse.coo_array((ones, (similar[:, 0], similar[:, 1])), shape=(images.size, images.size))
    num_groups, group_of = csgraph.connected_components(joins, directed=False)
    sizes = np.bincount(group_of, minlength=num_groups).astype(np.int64)
    apart = np.sort(group_of[dissimilar].astype(np.int64), axis=1)
    is_sound = np.ones(num_groups, np.bool_)
    is_sound[apart[apart[:, 0] == apart[:, 1], 0]] = False
    groups = _Groups(
        images[np.argsort(group_of, kind="stable")].astype(np.int32),
        np.cumsum(sizes) - sizes,
        sizes,
        is_sound,
    )
    apart = np.unique(apart[is_sound[apart].all(axis=1)], axis=0)
    within = np.flatnonzero(is_sound & (sizes > 1))
    first, second = np.concatenate([within, apart[:, 0]]), np.concatenate([within, apart[:, 1]])
    within_pairs = sizes[within] * (sizes[within] - 1) // 2
    between_pairs = sizes[apart[:, 0]] * sizes[apart[:, 1]]
    return groups, _Blocks(first, second, np.concatenate([within_pairs, between_pairs]))


def _list_pairs(groups: _Groups, blocks: _Blocks, max_pairs: int) -> tuple[PairIndices, PairLabels]:
    """Return the pairs of all blocks and their labels, evenly thinned to `max_pairs`."""
    ends = np.cumsum(blocks.num_pairs)
    places = _evenly(int(ends[-1]) if ends.size else 0, max_pairs)
    block = np.searchsorted(ends, places, side="right")
    ranks = places - (ends - blocks.num_pairs)[block]
    first, second = blocks.first[block], blocks.second[block]
    is_within = first == second
    within = np.empty((places.size, 2), np.int64)
    within[is_within] = pairs_of_ranks(ranks[is_within], groups.sizes[first[is_within]])
    between = np.stack(np.divmod(ranks, groups.sizes[second]), axis=1)
    inside = np.where(is_within[:, None], within, between)
    starts = np.stack([groups.starts[first], groups.starts[second]], axis=1)
    pairs = np.sort(groups.images[starts + inside], axis=1)
    return pairs, is_within.astype(np.int8)


def _evenly(num_places: int, max_places: int) -> PairKeys:
    """Return all positions up to `num_places`, or at most `max_places` of them, evenly spread."""
    taken = np.arange(min(num_places, max_places), dtype=np.int64)
    # In halves, so that no product leaves int64: num_places < 2^62 and taken < 2^31.
    whole, rest = divmod(num_places, max(1, taken.size))
    return taken * whole + taken * rest // max(1, taken.size)
