"""A metadata file for an archive: what is known about its tiles besides their pixels.

It is a CSV file in UTF-8 whose header names `id` and any of the `fields` in the table of `columns`, with
all four bounds or none; other columns are ignored. An empty field means that the value is unknown. Ids are
matched as in a labels file (`anneal_jax.data.labels`).
"""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.labels import TileNames
from anneal_jax.errors import RetrievalError
from anneal_jax.files.tables import opened_table
from anneal_jax.retrieval.columns import COLUMNS, Column, encoded_texts

_FROM_FILE = [column for column in COLUMNS.values() if column.fields]
_ROWS_AT_ONCE = 65_536


class Metadata(NamedTuple):
    """The metadata of an archive's tiles.

    Attributes:
      columns: columns in the file, for all N tiles, as stored in shards.
      num_matched: number of rows whose tile is in the archive.
      num_others: number of rows of other tiles.
    """

    columns: dict[str, np.ndarray]
    num_matched: int
    num_others: int

    @property
    def note(self) -> str:
        """A sentence about unused rows, or nothing."""
        if not self.num_others:
            return ""
        return f"{self.num_others:,} rows of the metadata name tiles that are not in the archive."


def read_metadata(path: str | Path, ids: Sequence[str]) -> Metadata:
    """Read a metadata file in the order of an archive; memory depends on the archive, not the file.

    Args:
      path: the CSV file.
      ids: ids of the archive's N tiles.

    Raises:
      RetrievalError: the file is missing or malformed, a field cannot be read, or no row names a tile.
    """
    path = Path(path).expanduser()
    finder = _Finder(ids, f"metadata file {path}")
    with opened_table(path, "metadata file", RetrievalError) as table:
        columns = _columns_in(table.columns, path)
        arrays = {column.name: _blank(column, len(ids)) for column in columns}
        is_given = np.zeros(len(ids), np.bool_)
        num_matched = num_others = 0
        rows = table.rows(filled=["id"])
        while chunk := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            places = finder.places([row["id"] for _, row in chunk])
            for (line, row), place in zip(chunk, places.tolist(), strict=True):
                if place >= 0:
                    where = f"{table.what}, line {line}"
                    _fill(arrays, columns, place, row, where, is_again=bool(is_given[place]))
                    is_given[place] = True
            num_matched += int(np.count_nonzero(places >= 0))
            num_others += int(np.count_nonzero(places < 0))
    if not num_matched:
        raise RetrievalError(f"no row of {path} names a tile of the archive; its ids look like {ids[0]!r}.")
    return Metadata({name: _stored(arrays[name]) for name in sorted(arrays)}, num_matched, num_others)


class _Finder:
    """Finds the archive rows of named tiles; most are found in bulk among sorted bytes."""

    def __init__(self, ids: Sequence[str], where: str):
        self._ids, self._where = ids, where
        encoded = encoded_texts(ids)
        self._order = np.argsort(encoded, kind="stable")
        self._ordered = encoded[self._order]
        self._names: TileNames | None = None

    def places(self, names: list[str]) -> npt.NDArray[np.int64]:
        """Return int64[n], the row of the archive for each name, -1 if there is none."""
        places = self._as_written(names)
        for number in np.flatnonzero(places < 0).tolist():
            self._names = self._names or TileNames(self._ids)
            found = self._names.find(names[number], self._where, RetrievalError)
            if found is not None:
                places[number] = self._as_written([found])[0]
        return places

    def _as_written(self, names: list[str]) -> npt.NDArray[np.int64]:
        wanted = encoded_texts(names)
        at = np.searchsorted(self._ordered, wanted).clip(max=len(self._ordered) - 1)
        return np.where(self._ordered[at] == wanted, self._order[at], -1)


def _columns_in(names: Sequence[str], path: Path) -> list[Column]:
    """Return the columns in a header."""
    if "id" not in names:
        raise RetrievalError(
            f"metadata file {path} must have a column id; found {', '.join(names) or 'none'}."
        )
    sides = COLUMNS["box"].fields
    lacking = [side for side in sides if side not in names]
    if 0 < len(lacking) < len(sides):
        raise RetrievalError(
            f"metadata file {path} gives bounds without {', '.join(lacking)}; give all four or none."
        )
    columns = [column for column in _FROM_FILE if set(column.fields) <= set(names)]
    if not columns:
        *others, last = (", ".join(column.fields) for column in _FROM_FILE)
        raise RetrievalError(
            f"metadata file {path} has none of the columns {', '.join(others)} and {last}."
        )
    return columns


def _fill(
    arrays: dict[str, np.ndarray],
    columns: list[Column],
    place: int,
    row: dict[str, str],
    where: str,
    *,
    is_again: bool,
) -> None:
    for column in columns:
        held = arrays[column.name]
        try:
            value = _value(column, row)
        except ValueError as error:
            raise RetrievalError(f"{where}: {error}.") from error
        if is_again and not _is_same(held[place], column.blank if value is None else value):
            raise RetrievalError(
                f"{where}: {row['id']!r} has another {column.name} here than above; keep one."
            )
        if value is not None:
            held[place] = value


def _value(column: Column, row: dict[str, str]) -> Any:
    """Return the value of a column in a row; None if empty.

    Raises:
      ValueError: the value cannot be read.
    """
    texts = [row[field] for field in column.fields]
    is_said = column.is_text or any(text.strip() for text in texts)
    return column.parse(texts) if is_said else None


def _is_same(held: Any, value: Any) -> bool:
    """Return whether two values of a column are equal; unknown equals unknown."""
    return held == value if isinstance(held, bytes) else np.array_equal(held, value, equal_nan=True)


def _blank(column: Column, num_tiles: int) -> np.ndarray:
    # Texts stay Python objects until the longest is known.
    return column.blanks(num_tiles).astype(object if column.is_text else column.dtypes[0])


def _stored(values: np.ndarray) -> np.ndarray:
    return np.array(values.tolist(), np.bytes_) if values.dtype == object else values
