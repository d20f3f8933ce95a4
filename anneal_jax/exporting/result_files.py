"""Exports the tiles that a search found, with a table: to a new folder, or as a ZIP archive."""

import importlib.util
import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence

from anneal_jax.data.catalogue import TileFile
from anneal_jax.exporting.geojson import results_geojson
from anneal_jax.exporting.result_tables import has_places, results_csv, results_geoparquet
from anneal_jax.files import atomic
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.results import Results

FileOf = Callable[[int], TileFile]
"""Maps a row of the index to its tile as a file."""

_MAX_NAME_LENGTH = 80
_MAX_SUFFIX_LENGTH = 8
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest time in a ZIP archive; equal results give equal files


def copy_results(
    index: TileIndex, results: Sequence[Results], folder: str | os.PathLike[str], file_of: FileOf
) -> None:
    """Write the files of `result_files` to a new folder, all or none.

    Args:
      index: the index that was searched.
      results: results of all queries.
      folder: a missing or empty folder.
      file_of: returns the tiles, such as `retrieval.originals.original`.

    Raises:
      UnwritableError: as for `atomic.new_folder`; no files are left.
      ArchiveError: a tile can no longer be read, or is a vector; no files are left.
    """
    with atomic.new_folder(folder) as temporary:
        for name, data in result_files(index, results, file_of):
            path = temporary / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)


def result_files(
    index: TileIndex, results: Sequence[Results], file_of: FileOf
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file: the tiles, best first, then the tables.

    A name starts with the rank; if there are several queries, each has its own folder. `results.csv` lists
    the files. `results.geojson` is included if some places are known in degrees, and `results.parquet`
    (GeoParquet) if the extra parquet is installed too.

    Args:
      index: the index that was searched.
      results: results of all queries.
      file_of: returns the tiles.

    Raises:
      ArchiveError: a tile can no longer be read, or is a vector.
    """
    names: list[list[str]] = []
    for number, found in enumerate(results, start=1):
        folder = "" if len(results) == 1 else f"{number:02d}-{_safe(found.query.name)}/"
        names.append([])
        for rank, (row, tile_id) in enumerate(zip(found.rows, found.ids, strict=True), start=1):
            suffix, data = file_of(row)
            stem = _safe(tile_id.removesuffix(suffix))
            names[-1].append(f"{folder}{rank:04d}-{stem}{_safe_suffix(suffix)}")
            yield names[-1][-1], data
    yield "results.csv", results_csv(index, results, names).encode()
    if has_places(index, results):
        yield "results.geojson", results_geojson(index, results).encode()
        if importlib.util.find_spec("pyarrow"):
            yield "results.parquet", results_geoparquet(index, results)


def zipped(files: Iterator[tuple[str, bytes]]) -> Iterator[bytes]:
    """Yield a ZIP archive of files in pieces, with one file in memory at a time.

    Nothing is compressed, because tiles already are.

    >>> whole = b"".join(zipped(iter([("a.txt", b"forest")])))
    >>> zipfile.ZipFile(io.BytesIO(whole)).read("a.txt")
    b'forest'
    """
    out = _Pieces()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files:
            archive.writestr(zipfile.ZipInfo(name, _FIRST_TIME), data)
            yield out.taken()
    yield out.taken()


class _Pieces(io.RawIOBase):
    """A stream that cannot seek, like a response, and returns what was written so far."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Return the bytes written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _safe(text: str) -> str:
    """Return text that is safe as part of a file name on any system.

    >>> _safe("river/a 7:b.tif")
    'river_a_7_b.tif'
    """
    return re.sub(r"[^\w.-]+", "_", text).strip(".")[-_MAX_NAME_LENGTH:] or "tile"


def _safe_suffix(suffix: str) -> str:
    return suffix if re.fullmatch(rf"\.\w{{1,{_MAX_SUFFIX_LENGTH}}}", suffix, re.ASCII) else ""
