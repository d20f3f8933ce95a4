"""The tiles of an archive, decoded and resized once, in a memory-mapped file.

The file is an ordinary `.npy` of uint8[N, H, H, S], named after the digests of the tiles and the way they
are resized, so that all runs share it. After the array, where readers of `.npy` ignore it, the file stores
one CRC-32 per tile, so that reading detects a tile that was never written or is damaged. A run therefore
continues after a kill, tile by tile, and nobody waits for the checksum of a file larger than memory.
"""

import errno
import fcntl
import hashlib
import io
import json
import logging
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from anneal_jax.data.catalogue import check_image_size, checked_indices
from anneal_jax.errors import ArchiveError, ConfigError, is_full_disk, reason_of
from anneal_jax.files.progress import progress_bar
from anneal_jax.types import Archive

DECODING_VERSION = 1
"""Part of every file's name; increase it when the output of decoding or resizing changes."""

_TILES_AT_ONCE = 256
_CHECKSUM_BYTES = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CachedTiles:
    """The decoded tiles of an archive, on disk.

    Attributes:
      archive: the source; read again only for damaged tiles.
      image_size: H, side of the tiles in pixels.
      resampling: the filter used for resizing.
      path: path of the file.
    """

    archive: Archive
    image_size: int
    resampling: str
    path: Path
    _tiles: npt.NDArray[np.uint8] = field(repr=False)
    _checksums: npt.NDArray[np.uint32] = field(repr=False)
    _seed: int = field(repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, H, H, S)."""
        return self._tiles.shape

    def load(self, indices: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Copy tiles into memory; without side effects, from any thread.

        Args:
          indices: int[B], rows of the archive.

        Returns:
          uint8[B, H, H, S].

        Raises:
          ArchiveError: a tile is damaged and cannot be read from the archive either.
        """
        rows = checked_indices(indices, len(self._tiles))
        tiles = np.asarray(self._tiles[rows])
        found = [_checksum(tile, self._seed) for tile in tiles]
        is_damaged = np.asarray(found, np.uint32) != self._checksums[rows]
        if is_damaged.any():
            _log.warning(
                "%d tiles in %s are damaged, and are decoded again each time they are needed; remove the "
                "file to have it written again",
                *(int(is_damaged.sum()), self.path),
            )
            tiles[is_damaged] = self.archive.load(rows[is_damaged], self.image_size, self.resampling)
        return tiles


def open_tiles(
    archive: Archive, image_size: int, resampling: str = "bilinear", *, cache_dir: str | Path
) -> CachedTiles:
    """Open the decoded tiles of an archive; decode those that are missing.

    It takes N * H * H * S bytes of disk. Runs that need the same file at the same time wait for one of them
    to write it. A file of the wrong size is written again.

    Args:
      archive: of images.
      image_size: H, side to which tiles are resized, in pixels.
      resampling: lower-case name of the Pillow filter used for resizing.
      cache_dir: folder of the file, created if missing.

    Raises:
      ArchiveError: the archive holds vectors, or a tile cannot be read.
      ConfigError: the folder cannot be written to, or lacks space; the message says how much is needed.
    """
    check_image_size(image_size)
    if archive.kind == "vector":
        raise ArchiveError(f"{archive.spec} holds vectors, which cannot be decoded; give tiles")
    key = tiles_key(archive, image_size, resampling)
    path = Path(cache_dir) / f"tiles-{key}.npy"
    shape = (len(archive.ids), *archive.load([0], image_size, resampling).shape[1:])
    layout, seed = _Layout(shape), zlib.crc32(key.encode())
    with _refusing_damage(path, layout):
        if not layout.fits(path):
            _make(path, layout, seed, archive, image_size, resampling)
    return CachedTiles(archive, image_size, resampling, path, *layout.mapped(path), seed)


def tiles_key(archive: Archive, image_size: int, resampling: str) -> str:
    """Return the hexadecimal SHA-256 of everything that the decoded tiles depend on."""
    settings = {"image_size": image_size, "resampling": resampling, "version": DECODING_VERSION}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    digest.update(archive.digests().tobytes())
    return digest.hexdigest()


class _Layout:
    """The layout of a file of tiles uint8[N, H, H, S]."""

    def __init__(self, shape: tuple[int, ...]):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            header, {"descr": "|u1", "fortran_order": False, "shape": shape}
        )
        self.shape, self.header = shape, header.getvalue()
        self.tile_bytes = int(np.prod(shape[1:]))
        self.checksums_at = self.tile_at(shape[0])
        self.total_bytes = self.checksums_at + _CHECKSUM_BYTES * shape[0]

    def tile_at(self, row: int) -> int:
        return len(self.header) + row * self.tile_bytes

    def fits(self, path: Path) -> bool:
        """Return whether a file has this layout, by its size and its first bytes."""
        try:
            with path.open("rb") as file:
                is_ours = file.read(len(self.header)) == self.header
            return is_ours and path.stat().st_size == self.total_bytes
        except FileNotFoundError:
            return False

    def mapped(self, path: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint32]]:
        """Map the tiles and read their checksums."""
        tiles = np.memmap(path, np.uint8, "r", offset=len(self.header), shape=self.shape)
        return tiles, np.fromfile(path, "<u4", offset=self.checksums_at)


def _make(
    path: Path, layout: _Layout, seed: int, archive: Archive, image_size: int, resampling: str
) -> None:
    """Put a complete file in place; one process writes it, and continues where another was killed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    # Opened or created in one call: between two calls, a faster process may put its file in place.
    with os.fdopen(os.open(unfinished, os.O_RDWR | os.O_CREAT, 0o666), "r+b") as file:
        _wait_for_others(file, path)
        if layout.fits(path):  # another process was faster; its file was `unfinished` before
            if not os.path.samestat(os.fstat(file.fileno()), path.stat()):
                unfinished.unlink(missing_ok=True)
            return
        _require_space(file, path, layout)
        file.write(layout.header)
        missing = _missing_rows(file, layout)
        for start, tiles in _decoded(archive, missing, image_size, resampling):
            _write(file, layout, missing[start : start + len(tiles)], tiles, seed)
        file.flush()
        os.fsync(file.fileno())
        unfinished.replace(path)
    _log.info("tiles of %d px are stored in %s, %s", image_size, path, _size(layout.total_bytes))


def _wait_for_others(file: BinaryIO, path: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _log.warning("another run is decoding the tiles into %s; waiting for it", path.parent)
        fcntl.flock(file, fcntl.LOCK_EX)


def _require_space(file: BinaryIO, path: Path, layout: _Layout) -> None:
    held = os.fstat(file.fileno()).st_blocks * 512
    if shutil.disk_usage(path.parent).free < layout.total_bytes - held:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _missing_rows(file: BinaryIO, layout: _Layout) -> npt.NDArray[np.intp]:
    """Return the rows without a checksum, which is written after its tile; extend the file to its size."""
    file.truncate(layout.total_bytes)
    file.seek(layout.checksums_at)
    return np.flatnonzero(np.frombuffer(file.read(), "<u4") == 0)


def _decoded(
    archive: Archive, rows: npt.NDArray[np.intp], image_size: int, resampling: str
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the first position in `rows` of each block of tiles, and the tiles."""
    with progress_bar(len(rows), "decoding tiles", "tile") as bar:
        for start in range(0, len(rows), _TILES_AT_ONCE):
            tiles = archive.load(rows[start : start + _TILES_AT_ONCE], image_size, resampling)
            yield start, tiles
            bar.update(len(tiles))


def _write(
    file: BinaryIO, layout: _Layout, rows: npt.NDArray[np.intp], tiles: np.ndarray, seed: int
) -> None:
    # Through the file, not a map: on a full disk that raises an error, but a map kills the process.
    for row, tile in zip(rows.tolist(), tiles, strict=True):
        file.seek(layout.tile_at(row))
        file.write(np.ascontiguousarray(tile).data)
    file.flush()
    for row, tile in zip(rows.tolist(), tiles, strict=True):
        file.seek(layout.checksums_at + _CHECKSUM_BYTES * row)
        file.write(_checksum(tile, seed).to_bytes(_CHECKSUM_BYTES, "little"))


def _checksum(tile: np.ndarray, seed: int) -> int:
    """Return the CRC-32 of a tile for one file; never 0, which marks a tile that was not written."""
    return zlib.crc32(np.ascontiguousarray(tile).data, seed) or 1


@contextmanager
def _refusing_damage(path: Path, layout: _Layout) -> Iterator[None]:
    needed = _size(layout.total_bytes)
    advice = "set cache_dir=FOLDER to one that has them"
    try:
        yield
    except OSError as error:
        if is_full_disk(error):
            text = f"{path.parent} does not have the {needed} that the decoded tiles need; {advice}."
        else:
            text = (
                f"the decoded tiles, {needed}, cannot be stored in {path.parent} ({reason_of(error)}); set "
                "cache_dir=FOLDER to one that can be written to."
            )
        raise ConfigError(text) from error


def _size(num_bytes: int) -> str:
    """Format a number of bytes for a person.

    >>> _size(58_060_800)
    '58.1 MB'
    """
    value, unit = float(num_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"
