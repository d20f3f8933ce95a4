"""Finds exact and near copies among the tiles of an archive, before any question is asked."""

import tempfile
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.scan.all_pairs import scan_pairs
from anneal_jax.acquisition.scan.progress import scan_progress
from anneal_jax.acquisition.scan.scorers import threshold_scorer
from anneal_jax.data.splits import duplicate_groups
from anneal_jax.errors import ConfigError, reason_of
from anneal_jax.files import atomic
from anneal_jax.files.progress import progress_bar
from anneal_jax.pairs.canonical import count_pairs
from anneal_jax.training.features import decoded_ahead
from anneal_jax.types import Archive, FloatArray, IntArray, PairIndices

MAX_DIFFERENCE = {"image": 4.0, "vector": 1e-3}
"""Default maximum difference of near copies, by `Archive.kind`."""

MAX_PAIRS = 100_000
"""Maximum number of near copies listed."""

_SIDE_PX = 32  # of the small pictures to compare
_COARSE_PX = 8  # of the pictures to find candidates
_TILES_AT_ONCE = 256
_PAIRS_AT_ONCE = 4_096
_HALF_WHITE = 127.5
_ROUNDING = 1e-6  # of a cosine in float32


class Duplicates(NamedTuple):
    """Copies among the tiles of an archive.

    Attributes:
      identical: int32[M, 2], the first tile with some bytes, and a later copy.
      near: int32[P, 2], pairs of tiles that differ slightly, nearest first. Only the first of identical
        tiles is used.
      differences: float64[P], differences of `near`. For images: the root mean square, in levels of 255,
        over the values of both at 32 x 32 pixels. For vectors: 1 - cosine.
      is_cut: whether there are more such pairs.
    """

    identical: PairIndices
    near: PairIndices
    differences: npt.NDArray[np.float64]
    is_cut: bool


def find_duplicates(
    archive: Archive, *, max_difference: float | None = None, most_pairs: int = MAX_PAIRS
) -> Duplicates:
    """Compare all tiles of an archive with each other.

    Every pair with a difference within the limit is found, unless there are more than `most_pairs`:
    averaging over 4 x 4 pixels never increases a difference, and neither does the map onto the sphere on
    which the all-pairs scan searches for the nearest; the candidates are then measured. Memory holds 8 x 8
    pixels per tile; the 32 x 32 pixels are in a temporary file.

    Args:
      archive: N tiles or vectors.
      max_difference: limit, as in `Duplicates.differences`; by default 4 levels, or 0.001.
      most_pairs: maximum number of near copies returned.

    Raises:
      ConfigError: the limit is not above 0, or the disk for temporary files lacks room.
      ArchiveError: a tile cannot be read.
    """
    limit = MAX_DIFFERENCE[archive.kind] if max_difference is None else max_difference
    if not limit > 0.0:
        raise ConfigError(
            f"max_difference={limit} must be above 0; identical tiles are listed in any case."
        )
    identical, different = _identical(archive)
    if archive.kind == "vector":
        points = _on_sphere(archive.load(different, 0))
        pairs, is_cut = _nearest(points, limit, most_pairs)
        differences = 1.0 - np.einsum("pd,pd->p", *points[pairs.T].astype(np.float64))
    else:
        with _scratch_file() as file:
            pictures = _small_pictures(archive, different, file)
            angle = limit / _HALF_WHITE
            pairs, is_cut = _nearest(_lifted(pictures), angle**2 / 2, most_pairs)
            differences = _differences(pictures, pairs)
            del pictures  # unmaps the file
    is_near = differences <= limit
    pairs, differences = pairs[is_near], differences[is_near]
    order = np.lexsort((pairs[:, 1], pairs[:, 0], differences))
    return Duplicates(identical, different[pairs[order]].astype(np.int32), differences[order], is_cut)


def _identical(archive: Archive) -> tuple[PairIndices, IntArray]:
    """Return pairs (first of a group, copy), and the tiles that are not copies of an earlier one."""
    groups = duplicate_groups(archive.digests())
    _, first = np.unique(groups, return_index=True)
    copies = np.setdiff1d(np.arange(len(groups)), first)
    return np.stack([first[groups[copies]], copies], axis=1).astype(np.int32), first.astype(np.int32)


def _scratch_file() -> IO[bytes]:
    try:
        return tempfile.TemporaryFile()
    except OSError as error:
        raise ConfigError(
            f"small pictures of the tiles need a temporary file ({reason_of(error)}); set TMPDIR to a "
            "folder that can be written to."
        ) from error


def _small_pictures(archive: Archive, rows: IntArray, file: IO[bytes]) -> np.memmap:
    """Return uint8[M, 32, 32, S] of some tiles, mapped from a temporary file."""
    pictures = None
    with progress_bar(len(rows), "reading tiles", "tile") as progress:
        start = 0
        for tiles in decoded_ahead(archive, rows, _SIDE_PX, _TILES_AT_ONCE, "box"):
            if pictures is None:
                _reserve(file, len(rows) * tiles[0].nbytes)
                pictures = np.memmap(file, np.uint8, "w+", shape=(len(rows), *tiles.shape[1:]))
            pictures[start : start + len(tiles)] = tiles
            start += len(tiles)
            progress.update(len(tiles))
    assert pictures is not None  # an archive has a tile
    return pictures


def _reserve(file: IO[bytes], num_bytes: int) -> None:
    """Reserve room for all small pictures: writing to a map on a full disk would kill the process."""
    try:
        atomic.reserve(file, num_bytes)
    except OSError as error:
        raise ConfigError(
            f"{tempfile.gettempdir()} does not have the {num_bytes:,} bytes that small pictures of the "
            f"tiles need ({reason_of(error)}); set TMPDIR to a folder that has them."
        ) from error


def _lifted(pictures: np.memmap) -> FloatArray:
    """Return a point float32[M, 64 S + 1] on the unit sphere for each picture.

    The root mean square difference, in units of 127.5 levels, is a distance between vectors v. The points
    are (v, 1) scaled to unit length; this only shortens distances, so no points are further apart than
    their pictures.
    """
    factor = _SIDE_PX // _COARSE_PX
    points = []
    for start in range(0, len(pictures), _TILES_AT_ONCE):
        block = pictures[start : start + _TILES_AT_ONCE].astype(np.float32)
        num, num_bands = len(block), block.shape[3]
        coarse = block.reshape(num, _COARSE_PX, factor, _COARSE_PX, factor, num_bands).mean(axis=(2, 4))
        flat = (coarse.reshape(num, -1) / _HALF_WHITE - 1.0) / np.sqrt(coarse[0].size)
        points.append(_on_sphere(np.pad(flat, [(0, 0), (0, 1)], constant_values=1.0).astype(np.float32)))
    return np.concatenate(points)


def _on_sphere(vectors: FloatArray) -> FloatArray:
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / lengths).astype(np.float32)


def _nearest(points: FloatArray, limit: float, most_pairs: int) -> tuple[PairIndices, bool]:
    """Return all pairs of points with 1 - cosine <= limit, and whether there may be more."""
    num_all = count_pairs(len(points))
    num_pairs = min(most_pairs, num_all)
    scorer = threshold_scorer(points, threshold=1.0)
    with scan_progress(len(points)) as bar:
        pairs = scan_pairs(scorer, len(points), num_pairs, progress=bar.update).pair_indices
    cosines = np.einsum("pd,pd->p", *points[pairs.T].astype(np.float64))
    is_near = cosines >= 1.0 - limit - _ROUNDING
    return pairs[is_near], bool(is_near.all()) and num_pairs < num_all


def _differences(pictures: np.memmap, pairs: PairIndices) -> npt.NDArray[np.float64]:
    """Return float64[P], root mean square differences in levels, a block of pairs at a time."""
    found = [np.empty(0)]
    for start in range(0, len(pairs), _PAIRS_AT_ONCE):
        first, second = (
            pictures[rows].astype(np.float64) for rows in pairs[start : start + _PAIRS_AT_ONCE].T
        )
        found.append(np.sqrt(np.mean(np.square(first - second), axis=(1, 2, 3))))
    return np.concatenate(found)
