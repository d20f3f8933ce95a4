"""The total order of pairs, and a bounded buffer of the best ones in it.

Pairs are ordered by their distance to the boundary, then by a seeded hash of (i, j). The hash is a
bijection, so no two pairs tie. The order is total and the same on all devices, so the best pairs can be
merged from those of several parts, scored in any order on any number of devices.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.pairs.canonical import PairKeys

_MIN_PENDING = 1 << 16  # trimming less often than this would cost more than it saves
_LAST_HASH = np.uint64(2**64 - 1)


def tie_hashes(keys: PairKeys, num_images: int, seed: int) -> npt.NDArray[np.uint64]:
    """Return a seeded 64-bit hash of each pair (i, j), different for different pairs.

    If ties were broken by index, the first images of an archive would be favoured. The hash depends only
    on (seed, i, j), not on the number of images.

    Args:
      keys: int64[P], keys of canonical pairs.
      num_images: N, with which the keys were made.
      seed: any integer.

    Returns:
      uint64[P].

    Source: the finaliser of SplitMix64, steele2014splitmix.
    """
    first, second = np.divmod(keys.astype(np.uint64), np.uint64(num_images))
    salt = _mix(np.array([seed % 2**64], np.uint64) + np.uint64(0x9E3779B97F4A7C15))
    return _mix(((first << np.uint64(32)) | second) ^ salt)


def _mix(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class ScoredPairs(NamedTuple):
    """Pairs and their distances from the boundary.

    Attributes:
      distances: float[P], in any order unless stated otherwise.
      keys: int64[P], keys of the pairs.
    """

    distances: npt.NDArray[np.floating]
    keys: PairKeys

    def where(self, chosen: npt.NDArray[np.bool_]) -> "ScoredPairs":
        """Return the pairs that bool[P] `chosen` marks."""
        return ScoredPairs(self.distances[chosen], self.keys[chosen])


class BestPairs:
    """Collects pairs and keeps those that may still be among the best.

    It keeps the first `capacity` pairs in the total order, and of these only those within `slack` of the
    `num_pairs`-th best. Both limits only tighten as pairs arrive, so the pairs kept in the end do not
    depend on the order of arrival.

    Args:
      num_pairs: h, number of pairs to return.
      capacity: maximum number of pairs to keep; at least h.
      slack: maximum distance of a kept pair beyond that of the h-th best; may be inf.
      num_images: N, with which the keys are made.
      seed: seed of the hash.
    """

    def __init__(self, num_pairs: int, capacity: int, slack: float, num_images: int, seed: int):
        self._num_pairs, self._capacity, self._slack = num_pairs, capacity, slack
        self._num_images, self._seed = num_images, seed
        self._kept = ScoredPairs(np.empty(0, np.float32), np.empty(0, np.int64))
        self._pending: list[ScoredPairs] = []
        self._num_pending = 0
        self.bound = np.float32(np.inf)
        """float32, distance beyond which a pair is of no interest; it never grows."""
        self.last_hash = _LAST_HASH
        """uint64, the largest hash of interest among pairs at the bound itself."""

    @property
    def capacity(self) -> int:
        """Maximum number of pairs to keep."""
        return self._capacity

    def offer(self, pairs: ScoredPairs) -> None:
        """Offer pairs; each may be offered only once."""
        useful = pairs.where(self._beats_bound(pairs))
        self._pending.append(useful)
        self._num_pending += len(useful.keys)
        if self._num_pending > max(_MIN_PENDING, len(self._kept.keys) // 2):
            self._trim()

    def tighten(self, bound: np.float32, last_hash: np.uint64) -> None:
        """Adopt the limit of another buffer if it is tighter.

        Buffers that each saw a part of the pool must do this before they merge: pairs that one of them had
        to drop are missing from the whole, and the limits of the others do not show it.
        """
        self._trim()
        if (bound, last_hash) < (self.bound, self.last_hash):
            self.bound, self.last_hash = bound, last_hash
            self._kept = self._kept.where(self._beats_bound(self._kept))

    def tighten_from_sample(self, pairs: ScoredPairs) -> bool:
        """Tighten the bound by pairs that will be offered later, and return whether that was possible.

        If more of them than fit are within some distance, all pairs kept in the end are within it too.

        Args:
          pairs: some pairs of the pool, each once, none of them offered yet.
        """
        if len(pairs.keys) <= self._capacity:
            return False
        distance = np.partition(pairs.distances, self._capacity)[self._capacity]
        if distance >= self.bound:
            return False
        self.tighten(distance, _LAST_HASH)
        return True

    def holds_all_within(self, distance: float) -> bool:
        """Return whether all pairs offered so far within `distance` are kept."""
        bound = float(self.bound)
        return distance < bound or (distance == bound and bool(self.last_hash == _LAST_HASH))

    def ranked(self) -> ScoredPairs:
        """Return the kept pairs, best first."""
        self._trim()
        return self.rank(self._kept)

    def rank(self, pairs: ScoredPairs) -> ScoredPairs:
        """Sort pairs by distance, then hash."""
        order = np.lexsort((self._hashes(pairs.keys), pairs.distances))
        return ScoredPairs(pairs.distances[order], pairs.keys[order])

    def _beats_bound(self, pairs: ScoredPairs) -> npt.NDArray[np.bool_]:
        useful = pairs.distances <= self.bound
        if self.last_hash != _LAST_HASH:
            tied = np.flatnonzero(pairs.distances == self.bound)
            useful[tied] = self._hashes(pairs.keys[tied]) <= self.last_hash
        return useful

    def _trim(self) -> None:
        parts = [self._kept, *self._pending]
        self._kept = ScoredPairs(
            np.concatenate([part.distances for part in parts]),
            np.concatenate([part.keys for part in parts]),
        )
        self._pending, self._num_pending = [], 0
        if len(self._kept.keys) > self._num_pairs:
            self._drop_beyond_slack()
        if len(self._kept.keys) > self._capacity:
            self._drop_overflow()

    def _drop_beyond_slack(self) -> None:
        distances = self._kept.distances
        needed = float(np.partition(distances, self._num_pairs - 1)[self._num_pairs - 1])
        # Rounded up: a pair on the edge of the band must be kept.
        edge = np.nextafter(np.float32(needed + self._slack), np.float32(np.inf))
        self._kept = self._kept.where(distances <= edge)
        if edge < self.bound:
            self.bound, self.last_hash = edge, _LAST_HASH

    def _drop_overflow(self) -> None:
        distances, keys = self._kept
        last = np.partition(distances, self._capacity - 1)[self._capacity - 1]
        room = self._capacity - np.count_nonzero(distances < last)
        tied = np.flatnonzero(distances == last)
        hashes = self._hashes(keys[tied])
        self.bound, self.last_hash = last, np.partition(hashes, room - 1)[room - 1]
        is_kept = distances < last
        is_kept[tied] = hashes <= self.last_hash
        self._kept = self._kept.where(is_kept)

    def _hashes(self, keys: PairKeys) -> npt.NDArray[np.uint64]:
        return tie_hashes(keys, self._num_images, self._seed)
