"""The upper triangle of all pairs as a grid of equal tiles, and the compiled scoring of one.

Every tile has the same shape, so there is one compilation. Where N is no multiple of the tile, the
last block of images starts early and overlaps the one before; a tile answers only for its own cell of
the grid, so each pair belongs to exactly one tile, and nothing is padded or masked on the device.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.sharding import Mesh, PartitionSpec

from anneal_jax.pairs.canonical import count_pairs
from anneal_jax.types import FloatArray

MESH_AXIS = "tiles"

Tile = tuple[int, int]
"""(block of rows, block of columns) of the grid."""

_SIDE_MULTIPLE = 16  # keeps the rows of a tile aligned for vector instructions


class TileGrid(NamedTuple):
    """A square grid over the pairs of N images.

    Attributes:
      num_images: N.
      tile_size: images along a tile's side.
      num_blocks: tiles along the grid's side.
    """

    num_images: int
    tile_size: int
    num_blocks: int

    def start(self, block: int) -> int:
        """Return the first image that a block reads; the last block may overlap the one before."""
        return min(block * self.tile_size, self.num_images - self.tile_size)

    def block_length(self, block: int) -> int:
        """Return how many images a block answers for."""
        return min(self.tile_size, self.num_images - block * self.tile_size)

    def count(self, tile: Tile) -> int:
        """Return how many pairs i < j a tile answers for."""
        row, column = tile
        if row == column:
            return count_pairs(self.block_length(row))
        return self.block_length(row) * self.block_length(column)


def make_grid(num_images: int, largest_tile: int) -> TileGrid:
    """Lay out the fewest tiles of at most `largest_tile` images a side, as equal as can be.

    >>> make_grid(1680, 64)
    TileGrid(num_images=1680, tile_size=64, num_blocks=27)
    """
    num_blocks = math.ceil(num_images / largest_tile)
    even = math.ceil(math.ceil(num_images / num_blocks) / _SIDE_MULTIPLE) * _SIDE_MULTIPLE
    tile_size = min(even, largest_tile, num_images)
    return TileGrid(num_images, tile_size, math.ceil(num_images / tile_size))


def choose_tiles(grid: TileGrid, share: float, seed: int) -> list[Tile]:
    """Choose tiles of the upper triangle, all of them or a random part that meets all images alike.

    Whole diagonals of the grid, wrapped around, are drawn without replacement until the share is
    reached: block b meets block b + k (mod number of blocks) for every b and each drawn k.

    Args:
      grid: the grid.
      share: part of all pairs to reach, in (0, 1].
      seed: of the draw.

    Returns:
      Tiles with the block of rows no larger than the block of columns.
    """
    num_blocks = grid.num_blocks
    if share == 1.0:
        return [(i, j) for i in range(num_blocks) for j in range(i, num_blocks)]
    tiles: list[Tile] = []
    missing = share * count_pairs(grid.num_images)
    for shift in np.random.default_rng(seed).permutation(num_blocks // 2 + 1).tolist():
        met = ((block, (block + shift) % num_blocks) for block in range(num_blocks))
        diagonal = sorted({(min(pair), max(pair)) for pair in met})
        tiles += diagonal
        missing -= sum(map(grid.count, diagonal))
        if missing <= 0:
            break
    return tiles


class TileScores(NamedTuple):
    """Scores of one tile, still on their device.

    Attributes:
      scores: float32[1, T, T].
      nearest: float32[1, T T / strip], the smallest distance to the boundary in each strip, that is, in
        each run of `strip` neighbours within a row.
    """

    scores: jax.Array
    nearest: jax.Array


class TileLayout(NamedTuple):
    """What a compiled tile is specific to, besides the shapes of its arrays.

    Attributes:
      score_tile: as in `PairScorer`.
      algorithm: of matrix products, as `jax.lax.dot_general` takes it.
      tile_size: T.
      strip: length of a strip; divides T.
      mesh: one axis of devices, one tile each.
    """

    score_tile: Callable[..., jax.Array]
    algorithm: Any
    tile_size: int
    strip: int
    mesh: Mesh


@functools.partial(jax.jit, static_argnames="layout")
def score_tiles(
    images: Any, params: Any, boundary: jax.Array, starts: jax.Array, *, layout: TileLayout
) -> TileScores:
    """Score one tile on each device.

    Args:
      images: pytree of float32[N, ...], a copy on every device.
      params: pytree of arrays that all tiles share, likewise.
      boundary: float32[], score from which distances are measured, likewise.
      starts: int32[devices, 2], first row and first column of each tile.
      layout: of the tiles.

    Returns:
      Scores and nearest distances, one tile on each device.
    """

    def one_tile(images: Any, params: Any, boundary: jax.Array, starts: jax.Array) -> TileScores:
        def block(start: jax.Array) -> Any:
            return jax.tree.map(
                lambda array: jax.lax.dynamic_slice_in_dim(array, start, layout.tile_size), images
            )

        rows, columns = block(starts[0, 0]), block(starts[0, 1])
        scores = layout.score_tile(rows, columns, params, layout.algorithm)
        strips = jnp.abs(scores - boundary).reshape(1, -1, layout.strip)
        return TileScores(scores[None], jnp.min(strips, axis=2))

    everywhere, split = PartitionSpec(), PartitionSpec(MESH_AXIS)
    specs = (everywhere, everywhere, everywhere, split)
    return jax.shard_map(one_tile, mesh=layout.mesh, in_specs=specs, out_specs=split)(
        images, params, boundary, starts
    )


@functools.partial(jax.jit, static_argnames="length")
def _take_strips(scores: jax.Array, strips: jax.Array, *, length: int) -> jax.Array:
    return jnp.take(scores.reshape(-1, length), strips, axis=0)


def fetch_strips(scores: jax.Array, strips: npt.NDArray[np.integer], length: int) -> FloatArray:
    """Bring some strips of a tile to the host; on CPU straight out of the tile's memory.

    Args:
      scores: float32[1, T, T] on one device.
      strips: int[S], at least one, numbered row by row.
      length: of a strip.

    Returns:
      float32[S, length].
    """
    if next(iter(scores.devices())).platform == "cpu":
        return np.asarray(scores).reshape(-1, length)[strips]
    return take_strips(scores, strips, length)


def take_strips(scores: jax.Array, strips: npt.NDArray[np.integer], length: int) -> FloatArray:
    """Pick strips on the device and copy only those: `fetch_strips` where memory is not shared."""
    # Powers of two: a dozen compilations at most, not one per number of strips.
    padded = np.zeros(1 << (len(strips) - 1).bit_length(), np.int32)
    padded[: len(strips)] = strips
    return np.asarray(_take_strips(scores, padded, length=length))[: len(strips)]
