"""The pass over the tiles with the fused kernel: the devices list pairs, the host takes them in."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from anneal_jax.acquisition.fused_distances import FoundPairs, FusedShape, find_pairs, split_operands
from anneal_jax.acquisition.grid import Tile, TileGrid
from anneal_jax.acquisition.pair_order import BestPairs, ScoredPairs
from anneal_jax.acquisition.scorers import PairScorer, Precision
from anneal_jax.acquisition.tile_scores import MESH_AXIS
from anneal_jax.pairs.canonical import PairKeys, contains

_TILES_AT_ONCE = 16  # of each device: a call then takes milliseconds, long beside its start
_FEWEST_LISTED = 1 << 16
_LISTED_PER_KEPT = 4
_BATCHES_IN_FLIGHT = 2
_LARGEST_INDEX = 2**31  # the kernel's addresses are int32

Collect = Callable[[Sequence[Tile]], None]


def is_fusible(scorer: PairScorer, precision: Precision, devices: Sequence[Any]) -> bool:
    """Tell whether the kernel can score these pairs on these devices."""
    if not scorer.is_dot_product or not precision.num_passes or any(d.platform != "gpu" for d in devices):
        return False
    is_nvidia = all("rocm" not in d.client.platform_version for d in devices)
    return is_nvidia and 1.01 * scorer.images.size < _LARGEST_INDEX


def collect_fused(
    best: BestPairs,
    scorer: PairScorer,
    grid: TileGrid,
    tiles: Sequence[Tile],
    *,
    known: PairKeys,
    num_passes: int,
    devices: Sequence[Any],
    progress: Callable[[int], object] | None,
    collect_stored: Collect,
    shape: FusedShape = FusedShape(),
    interpret: bool = False,
) -> None:
    """Offer to `best` every pair of the tiles that may be among the best and is not known.

    The first tiles have no bound yet; they and any whose pairs within the bound are too many to list go
    the other way.

    Args:
      best: takes the pairs in.
      scorer: of dot products.
      grid: the grid that the tiles belong to.
      tiles: each at most once.
      known: int64[M], sorted keys of pairs to leave out.
      num_passes: 3, or 1 for the approximate product.
      devices: `jax.Device`s of this process.
      progress: called with the number of pairs of each tile as it is done.
      collect_stored: does the same for the tiles that it is given, and reports their progress itself.
      shape: of the kernel.
      interpret: whether to run the kernel step by step, as on a CPU.
    """
    num_first = min(len(tiles), len(devices))
    collect_stored(tiles[:num_first])
    if num_first == len(tiles):
        return
    capacity = max(_FEWEST_LISTED, _LISTED_PER_KEPT * best.capacity)
    find = _make_finder(scorer, grid, num_passes, devices, capacity, shape, interpret)
    for batch, found in _found_ahead(find, best, tiles, num_first, len(devices)):
        for part, listed in zip(_split(batch, len(devices)), found, strict=True):
            count = int(listed.count[0])
            if count > capacity:
                collect_stored(part)
                continue
            first, second = (np.asarray(images)[:count].astype(np.int64) for images in listed[2:])
            pairs = ScoredPairs(np.asarray(listed.distances)[:count], first * grid.num_images + second)
            best.offer(pairs.where(~contains(known, pairs.keys)))
            if progress is not None:
                for tile in part:
                    progress(grid.count(tile))


Find = Callable[[Sequence[Tile], np.float32], list[FoundPairs]]


def _make_finder(
    scorer: PairScorer,
    grid: TileGrid,
    num_passes: int,
    devices: Sequence[Any],
    capacity: int,
    shape: FusedShape,
    interpret: bool,
) -> Find:
    mesh = Mesh(np.array(devices), (MESH_AXIS,))
    everywhere, split = PartitionSpec(), PartitionSpec(MESH_AXIS)
    images = jax.device_put(scorer.images, NamedSharding(mesh, everywhere))
    operands = _split_once(images, num_passes=num_passes, shape=shape)
    boundary = jax.device_put(np.float32(scorer.boundary), NamedSharding(mesh, everywhere))
    settings = (grid.tile_size, capacity, shape, interpret, mesh)

    def find(batch: Sequence[Tile], bound: np.float32) -> list[FoundPairs]:
        cells = np.full((len(devices), _TILES_AT_ONCE, 4), -1, np.int32)
        for place, part in enumerate(_split(batch, len(devices))):
            for slot, (row, column) in enumerate(part):
                own = row * grid.tile_size, column * grid.tile_size
                cells[place, slot] = grid.start(row), grid.start(column), *own
        placed = jax.device_put(cells.reshape(-1, 4), NamedSharding(mesh, split))
        found = _find_everywhere(operands, placed, boundary, bound, settings=settings)
        for array in found:
            array.copy_to_host_async()
        shards = zip(*(array.addressable_shards for array in found), strict=True)
        return [FoundPairs(*(shard.data for shard in parts)) for parts in shards]

    return find


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
    # The kernel says nothing of how its results vary over the mesh, so nothing can be checked.
    mapped = jax.shard_map(one_device, mesh=mesh, in_specs=specs, out_specs=split, check_vma=False)
    return mapped(operands, cells, boundary, jnp.asarray(bound))


def _found_ahead(
    find: Find, best: BestPairs, tiles: Sequence[Tile], done: int, num_devices: int
) -> Iterator[tuple[Sequence[Tile], list[FoundPairs]]]:
    """Yield batches, growing with what the bound is known from, so that few pairs are within it."""
    in_flight: deque[tuple[Sequence[Tile], list[FoundPairs]]] = deque()
    largest = _TILES_AT_ONCE * num_devices
    start = done
    while start < len(tiles):
        batch = tiles[start : start + min(largest, 2 * start)]
        in_flight.append((batch, find(batch, best.bound)))
        start += len(batch)
        # At first each batch waits for the one before, whose bound is far tighter than its own.
        while len(in_flight) > (_BATCHES_IN_FLIGHT if start > 4 * largest else 0):
            yield in_flight.popleft()
    yield from in_flight


def _split(batch: Sequence[Tile], num_parts: int) -> list[Sequence[Tile]]:
    length = -(-len(batch) // num_parts)
    return [batch[part * length : (part + 1) * length] for part in range(num_parts)]
