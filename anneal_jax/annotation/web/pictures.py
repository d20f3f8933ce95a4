"""Tiles as a browser shows them: by number, decoded by the archive and re-encoded, never as files."""

import io
import threading
from collections import OrderedDict
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import cast

import numpy as np
import numpy.typing as npt
from PIL import Image

from anneal_jax.annotation.web.settings import THUMBNAILS
from anneal_jax.annotation.web.thumbnails import NamePictures, open_thumbnails
from anneal_jax.data.archives import open_archive
from anneal_jax.data.bands import rgb_tiles
from anneal_jax.data.catalogue import Catalogue, TileFile
from anneal_jax.errors import ArchiveError, nearest_hint
from anneal_jax.text import Names
from anneal_jax.types import Archive, IntArray

PICTURE_PX = 512
"""Side of a picture: twice that of most tiles, for dense screens."""

_QUALITY = 92
_KEPT = 512  # pictures in memory, some 40 kB each


class TilePictures:
    """JPEG pictures of an archive's tiles, prepared ahead of time in separate threads.

    Every picture has the same side and no contrast stretch, so that tiles can be compared as they are.
    """

    def __init__(self, archive: Archive, *, rows: IntArray | None = None, side_px: int = PICTURE_PX):
        """Prepare to serve an archive of tiles; nothing is read yet.

        Args:
          archive: the tiles.
          rows: int32[N], row of each picture in the archive; None for all rows in order.
          side_px: side of a picture in pixels.
        """
        self._archive = archive
        self._rows = np.arange(len(archive.ids), dtype=np.int32) if rows is None else rows
        self._side_px = side_px
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="tiles")
        self._pictures: OrderedDict[int, Future[bytes]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def show_tiles(self) -> bool:
        """Whether a person can judge the pictures; if not, they only show names."""
        return not isinstance(self._archive, NamePictures)

    def __len__(self) -> int:
        return len(self._rows)

    def prefetch(self, tiles: Iterable[int]) -> None:
        """Start to prepare pictures that will be requested soon."""
        for tile in tiles:
            self._coming(tile)

    def get(self, tile: int) -> bytes:
        """Return a picture, waiting until it is ready.

        Raises:
          IndexError: there is no such tile.
          ArchiveError: its file is missing or has changed.
        """
        if not 0 <= tile < len(self):
            raise IndexError(f"there is no tile {tile}")
        return self._coming(tile).result()

    def file(self, tile: int) -> TileFile:
        """Return a tile as a file: the archive's own bytes if it has one.

        Raises:
          ArchiveError: its file is missing or has changed, or it is a vector without a picture.
        """
        return cast(Catalogue, self._archive).tile_file(int(self._rows[tile]))

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(cancel_futures=True)

    def _coming(self, tile: int) -> "Future[bytes]":
        with self._lock:
            coming = self._pictures.get(tile)
            if coming is None or (coming.done() and coming.exception()):  # retry after a failure
                coming = self._pictures[tile] = self._threads.submit(self._make, tile)
            self._pictures.move_to_end(tile)
            while len(self._pictures) > _KEPT:
                self._pictures.popitem(last=False)
        return coming

    def _make(self, tile: int) -> bytes:
        return as_jpeg(rgb_tiles(self._archive, [int(self._rows[tile])], self._side_px, "bicubic")[0])


def as_jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Encode uint8[H, W, 3] as pages show it."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()


def open_pictures(archive: Archive, spec: str, *, on_bad_image: str = "refuse") -> TilePictures:
    """Return the pictures of an archive.

    Args:
      archive: of tiles or of vectors.
      spec: archive of the tiles if `archive` holds vectors, whose ids then name the tiles; or `thumbnails:`
        and an argument of `open_thumbnails`. If empty, only names are shown, which nobody can judge.
      on_bad_image: as for `open_archive`.

    Raises:
      ArchiveError: the tiles cannot be opened, or the tile of a vector is missing.
    """
    if archive.kind == "image":
        return TilePictures(archive)
    if not spec or spec.startswith(THUMBNAILS):
        return TilePictures(open_thumbnails(archive, spec.removeprefix(THUMBNAILS)))
    tiles = open_archive(spec, on_bad_image=on_bad_image)
    places = {name: place for place, name in enumerate(tiles.ids)}
    names = Names(places)
    meant = [names.find(name) for name in archive.ids]
    missing = [name for name, found in zip(archive.ids, meant, strict=True) if len(found) != 1]
    if tiles.kind != "image" or missing:
        named = f", the first {missing[0]!r}{nearest_hint(missing[0], places)}" if missing else ""
        raise ArchiveError(
            f"{spec} lacks the tiles of {len(missing):,} of the {len(archive.ids):,} vectors of "
            f"{archive.spec}{named}; write the tiles' names into the array `ids` of that file, as in "
            f"numpy.savez(FILE, embeddings=E, ids=[{tiles.ids[0]!r}, ...])."
        )
    return TilePictures(tiles, rows=np.array([places[name] for (name,) in meant], np.int32))
