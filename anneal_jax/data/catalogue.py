"""The metadata of every archive, and the checks shared by all archives."""

import abc
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from anneal_jax.data.bands import rgb_tiles
from anneal_jax.errors import ArchiveError, ConfigError
from anneal_jax.types import IntArray

MAX_NAMED = 5
"""Maximum number of problems listed in a message."""

_UNKNOWN_SIDE_PX = 256  # assumed side of a tile written as a file


class TileFile(NamedTuple):
    """A tile as a file.

    Attributes:
      suffix: suffix of its name, such as ".tif".
      data: its bytes.
    """

    suffix: str
    data: bytes


@dataclass(frozen=True, kw_only=True, eq=False)
class Catalogue(abc.ABC):
    """The names, labels and notes of an archive; a subclass adds `load` and `digests`.

    Attributes:
      spec, ids, labels, class_names, kind, notes, boxes, dates: as in `anneal_jax.types.Archive`.
      left_out: ids of tiles that were found but left out; a labels file may still name them.
    """

    spec: str
    ids: Sequence[str]
    labels: IntArray | None = None
    class_names: tuple[str, ...] = ()
    kind: str = "image"
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    boxes: npt.NDArray[np.float64] | None = field(default=None, repr=False)
    dates: npt.NDArray[np.datetime64] | None = field(default=None, repr=False)

    @abc.abstractmethod
    def load(self, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear") -> np.ndarray:
        """Return the tiles at `indices`; see `anneal_jax.types.Archive.load`."""

    @abc.abstractmethod
    def digests(self) -> npt.NDArray[np.uint8]:
        """Return uint8[N, 32], the SHA-256 of each tile."""

    def tile_side(self) -> int:
        """Return the longer side of most tiles, in pixels; 0 if unknown."""
        return 0

    def tile_file(self, index: int) -> TileFile:
        """Return a tile as a file: its own bytes if it is one, else a PNG of its RGB picture.

        Raises:
          ArchiveError: it is a vector, or can no longer be read.
        """
        if self.kind != "image":
            raise ArchiveError(f"{self.spec} holds vectors, which are not files; name their tiles.")
        side = self.tile_side() or _UNKNOWN_SIDE_PX
        return png_file(rgb_tiles(self, [index], side)[0])


def png_file(pixels: npt.NDArray[np.uint8]) -> TileFile:
    """Return uint8[H, W, 3] as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return TileFile(".png", buffer.getvalue())


def numbered_ids(prefix: str, num_tiles: int) -> tuple[str, ...]:
    """Return names for unnamed tiles, padded with zeros so that text order is number order.

    >>> numbered_ids("row", 11)[-2:]
    ('row09', 'row10')
    """
    width = len(str(max(num_tiles - 1, 0)))
    return tuple(f"{prefix}{number:0{width}d}" for number in range(num_tiles))


def first_few(texts: Sequence[str], separator: str = "; ") -> str:
    """Join the first five texts and the number of further ones.

    >>> first_few([f"tile {number}" for number in range(7)])
    'tile 0; tile 1; tile 2; tile 3; tile 4; and 2 more'
    """
    more = [f"and {len(texts) - MAX_NAMED:,} more"] if len(texts) > MAX_NAMED else []
    return separator.join([*texts[:MAX_NAMED], *more])


def checked_indices(indices: npt.ArrayLike, num_tiles: int) -> npt.NDArray[np.intp]:
    """Return `indices` as intp[B].

    Raises:
      IndexError: they are not whole numbers in one dimension within [0, num_tiles); a negative
        index would silently count from the end.
    """
    rows = np.asarray(indices)
    if rows.size == 0:
        return np.empty(0, np.intp)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise IndexError(f"indices must be whole numbers in one dimension, not {rows.dtype}[{rows.shape}]")
    if rows.min() < 0 or rows.max() >= num_tiles:
        outside = rows[(rows < 0) | (rows >= num_tiles)][0]
        raise IndexError(f"index {outside} is outside the archive's {num_tiles} tiles")
    return rows.astype(np.intp)


def check_image_size(image_size: int) -> None:
    """Raise ConfigError unless `image_size`, in pixels, is at least 1."""
    if image_size < 1:
        raise ConfigError(f"image_size is {image_size}; give a number of pixels of at least 1")


def sha256_rows(tiles: Iterable[np.ndarray]) -> npt.NDArray[np.uint8]:
    """Return uint8[N, 32], the SHA-256 of each array's bytes in row order."""
    digests = (hashlib.sha256(tile.tobytes()).digest() for tile in tiles)
    return stacked_digests(digests)


def stacked_digests(digests: Iterable[bytes]) -> npt.NDArray[np.uint8]:
    """Return uint8[N, 32] from N digests of 32 bytes."""
    joined = bytearray()  # avoids one object per tile, of which there may be millions
    for digest in digests:
        joined += digest
    return np.frombuffer(joined, np.uint8).reshape(-1, hashlib.sha256().digest_size)
