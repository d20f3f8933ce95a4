"""A scan on several hosts: each process takes its share of the tiles, and all merge what they found."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from anneal_jax.acquisition.scan.best_pairs import BestPairs, ScoredPairs
from anneal_jax.acquisition.scan.grid import Tile
from anneal_jax.pairs.canonical import pair_keys, pairs_of_keys


def share_of_process(tiles: Sequence[Tile]) -> Sequence[Tile]:
    """Return every P-th tile for P processes, starting from the number of this process."""
    return tiles[jax.process_index() :: jax.process_count()]


def merge_processes(best: BestPairs, num_images: int) -> None:
    """Merge the pairs and limits of all processes, so that all buffers become equal.

    Every process must call this. Keys are sent as two int32 and hashes as two uint32, because
    JAX has no 64-bit integers here.

    Args:
      best: this process's pairs.
      num_images: N.
    """
    if jax.process_count() == 1:
        return
    mine = best.ranked()
    limit = best.bound, np.array([best.last_hash]).view(np.uint32)
    gathered_limits = multihost_utils.process_allgather((np.int32(len(mine.keys)), *limit))
    lengths, bounds, last_hashes = map(np.asarray, gathered_limits)
    for bound, last_hash in zip(bounds, np.ascontiguousarray(last_hashes).view(np.uint64), strict=True):
        best.tighten(bound, last_hash[0])
    distances = np.zeros(lengths.max(), np.float32)
    pairs = np.zeros((lengths.max(), 2), np.int32)
    distances[: len(mine.keys)] = mine.distances
    pairs[: len(mine.keys)] = pairs_of_keys(mine.keys, num_images)
    gathered = multihost_utils.process_allgather((distances, pairs))
    for process, (theirs, their_pairs) in enumerate(zip(*gathered, strict=True)):
        if process != jax.process_index():
            length = lengths[process]
            keys = pair_keys(their_pairs[:length], num_images)
            best.offer(ScoredPairs(theirs[:length], keys))
