"""Which pairs share a batch: grouped, so that tiles repeat in it and each is encoded once.

Grouping only changes the order in which pairs come, never how often. An epoch is drawn as without grouping
(several epochs at once if there are few pairs), and its draws are distributed over batches until none is
left. So each pair comes exactly as often as in plain batches. But the pairs of one batch are more often
neighbours in the graph of answers, and so less independent than pairs drawn at random.
"""

from collections import deque
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_PAIRS_PER_SEED = 16
"""Pairs of a batch per drawn pair from which it grows, so that it covers several neighbourhoods."""

_MAX_PER_TILE = 8
"""Maximum number of pairs of each kind that join a batch because of one tile."""


def group_draws(
    pair_indices: npt.NDArray[np.int32],
    is_similar: npt.NDArray[np.bool_],
    *,
    num_tiles: int,
    num_pairs: int,
) -> Iterator[npt.NDArray[np.intp]]:
    """Distribute draws over batches of few tiles.

    A batch begins with a few draws in their order. Then draws join that have a tile of the batch. Their
    kind, similar or dissimilar, is the one that the batch lacks most compared with all draws.

    Args:
      pair_indices: int32[E, 2], the tiles of each draw, in random order; a pair may be drawn many times.
      is_similar: bool[E].
      num_tiles: maximum number of different tiles in a batch, at least 2.
      num_pairs: maximum number of draws in a batch, at least 1.

    Yields:
      int[<= num_pairs], draws of one batch; each draw is in one batch. If no tiles repeat, a batch has
      num_tiles // 2 draws.
    """
    draws = _Draws(pair_indices, is_similar)
    while any(draws.num_left):
        yield np.array(_take_batch(draws, num_tiles, num_pairs))


class _Draws:
    """Draws that no batch has taken yet.

    Attributes:
      ends: the two tiles of each draw.
      kind: 0 or 1 for each draw.
      is_taken: whether a batch has taken each draw.
      num_left: number of draws of each kind that are left.
      counts: number of draws of each kind at first.
      of_tile: for each kind, the draws of each tile, including those that are taken.
      in_order: for each kind, all draws in order; taken ones are removed later, when they come first.
    """

    def __init__(self, pair_indices: npt.NDArray[np.int32], is_similar: npt.NDArray[np.bool_]):
        self.ends: list[list[int]] = pair_indices.tolist()
        self.kind: list[int] = is_similar.astype(int).tolist()
        self.is_taken = bytearray(len(self.ends))
        self.counts = np.bincount(self.kind, minlength=2).tolist()
        self.num_left = list(self.counts)
        self.of_tile: tuple[dict[int, list[int]], ...] = ({}, {})
        self.in_order: tuple[deque[int], ...] = (deque(), deque())
        for draw, (ends, kind) in enumerate(zip(self.ends, self.kind, strict=True)):
            self.in_order[kind].append(draw)
            for tile in ends:
                self.of_tile[kind].setdefault(tile, []).append(draw)

    def next_in_order(self, kind: int) -> int:
        queue = self.in_order[kind]
        while self.is_taken[queue[0]]:
            queue.popleft()
        return queue[0]


class _Batch:
    """A batch that grows.

    Attributes:
      draws: draws of the batch so far.
      tiles: their tiles.
      num_taken: number of draws of each kind.
      open_tiles: for each kind, tiles whose draws may still join, with the number that have joined.
    """

    def __init__(self) -> None:
        self.draws: list[int] = []
        self.tiles: set[int] = set()
        self.num_taken = [0, 0]
        self.open_tiles: tuple[deque[list[int]], ...] = (deque(), deque())

    def num_new_tiles(self, ends: list[int]) -> int:
        return sum(tile not in self.tiles for tile in ends)


def _take_batch(draws: _Draws, num_tiles: int, num_pairs: int) -> list[int]:
    batch = _Batch()
    num_seeds = max(1, num_pairs // _PAIRS_PER_SEED)
    # Rounded up: both together may be one more than fits.
    quotas = [-(-num_pairs * count // len(draws.ends)) for count in draws.counts]
    while len(batch.draws) < num_pairs:
        open_kinds = [k for k in (0, 1) if draws.num_left[k] and batch.num_taken[k] < quotas[k]]
        if not open_kinds:
            break
        kind = min(open_kinds, key=lambda k: batch.num_taken[k] / quotas[k])
        room = num_tiles - len(batch.tiles)
        neighbour = None if len(batch.draws) < num_seeds else _next_neighbour(draws, batch, kind, room)
        draw = draws.next_in_order(kind) if neighbour is None else neighbour
        if batch.num_new_tiles(draws.ends[draw]) > room:
            quotas[kind] = 0  # no more of this kind fit
            continue
        _take(draws, batch, draw)
    return batch.draws


def _next_neighbour(draws: _Draws, batch: _Batch, kind: int, room: int) -> int | None:
    """Return a draw that has a tile of the batch and fits into it; None if there is none."""
    queue = batch.open_tiles[kind]
    while queue:
        tile, num_joined = queue[0]
        waiting = draws.of_tile[kind].get(tile, [])
        waiting[:] = [draw for draw in waiting if not draws.is_taken[draw]]
        if num_joined < _MAX_PER_TILE:
            for draw in waiting:
                if batch.num_new_tiles(draws.ends[draw]) <= room:
                    queue[0][1] += 1
                    return draw
        queue.popleft()
    return None


def _take(draws: _Draws, batch: _Batch, draw: int) -> None:
    draws.is_taken[draw] = True
    draws.num_left[draws.kind[draw]] -= 1
    batch.draws.append(draw)
    batch.num_taken[draws.kind[draw]] += 1
    for tile in draws.ends[draw]:
        if tile not in batch.tiles:
            batch.tiles.add(tile)
            for queue in batch.open_tiles:
                queue.append([tile, 0])
