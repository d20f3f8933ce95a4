"""The tiles that a search found as files, with a table of them: in a new folder, or in a ZIP archive."""

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
"""From a row of the index to its tile as a file."""

_MAX_NAME_LENGTH = 80
_MAX_SUFFIX_LENGTH = 8
_FIRST_TIME = (1980, 1, 1, 0, 0, 0)  # of a ZIP archive; equal results are equal files


def copy_results(
    index: TileIndex, results: Sequence[Results], folder: str | os.PathLike[str], file_of: FileOf
) -> None:
    """Write the files of `result_files` into a new folder, all of them or none.

    Args:
      index: that was searched.
      results: of all queries.
      folder: absent or empty.
      file_of: gives the tiles, such as `retrieval.originals.original` of an index.

    Raises:
      UnwritableError: as `atomic.new_folder`; nothing is left.
      ArchiveError: a tile cannot be read any more, or is a vector; nothing is left.
    """
    with atomic.new_folder(folder) as temporary:
        for name, data in result_files(index, results, file_of):
            path = temporary / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)


def result_files(
    index: TileIndex, results: Sequence[Results], file_of: FileOf
) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file: the tiles, best first, and then the tables.

    A name begins with the rank; of several queries each has a folder of its own. `results.csv` names them.
    `results.geojson` is there where the places of some are known in degrees, and `results.parquet`
    (GeoParquet) where the extra parquet is installed, too.

    Args:
      index: that was searched.
      results: of all queries.
      file_of: gives the tiles.

    Raises:
      ArchiveError: a tile cannot be read any more, or is a vector.
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
    """Yield a ZIP archive of some files piece by piece; memory holds one of them at a time.

    Tiles are compressed already, so nothing is compressed again.

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
    """A stream that cannot seek, as a response is none, and that gives out what was written so far."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]
        self._pieces.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        """Return what was written since the last call."""
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


def _safe(text: str) -> str:
    """Return a text as part of a file's name on any system.

    >>> _safe("river/a 7:b.tif")
    'river_a_7_b.tif'
    """
    return re.sub(r"[^\w.-]+", "_", text).strip(".")[-_MAX_NAME_LENGTH:] or "tile"


def _safe_suffix(suffix: str) -> str:
    return suffix if re.fullmatch(rf"\.\w{{1,{_MAX_SUFFIX_LENGTH}}}", suffix, re.ASCII) else ""
