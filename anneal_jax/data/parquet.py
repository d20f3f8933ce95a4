"""An archive of vectors in Parquet or GeoParquet, a file or a folder of parts (extra `parquet`).

Everything is read once, a few thousand rows at a time. More than 256 MiB of vectors go into a scratch file
(`anneal_jax.data.scratch`); for each row, memory holds its id and, if present, its place, date and class.
"""

import importlib
import json
import os
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from anneal_jax.data.embeddings import VectorArchive
from anneal_jax.data.packed_texts import PackedTexts, first_repeat
from anneal_jax.data.parquet_columns import Columns, choose_columns, ids_of
from anneal_jax.data.parquet_rows import READER_FAULTS, Rows
from anneal_jax.errors import ArchiveError, how_to_install
from anneal_jax.files.progress import progress_bar

PARQUET_ENDINGS = (".parquet", ".geoparquet", ".pq", ".gpq")

_ROWS_AT_ONCE = 16_384
_BUFFERED_BYTES = 2**20  # buffer of each column while it is read


class _Part(NamedTuple):
    """A file, as described by its footer."""

    path: pathlib.Path
    num_rows: int
    names: list[str]
    geo: Mapping[str, Any]


def is_parquet(path: pathlib.Path) -> bool:
    """Return whether a path is a folder, or a file with the first or last bytes of Parquet."""
    if path.is_dir() or path.suffix.lower() in PARQUET_ENDINGS:
        return True
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        return False


def open_parquet(path: pathlib.Path, options: Mapping[str, str], spec: str) -> VectorArchive:
    """Open a file or a folder, reading every row once.

    Args:
      path: a file, or a folder with `.parquet`, `.geoparquet`, `.pq` or `.gpq` files anywhere below it,
        which are its parts in the order of their paths.
      options: some of `PARQUET_OPTIONS` (docs/embeddings.md).
      spec: of the archive.

    Raises:
      ArchiveError: an option or a file cannot be used; parts differ; an id occurs twice; a vector is null,
        ragged, not finite or without direction; there is no scratch space; or pyarrow is not installed.
    """
    parts = [_read_footer(part) for part in _part_files(path)]
    num_rows = sum(part.num_rows for part in parts)
    if not num_rows:
        raise ArchiveError(f"{path} has no rows; write at least one vector into it")
    with _blamed(parts[0].path):
        columns = choose_columns(parts[0].names, options, str(parts[0].geo.get("primary_column", "")))
    _require_columns(parts, columns)
    rows = _read(parts, columns, num_rows)
    ids = rows.ids()
    _require_unique(ids, path, columns)
    labels, class_names = rows.labels()
    return VectorArchive(
        spec=spec,
        ids=ids,
        labels=labels,
        class_names=class_names,
        kind="vector",
        notes=(_note(columns, rows.dim),),
        boxes=rows.boxes,
        dates=rows.dates,
        vectors=rows.vectors,
    )


def read_texts(path: pathlib.Path, column: str) -> PackedTexts:
    """Return one text column of a file or a folder of parts.

    Raises:
      ArchiveError: a part has no such column, or its values are not texts or contain null.
    """
    parts = [_read_footer(part) for part in _part_files(path)]
    columns = Columns(column, None, None, None, None, ())
    for part in parts:
        if column not in part.names:
            raise ArchiveError(f"{part.path} has no column {column!r}; it has {', '.join(part.names)}")
    _require_columns(parts, columns)
    data, ends = bytearray(), []
    for part in parts:
        for _, batch in _batches(part, columns):
            with _blamed(part.path):
                texts, places = ids_of(batch.column(column))
            ends.append(places + len(data))
            data += texts
    return PackedTexts(data, np.concatenate(ends) if ends else np.empty(0, np.int64))


def import_pyarrow(name: str = "pyarrow.parquet") -> Any:
    """Return a module of pyarrow.

    Raises:
      ArchiveError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ArchiveError(
            f"Parquet needs pyarrow, which is not installed; install it with {how_to_install('parquet')}"
        ) from error


def _part_files(path: pathlib.Path) -> list[pathlib.Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise ArchiveError(f"{path} is not a file; give one, as in embeddings:/data/features.parquet")
    found = []
    for folder, subfolders, files in os.walk(path):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "_"))]
        names = (name for name in files if not name.startswith((".", "_")))
        found += [pathlib.Path(folder, name) for name in names if name.lower().endswith(PARQUET_ENDINGS)]
    if not found:
        raise ArchiveError(f"{path} contains no file that ends with {', '.join(PARQUET_ENDINGS)}")
    return sorted(found)


@contextmanager
def _blamed(path: pathlib.Path) -> Iterator[None]:
    """Add the file's name to any of pyarrow's many errors."""
    try:
        yield
    except ArchiveError as error:
        raise ArchiveError(f"{path} {error}") from error
    except READER_FAULTS as error:
        raise ArchiveError(f"{path} cannot be read as Parquet ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _read_footer(path: pathlib.Path) -> _Part:
    parquet = import_pyarrow()
    with _blamed(path), parquet.ParquetFile(path) as file:
        metadata = file.schema_arrow.metadata or {}
        geo = json.loads(metadata.get(b"geo", b"{}"))
        return _Part(path, file.metadata.num_rows, list(file.schema_arrow.names), _checked_geo(geo))


def _checked_geo(geo: Any) -> Mapping[str, Any]:
    """Return GeoParquet's metadata if it is valid; otherwise places are read as if there were none."""
    columns = geo.get("columns") if isinstance(geo, dict) else None
    is_sound = isinstance(columns, dict) and all(isinstance(about, dict) for about in columns.values())
    return geo if is_sound else {}


def _require_columns(parts: Sequence[_Part], columns: Columns) -> None:
    for part in parts:
        for name in columns.names:
            if part.names.count(name) != 1:
                raise ArchiveError(
                    f"{part.path} has {part.names.count(name) or 'no'} column {name!r}, and "
                    f"{parts[0].path} has one; parts of an archive need the same columns"
                )


def _read(parts: Sequence[_Part], columns: Columns, num_rows: int) -> Rows:
    rows = Rows(num_rows, columns)
    with progress_bar(num_rows, "reading vectors", "vector") as bar:
        for part in parts:
            crs = _crs(part, columns)
            for first, batch in _batches(part, columns):
                rows.take(batch, part.path, first, crs)
                bar.update(batch.num_rows)
    return rows


def _batches(part: _Part, columns: Columns) -> Iterator[tuple[int, Any]]:
    """Yield batches of rows, each with the number of its first row."""
    parquet, first = import_pyarrow(), 0
    # With buffering, a row group of any size is read page by page.
    with (
        _blamed(part.path),
        parquet.ParquetFile(part.path, buffer_size=_BUFFERED_BYTES, pre_buffer=False) as file,
    ):
        for batch in file.iter_batches(_ROWS_AT_ONCE, columns=columns.names):
            if first + batch.num_rows > part.num_rows:
                break
            if batch.num_rows:
                yield first, batch
            first += batch.num_rows
    if first != part.num_rows:
        raise ArchiveError(f"{part.path} lacks some of its {part.num_rows:,} rows; write it again")


def _crs(part: _Part, columns: Columns) -> Any:
    """Return the coordinate reference system of the geometry as PROJJSON; None if it is not given."""
    about = part.geo.get("columns", {}).get(columns.places[0] if columns.places else "", {})
    encoding = about.get("encoding", "WKB")
    if encoding != "WKB":
        raise ArchiveError(
            f"{part.path} has its geometry in the encoding {encoding!r}, and WKB is read; write it so, or "
            "give ?geometry=none"
        )
    return about.get("crs")


def _require_unique(ids: Sequence[str], path: pathlib.Path, columns: Columns) -> None:
    if columns.id is not None and (rows := first_repeat(ids)):
        raise ArchiveError(
            f"{path}: the id {ids[rows[0]]!r} is in rows {rows[0]:,} and {rows[1]:,} of the column "
            f"{columns.id!r}, and ids must differ; name another with ?id=NAME, or ?id=none numbers the rows"
        )


def _note(columns: Columns, dim: int) -> str:
    named = {
        "ids": columns.id or "the rows' numbers",
        "places": ", ".join(columns.places),
        "dates": columns.date,
        "classes": columns.label,
    }
    others = "".join(f", {what}: {name}" for what, name in named.items() if name)
    return f"Read vectors of {dim:,} numbers: {columns.vector}{others}."
