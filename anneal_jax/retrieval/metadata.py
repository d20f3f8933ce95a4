"""A metadata file laid beside an archive: what is known of its tiles besides their pixels.

A CSV file in UTF-8 whose header names `id` and any of the `fields` in the table of `columns`, of bounds all
four; other columns are ignored. An empty field says that nothing is known.
"""

import csv
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from anneal_jax.errors import RetrievalError
from anneal_jax.retrieval.columns import COLUMNS, Column, encoded_texts

_FROM_FILE = [column for column in COLUMNS.values() if column.fields]
_ROWS_AT_ONCE = 65_536


class Metadata(NamedTuple):
    """What a metadata file says of the tiles of an archive.

    Attributes:
      columns: of all N tiles, as shards store them; those that the file has.
      num_matched: rows of the file whose tile the archive has.
      num_others: rows of other tiles.
    """

    columns: dict[str, np.ndarray]
    num_matched: int
    num_others: int

    @property
    def note(self) -> str:
        """A sentence about rows that went unused, or nothing."""
        if not self.num_others:
            return ""
        return f"{self.num_others:,} rows of the metadata name tiles that the archive does not have."


def read_metadata(path: str | Path, ids: Sequence[str]) -> Metadata:
    """Read a metadata file in the order of an archive; memory grows with the archive, not the file.

    Args:
      path: the CSV file.
      ids: of the archive's N tiles.

    Raises:
      RetrievalError: the file is missing or malformed, a field cannot be read, or no row names a tile.
    """
    path = Path(path).expanduser()
    encoded = encoded_texts(ids)
    order = np.argsort(encoded, kind="stable")
    ordered = encoded[order]
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a BOM
            reader = csv.DictReader(file, strict=True)
            columns = _columns_in(reader.fieldnames or (), path)
            arrays = {column.name: _blank(column, len(ids)) for column in columns}
            num_matched = num_others = 0
            while rows := _checked(itertools.islice(reader, _ROWS_AT_ONCE), reader, path):
                names = encoded_texts([row["id"] for _, row in rows])
                places = np.searchsorted(ordered, names).clip(max=len(ids) - 1)
                is_known = ordered[places] == names
                for (line, row), place, known in zip(rows, order[places], is_known, strict=True):
                    if known:
                        _fill(arrays, columns, int(place), row, f"{path}, line {line}")
                num_matched += int(is_known.sum())
                num_others += len(rows) - int(is_known.sum())
    except OSError as error:
        raise RetrievalError(f"metadata file {path} cannot be read: {error.strerror}.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise RetrievalError(f"metadata file {path} is no CSV file in UTF-8: {error}.") from error
    if not num_matched:
        raise RetrievalError(f"no row of {path} names a tile of the archive; its ids look like {ids[0]!r}.")
    return Metadata({name: _stored(arrays[name]) for name in sorted(arrays)}, num_matched, num_others)


def _columns_in(names: Sequence[str], path: Path) -> list[Column]:
    """Return the columns that a header gives."""
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


def _checked(
    rows: Iterator[dict[str, str]], reader: "csv.DictReader[str]", path: Path
) -> list[tuple[int, dict[str, str]]]:
    checked = []
    for row in rows:
        if not row["id"] or None in row or None in row.values():
            raise RetrievalError(
                f"{path}, line {reader.line_num}: expected {len(reader.fieldnames or ())} fields with an "
                "id among them; quote a field that holds a comma."
            )
        checked.append((reader.line_num, row))
    return checked


def _fill(
    arrays: dict[str, np.ndarray], columns: list[Column], place: int, row: dict[str, str], where: str
) -> None:
    for column in columns:
        texts = [row[field] for field in column.fields]
        if not any(texts) and not column.is_text:  # an empty text is a value, and replaces another
            continue
        try:
            arrays[column.name][place] = column.parse(texts)
        except ValueError as error:
            raise RetrievalError(f"{where}: {error}.") from error


def _blank(column: Column, num_tiles: int) -> np.ndarray:
    # Texts are Python objects until the longest is known.
    return column.blanks(num_tiles).astype(object if column.is_text else column.dtypes[0])


def _stored(values: np.ndarray) -> np.ndarray:
    return np.array(values.tolist(), np.bytes_) if values.dtype == object else values
