"""The pass over the tiles with the fused kernel: the devices list pairs, the host collects them."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from anneal_jax.acquisition.scan.best_pairs import BestPairs, ScoredPairs
from anneal_jax.acquisition.scan.fused_distances import (
    SHAPES,
    FoundPairs,
    FusedShape,
    find_pairs,
    has_room,
    split_operands,
)
from anneal_jax.acquisition.scan.grid import Tile, TileGrid, make_grid
from anneal_jax.acquisition.scan.scorers import PairScorer, Precision
from anneal_jax.acquisition.scan.tile_scores import MESH_AXIS
from anneal_jax.pairs.canonical import PairKeys, contains

_TILES_AT_ONCE = 16  # per device: a call then takes milliseconds, much longer than its start
_MIN_LISTED = 1 << 16
_LISTED_PER_KEPT = 4
_MAX_LISTED = 1 << 26  # 12 bytes each on every device
_BATCHES_IN_FLIGHT = 2
_LARGEST_COUNT = 2**31 - 1  # pairs of one call, all of which might have to be counted in int32
_LARGEST_INDEX = 2**31  # the kernel counts an operand's numbers in int32: 8 million images of 256

Cells = npt.NDArray[np.int32]
"""int32[tiles, 4], as `find_pairs` takes them."""

_Batch = TypeVar("_Batch", Sequence[Tile], Cells)


def is_fusible(
    scorer: PairScorer, grid: TileGrid, num_kept: int, precision: Precision, devices: Sequence[Any]
) -> bool:
    """Return whether the kernel can score these pairs on these devices."""
    if grid.tile_size**2 > _LARGEST_COUNT or _LISTED_PER_KEPT * num_kept > _MAX_LISTED:
        return False
    if not scorer.is_dot_product or not precision.num_passes or not all(map(has_room, devices)):
        return False
    (num_images, dim), shape = scorer.images.shape, SHAPES[precision.num_passes]
    padded = (num_images + max(shape.rows, shape.columns)) * (dim + -dim % shape.depth)
    return padded < _LARGEST_INDEX


class Finder(NamedTuple):
    """The kernel, prepared for the tiles of one grid.

    Attributes:
      find: maps cells (at most `tiles_at_once`), a bound and the side of the cells to the pairs that each
        device found in its part.
      tiles_at_once: maximum number of tiles per call, a multiple of the number of devices.
      num_devices: D.
      capacity: maximum number of pairs that each device lists in one call.
    """

    find: Callable[[Cells, np.float32, int], list[FoundPairs]]
    tiles_at_once: int
    num_devices: int
    capacity: int


def make_finder(
    grid: TileGrid,
    mesh: Mesh,
    images: jax.Array,
    boundary: jax.Array,
    num_passes: int,
    num_kept: int,
    *,
    shape: FusedShape | None = None,
    interpret: bool = False,
) -> Finder:
    """Prepare the kernel.

    Args:
      grid: grid of the tiles.
      mesh: the devices, along one axis.
      images: float32[N, D], a copy on every device.
      boundary: float32[], likewise.
      num_passes: 3, or 1 for the approximate product.
      num_kept: number of candidates that the pass keeps; a call lists a few times as many.
      shape: block sizes of the kernel; by default the fastest known.
      interpret: whether to run the kernel step by step, as on a CPU.
    """
    shape = shape or SHAPES[num_passes]
    operands = _split_once(images, num_passes=num_passes, shape=shape)
    capacity = max(_MIN_LISTED, _LISTED_PER_KEPT * num_kept)
    tiles_each = min(_TILES_AT_ONCE, _LARGEST_COUNT // grid.tile_size**2)

    def find(cells: Cells, bound: np.float32, side: int) -> list[FoundPairs]:
        split = np.full((mesh.size, tiles_each, 4), -1, np.int32)
        for place, part in enumerate(_split(cells, mesh.size)):
            split[place, : len(part)] = part
        placed = jax.device_put(split.reshape(-1, 4), NamedSharding(mesh, PartitionSpec(MESH_AXIS)))
        settings = (side, capacity, shape, interpret, mesh)
        found = _find_everywhere(operands, placed, boundary, bound, settings=settings)
        for array in found:
            array.copy_to_host_async()
        shards = zip(*(array.addressable_shards for array in found), strict=True)
        return [FoundPairs(*(shard.data for shard in parts)) for parts in shards]

    return Finder(find, tiles_each * mesh.size, mesh.size, capacity)


def collect_fused(
    best: BestPairs,
    grid: TileGrid,
    tiles: Sequence[Tile],
    finder: Finder,
    *,
    known: PairKeys,
    progress: Callable[[int], object] | None,
) -> None:
    """Offer to `best` every pair of the tiles that may be among the best and is not known.

    At first there is no bound, so far more pairs are found than can be listed. The listed ones give a
    bound, with which the tile is searched again.

    Args:
      best: collects the pairs.
      grid: the grid of the tiles.
      tiles: each at most once.
      finder: from `make_finder`.
      known: int64[M], sorted keys of pairs to leave out.
      progress: called with the number of pairs of each tile as it is done.
    """
    for batch, found in _found_ahead(finder, best, grid, tiles):
        for part, listed in zip(_split(batch, finder.num_devices), found, strict=True):
            if not _take_in(best, listed, grid.num_images, known):
                for cell in grid.cells(part):
                    _look_through(best, finder, cell, grid, known)
            if progress is not None:
                for tile in part:
                    progress(grid.count(tile))


def _take_in(best: BestPairs, listed: FoundPairs, num_images: int, known: PairKeys) -> bool:
    """Offer the pairs that were found if all are listed; otherwise derive a bound from the listed ones."""
    num_found = int(listed.num_found[0])
    first, second = (np.asarray(images)[:num_found].astype(np.int64) for images in listed[2:])
    pairs = ScoredPairs(np.asarray(listed.distances)[:num_found], first * num_images + second)
    pairs = pairs.where(~contains(known, pairs.keys))
    if num_found > len(listed.distances):
        best.tighten_from_sample(pairs)
        return False
    best.offer(pairs)
    return True


def _look_through(best: BestPairs, finder: Finder, cell: Cells, grid: TileGrid, known: PairKeys) -> None:
    """Offer the pairs of one tile: repeat while the bound tightens, and in the end use small parts."""
    bound = np.float32(np.nan)
    while bound != best.bound:
        bound = best.bound
        [listed, *_] = finder.find(cell[None], bound, grid.tile_size)
        if _take_in(best, listed, grid.num_images, known):
            return
    # Too many pairs have the distance of the last one that is kept: probably equal images.
    side = 1 << (math.isqrt(finder.capacity).bit_length() - 1)  # all pairs of such a part fit
    parts = make_grid(grid.tile_size, side, side)
    for part in _cut(cell, parts):
        [listed, *_] = finder.find(part[None], best.bound, parts.tile_size)
        _take_in(best, listed, grid.num_images, known)


def _cut(cell: Cells, parts: TileGrid) -> Cells:
    """Split a tile into parts that are together responsible for the same pairs."""
    blocks = range(parts.num_blocks)
    cells = parts.cells(itertools.product(blocks, blocks)) + cell[[0, 1, 0, 1]]
    cells[:, 2:] = np.maximum(cells[:, 2:], cell[2:])
    return cells


_split_once = jax.jit(split_operands, static_argnames=("num_passes", "shape"))


@jax.jit(static_argnames="settings")
def _find_everywhere(operands: Any, cells: Any, boundary: Any, bound: Any, *, settings: Any) -> FoundPairs:
    tile_size, capacity, shape, interpret, mesh = settings

    def one_device(operands: Any, cells: Any, boundary: Any, bound: Any) -> FoundPairs:
        return find_pairs(
            operands,
            cells,
            boundary,
            bound,
            tile_size=tile_size,
            capacity=capacity,
            shape=shape,
            interpret=interpret,
        )

    everywhere, split = PartitionSpec(), PartitionSpec(MESH_AXIS)
    specs = (everywhere, split, everywhere, everywhere)
    # The kernel does not declare how its results vary over the mesh, so JAX cannot check it.
    mapped = jax.shard_map(one_device, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)
    return mapped(operands, cells, boundary, jnp.asarray(bound))


def _found_ahead(
    finder: Finder, best: BestPairs, grid: TileGrid, tiles: Sequence[Tile]
) -> Iterator[tuple[Sequence[Tile], list[FoundPairs]]]:
    """Yield batches that grow as the bound rests on more pairs, so that few pairs are within it."""
    in_flight: deque[tuple[Sequence[Tile], list[FoundPairs]]] = deque()
    start = 0
    while start < len(tiles):
        batch = tiles[start : start + min(finder.tiles_at_once, max(1, 2 * start))]
        in_flight.append((batch, finder.find(grid.cells(batch), best.bound, grid.tile_size)))
        start += len(batch)
        # At first each batch waits for the one before, whose bound is much tighter.
        while len(in_flight) > (_BATCHES_IN_FLIGHT if start > 4 * finder.tiles_at_once else 0):
            yield in_flight.popleft()
    yield from in_flight


def _split(batch: _Batch, num_parts: int) -> list[_Batch]:
    length = -(-len(batch) // num_parts)
    return [batch[part * length : (part + 1) * length] for part in range(num_parts)]
