"""The tiles of an index as files: the archive's own bytes where a tile is a file of it."""

import functools
import hashlib
from pathlib import Path
from typing import cast

from anneal_jax.data.archives import open_archive
from anneal_jax.data.catalogue import Catalogue, TileFile
from anneal_jax.data.tiles import read_tile
from anneal_jax.errors import ArchiveError
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.types import Archive

_FOLDER = "folder:"


def path_of(index: TileIndex, row: int) -> Path | None:
    """Return the file that a tile of an index is; None where its archive is no folder of tiles."""
    source = index.source(row)
    if not source.startswith(_FOLDER):
        return None
    return Path(source.removeprefix(_FOLDER)).expanduser() / index.ids([row])[0]


@functools.lru_cache(maxsize=1)
def opened_source(source: str) -> Archive:
    """Open an archive once for all its tiles: that reads the whole of it."""
    return open_archive(source)


def original(index: TileIndex, row: int) -> TileFile:
    """Return a tile of an index as a file; of a folder, the very bytes that were indexed.

    Args:
      index: an opened index.
      row: of the tile. Its archive is opened only where it is no folder.

    Raises:
      ArchiveError: the tile is no longer there, changed since it was indexed, or is a vector.
    """
    path = path_of(index, row)
    if path is None:
        source, (tile_id,) = index.source(row), index.ids([row])
        archive = cast(Catalogue, opened_source(source))
        try:
            return archive.tile_file(archive.ids.index(tile_id))
        except ValueError as error:
            raise ArchiveError(f"{source} has no tile {tile_id!r} any more; restore it.") from error
    try:
        data = read_tile(path)
    except ArchiveError as error:
        raise ArchiveError(f"{path} {error}; restore it, or write the index anew.") from error
    digests = index.take("digests", [row])
    if digests is not None and hashlib.sha256(data).digest() != digests[0].tobytes():
        raise ArchiveError(f"{path} changed since it was indexed; restore it, or write the index anew.")
    return TileFile(path.suffix, data)
