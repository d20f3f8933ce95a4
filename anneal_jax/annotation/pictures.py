"""Tiles as a browser shows them: by number, decoded by the archive and encoded anew, never as files."""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import numpy.typing as npt
from PIL import Image

from anneal_jax.data.bands import rgb_tiles
from anneal_jax.types import Archive

PICTURE_PX = 512
"""Side of a picture: twice that of most tiles, for dense screens."""

_QUALITY = 92
_KEPT = 512  # pictures in memory, some 40 kB each


class TilePictures:
    """JPEG pictures of an archive's tiles, made ahead of time in threads of their own.

    Every picture has the same side, and the same stretch: none, so that two tiles compare as they are.
    """

    def __init__(self, archive: Archive, *, side_px: int = PICTURE_PX):
        """Serve an archive of tiles; nothing is read yet."""
        self._archive = archive
        self._side_px = side_px
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="tiles")
        self._pictures: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._archive.ids)

    def prefetch(self, tiles: Iterable[int]) -> None:
        """Begin to make pictures that will be asked for soon."""
        for tile in tiles:
            self._coming(tile)

    def get(self, tile: int) -> bytes:
        """Return a picture, when it is made.

        Raises:
          IndexError: there is no such tile.
          ArchiveError: its file vanished or changed.
        """
        if not 0 <= tile < len(self):
            raise IndexError(f"there is no tile {tile}")
        return self._coming(tile).result()

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _coming(self, tile: int) -> "Future[bytes]":
        with self._lock:
            coming = self._pictures.get(tile)
            if coming is None or (coming.done() and coming.exception()):  # a failed one is tried again
                coming = self._pictures[tile] = self._threads.submit(self._make, tile)
            self._pictures.move_to_end(tile)
            while len(self._pictures) > _KEPT:
                self._pictures.popitem(last=False)
        return coming

    def _make(self, tile: int) -> bytes:
        return as_jpeg(rgb_tiles(self._archive, [tile], self._side_px, "bicubic")[0])


def as_jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode uint8[H, W, 3] as pages show it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()
