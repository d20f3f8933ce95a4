"""The tiles of an index as files: the archive's own bytes if a tile is a file."""

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
    """Return the file of a tile in an index; None if its archive is not a folder of tiles."""
    source = index.source(row)
    if not source.startswith(_FOLDER):
        return None
    return Path(source.removeprefix(_FOLDER)).expanduser() / index.ids([row])[0]


@functools.lru_cache(maxsize=1)
def opened_source(source: str) -> Archive:
    """Open an archive once for all its tiles, because opening reads the whole archive."""
    return open_archive(source)


def original(index: TileIndex, row: int) -> TileFile:
    """Return a tile of an index as a file; for a folder, exactly the indexed bytes.

    Args:
      index: an opened index.
      row: row of the tile. Its archive is only opened if it is not a folder.

    Raises:
      ArchiveError: the tile is missing, has changed since it was indexed, or is a vector.
    """
    path = path_of(index, row)
    if path is None:
        source, (tile_id,) = index.source(row), index.ids([row])
        archive = cast(Catalogue, opened_source(source))
        try:
            return archive.tile_file(archive.ids.index(tile_id))
        except ValueError as error:
            raise ArchiveError(f"{source} no longer has the tile {tile_id!r}; restore it.") from error
    try:
        data = read_tile(path)
    except ArchiveError as error:
        raise ArchiveError(f"{path} {error}; restore it, or write the index again.") from error
    digests = index.take("digests", [row])
    if digests is not None and hashlib.sha256(data).digest() != digests[0].tobytes():
        raise ArchiveError(f"{path} has changed since it was indexed; restore it or write a new index.")
    return TileFile(path.suffix, data)
