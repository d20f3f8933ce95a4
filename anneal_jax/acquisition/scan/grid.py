"""The upper triangle of all pairs as a grid of equal tiles, and the tiles that a pass takes.

Every tile has the same shape, so there is one compilation. If N is not a multiple of the tile, the
last block of images starts early and overlaps the one before. A tile is only responsible for its own cell
of the grid, so each pair belongs to exactly one tile, and nothing is padded or masked on the device.
"""

import bisect
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, overload

import numpy as np
import numpy.typing as npt

from anneal_jax.pairs.canonical import PairKeys, count_pairs

Tile = tuple[int, int]
"""(block of rows, block of columns) of the grid."""

SIDE_MULTIPLE = 16
"""Of a tile's side on CPU: keeps its rows aligned for vector instructions."""

SIDE_MULTIPLE_ACCELERATOR = 256
"""The same on GPU and TPU: a tile is then made of whole strips and whole blocks of a kernel."""


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
        """Return the number of images that a block is responsible for."""
        return min(self.tile_size, self.num_images - block * self.tile_size)

    def cells(self, tiles: Iterable[Tile]) -> npt.NDArray[np.int32]:
        """Return for each tile the first row and column that it reads, and those of its own cell.

        Returns:
          int32[tiles, 4].
        """
        side = self.tile_size
        cells = [(self.start(row), self.start(column), row * side, column * side) for row, column in tiles]
        return np.array(cells, np.int32).reshape(-1, 4)

    def count(self, tile: Tile) -> int:
        """Return the number of pairs i < j that a tile is responsible for."""
        row, column = tile
        if row == column:
            return count_pairs(self.block_length(row))
        return self.block_length(row) * self.block_length(column)

    def keys(self, tile: Tile, places: npt.NDArray[np.integer]) -> tuple[PairKeys, npt.NDArray[np.bool_]]:
        """Return the pairs at some places of a tile.

        Args:
          tile: a tile of the grid.
          places: int[P] in [0, tile_size^2), row by row.

        Returns:
          int64[P], the keys, and bool[P], which pairs are canonical and in the tile's own cell.
        """
        row_block, column_block = tile
        rows, columns = np.divmod(places, self.tile_size)
        first = rows + self.start(row_block)
        second = columns + self.start(column_block)
        is_own = (first >= row_block * self.tile_size) & (second >= column_block * self.tile_size)
        return first * self.num_images + second, is_own & (first < second)


def make_grid(num_images: int, largest_tile: int, multiple: int = SIDE_MULTIPLE) -> TileGrid:
    """Lay out the fewest tiles of at most `largest_tile` images a side, as equal as can be.

    A tile's side is a multiple of `multiple`, unless one of the other two is smaller.

    >>> make_grid(1680, 64)
    TileGrid(num_images=1680, tile_size=64, num_blocks=27)
    """
    num_blocks = math.ceil(num_images / largest_tile)
    even = math.ceil(math.ceil(num_images / num_blocks) / multiple) * multiple
    tile_size = min(even, largest_tile, num_images)
    return TileGrid(num_images, tile_size, math.ceil(num_images / tile_size))


class LazyTiles(Sequence[Tile]):
    """A sequence of tiles that computes each when it is needed; a slice is such a sequence too.

    A million images scored 64 a side make 122 million tiles: gigabytes as a list.

    Args:
      tile_at: returns the tile at a place.
      places: places of the tiles, in order.

    >>> list(LazyTiles(lambda place: (0, place), range(5))[1::2])
    [(0, 1), (0, 3)]
    """

    def __init__(self, tile_at: Callable[[int], Tile], places: range):
        self._tile_at, self._places = tile_at, places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Tile: ...
    @overload
    def __getitem__(self, index: slice) -> "LazyTiles": ...
    def __getitem__(self, index: int | slice) -> "Tile | LazyTiles":
        if isinstance(index, slice):
            return LazyTiles(self._tile_at, self._places[index])
        return self._tile_at(self._places[index])


class ChosenTiles(NamedTuple):
    """The tiles that a pass scores.

    Attributes:
      tiles: (block of rows, block of columns) each, the first not larger than the second.
      num_pairs: number of pairs that they are responsible for.
    """

    tiles: Sequence[Tile]
    num_pairs: int


def choose_tiles(grid: TileGrid, share: float, seed: int) -> ChosenTiles:
    """Choose tiles of the upper triangle: all, or a random part in which all images occur equally often.

    Whole diagonals of the grid, wrapped around, are drawn without replacement until the share is
    reached: block b meets block b + k (mod number of blocks) for every b and each drawn k.

    Args:
      grid: the grid.
      share: share of all pairs to reach, in (0, 1].
      seed: seed of the draw.
    """
    num_blocks = grid.num_blocks
    if share == 1.0:
        tile_at = functools.partial(_tile_of_triangle, num_blocks)
        places = range(count_pairs(num_blocks + 1))  # the diagonal's own tiles included
        return ChosenTiles(LazyTiles(tile_at, places), count_pairs(grid.num_images))
    shifts, num_pairs = [], 0
    for shift in np.random.default_rng(seed).permutation(num_blocks // 2 + 1).tolist():
        shifts.append(shift)
        num_pairs += _count_in_diagonal(grid, shift)
        if num_pairs >= share * count_pairs(grid.num_images):
            break
    ends = list(itertools.accumulate(_diagonal_length(num_blocks, shift) for shift in shifts))
    tile_at = functools.partial(_tile_of_diagonals, num_blocks, shifts, ends)
    return ChosenTiles(LazyTiles(tile_at, range(ends[-1])), num_pairs)


def _tile_of_triangle(num_blocks: int, place: int) -> Tile:
    """Return a tile of the row-by-row list of the triangle."""
    # From the end the rows grow by one, so the row is a triangular root.
    remaining = count_pairs(num_blocks + 1) - 1 - place
    row = (math.isqrt(8 * remaining + 1) - 1) // 2
    return num_blocks - 1 - row, num_blocks - 1 - (remaining - row * (row + 1) // 2)


def _tile_of_diagonals(num_blocks: int, shifts: list[int], ends: list[int], place: int) -> Tile:
    """Return a tile of a list of wrapped diagonals; `ends` are where each ends in the list."""
    which = bisect.bisect_right(ends, place)
    shift = shifts[which]
    place -= ends[which - 1] if which else 0
    if 2 * shift == num_blocks:
        return place, place + shift
    if place >= 2 * shift:
        return place - shift, place
    # Each of the first `shift` blocks meets one after it, and one that wraps around to it.
    row, is_wrapped = divmod(place, 2)
    return row, row + (num_blocks - shift if is_wrapped else shift)


def _diagonal_length(num_blocks: int, shift: int) -> int:
    return shift if 2 * shift == num_blocks else num_blocks


def _count_in_diagonal(grid: TileGrid, shift: int) -> int:
    """Return the number of pairs of a wrapped diagonal; only the last block may be short."""
    num_tiles = _diagonal_length(grid.num_blocks, shift)
    size, last = grid.tile_size, grid.block_length(grid.num_blocks - 1)
    if shift == 0:
        return (num_tiles - 1) * count_pairs(size) + count_pairs(last)
    num_short = 1 if 2 * shift == grid.num_blocks else 2
    return (num_tiles - num_short) * size * size + num_short * size * last
