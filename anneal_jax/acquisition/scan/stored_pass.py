"""The pass over the tiles: the devices score ahead, the host collects the pairs within the bound."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from anneal_jax.acquisition.scan.best_pairs import BestPairs, ScoredPairs
from anneal_jax.acquisition.scan.fused_pass import collect_fused, is_fusible, make_finder
from anneal_jax.acquisition.scan.grid import Tile, TileGrid
from anneal_jax.acquisition.scan.scorers import PairScorer, Precision
from anneal_jax.acquisition.scan.tile_scores import (
    MESH_AXIS,
    TileLayout,
    TileScores,
    fetch_strips,
    score_tiles,
)
from anneal_jax.errors import ConfigError
from anneal_jax.pairs.canonical import PairKeys, contains
from anneal_jax.types import FloatArray

_BATCHES_IN_FLIGHT = 2  # enough that a device never waits for the host
_VALUES_AT_ONCE = 1 << 18  # of a tile, on the host: 1 MiB, which fits a core's cache
_STRIP_ACCELERATOR = 256

BatchScorer = Callable[[Sequence[Tile]], list[TileScores]]


def collect_best(
    best: BestPairs,
    scorer: PairScorer,
    grid: TileGrid,
    tiles: Sequence[Tile],
    *,
    known: PairKeys,
    precision: Precision,
    devices: Sequence[Any],
    progress: Callable[[int], object] | None,
) -> None:
    """Offer to `best` every pair of the tiles that may be among the best and is not known.

    Args:
      best: collects the pairs.
      scorer: scores them.
      grid: the grid of the tiles.
      tiles: each at most once.
      known: int64[M], sorted keys of pairs to leave out.
      precision: precision of matrix products.
      devices: `jax.Device`s of this process; each scores one tile at a time.
      progress: called with the number of pairs of each tile as it is done.

    Raises:
      ConfigError: scores are NaN or infinite; the message has the images.
    """
    devices = devices[: max(1, len(tiles))]
    mesh = Mesh(np.array(devices), (MESH_AXIS,))
    shared = (scorer.images, scorer.params, np.float32(scorer.boundary))
    placed = jax.device_put(shared, NamedSharding(mesh, PartitionSpec()))
    if is_fusible(scorer, grid, best.capacity, precision, devices):
        finder = make_finder(grid, mesh, placed[0], placed[2], precision.num_passes, best.capacity)
        collect_fused(best, grid, tiles, finder, known=known, progress=progress)
    else:
        _collect_stored(
            best,
            scorer,
            grid,
            tiles,
            known=known,
            progress=progress,
            precision=precision,
            placed=placed,
        )


def _collect_stored(
    best: BestPairs,
    scorer: PairScorer,
    grid: TileGrid,
    tiles: Sequence[Tile],
    *,
    known: PairKeys,
    progress: Callable[[int], object] | None,
    precision: Precision,
    placed: Any,
) -> None:
    """Keep a tile's scores on its device, and fetch from them the strips that beat the bound.

    `placed` holds the scorer's images, params and boundary, a copy on every device of a mesh.
    """
    mesh = placed[2].sharding.mesh
    # Whole rows on a CPU: to reduce shorter strips costs more time than they save in copying.
    strip = grid.tile_size
    on_cpu = mesh.devices.flat[0].platform == "cpu"
    if not on_cpu and grid.tile_size % _STRIP_ACCELERATOR == 0:
        strip = _STRIP_ACCELERATOR
    layout = TileLayout(scorer.score_tile, precision.algorithm, grid.tile_size, strip, mesh)
    score_batch = _make_batch_scorer(placed, grid, layout)
    for tile, scores in _scored_ahead(score_batch, tiles, mesh.size):
        nearest = np.ravel(scores.nearest)
        _require_finite(nearest, grid, tile)
        for pairs in _promising(best, grid, tile, scores.scores, nearest, np.float32(scorer.boundary)):
            best.offer(pairs.where(~contains(known, pairs.keys)))
        if progress is not None:
            progress(grid.count(tile))


def _make_batch_scorer(placed: Any, grid: TileGrid, layout: TileLayout) -> BatchScorer:
    mesh = layout.mesh
    split = NamedSharding(mesh, PartitionSpec(MESH_AXIS))
    images, params, boundary = placed

    def score_batch(batch: Sequence[Tile]) -> list[TileScores]:
        starts = [(grid.start(row), grid.start(column)) for row, column in batch]
        # The last batch may be short: idle devices repeat its last tile, and the result is not read.
        starts += starts[-1:] * (mesh.size - len(batch))
        placed = jax.device_put(np.array(starts, np.int32), split)
        scored = score_tiles(images, params, boundary, placed, layout=layout)
        scored.nearest.copy_to_host_async()
        shards = zip(*(array.addressable_shards for array in scored), strict=True)
        return [TileScores(scores.data, nearest.data) for scores, nearest in shards]

    return score_batch


def _scored_ahead(
    score_batch: BatchScorer, tiles: Sequence[Tile], batch_size: int
) -> Iterator[tuple[Tile, TileScores]]:
    in_flight: deque[Iterator[tuple[Tile, TileScores]]] = deque()
    for start in range(0, len(tiles), batch_size):
        batch = tiles[start : start + batch_size]
        in_flight.append(zip(batch, score_batch(batch), strict=False))
        if len(in_flight) > _BATCHES_IN_FLIGHT:
            yield from in_flight.popleft()
    for scored in in_flight:
        yield from scored


def _require_finite(nearest: FloatArray, grid: TileGrid, tile: Tile) -> None:
    """Refuse a tile with NaN or a strip of infinities: their pairs would be missing from the pool."""
    if not math.isfinite(nearest.max()):  # NaN if any value is
        rows, columns = ((grid.start(block), grid.start(block) + grid.tile_size - 1) for block in tile)
        raise ConfigError(
            f"pairs of images {rows[0]} to {rows[1]} with images {columns[0]} to {columns[1]} have scores "
            "that are NaN or infinite: the model that scores them has diverged, or its values are too "
            "large for float32; train it with a smaller learning_rate, or rescale the vectors given."
        )


def _promising(
    best: BestPairs,
    grid: TileGrid,
    tile: Tile,
    scores: jax.Array,
    nearest: FloatArray,
    boundary: np.float32,
) -> Iterator[ScoredPairs]:
    """Yield the tile's own pairs within the bound, which may tighten between two parts."""
    strips = np.flatnonzero(nearest <= best.bound)
    strips = strips[np.argsort(nearest[strips])]  # the best first: they tighten the bound for the rest
    length = grid.tile_size**2 // nearest.size
    num_at_once = max(1, _VALUES_AT_ONCE // length)
    for start in range(0, len(strips), num_at_once):
        chosen = strips[start : start + num_at_once]
        chosen = chosen[nearest[chosen] <= best.bound]
        if not chosen.size:
            return
        distances = np.abs(fetch_strips(scores, chosen, length) - boundary).ravel()
        found = np.flatnonzero(distances <= best.bound)
        strip, offset = np.divmod(found, length)
        keys, is_own = grid.keys(tile, chosen[strip] * length + offset)
        yield ScoredPairs(distances[found], keys).where(is_own)
