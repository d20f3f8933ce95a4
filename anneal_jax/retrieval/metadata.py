"""A metadata file laid beside an archive: what is known of its tiles besides their pixels.

A CSV file in UTF-8 whose header names `id` and any of these; other columns are ignored:

  label                      class; overrides the archive's own
  date                       ISO 8601, such as 2021-06-30 or 2021-06-30T10:15:00Z; UTC without an offset
  west, south, east, north   bounds, all four, in one unit for the whole index, such as degrees

An empty field says that nothing is known.
"""

import csv
import datetime
import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import RetrievalError
from anneal_jax.retrieval.shards import encoded_texts

BOX_SIDES = ("west", "south", "east", "north")

_ROWS_AT_ONCE = 65_536


class Metadata(NamedTuple):
    """What a metadata file says of the tiles of an archive.

    Attributes:
      columns: `label`, `date` and `box` of all N tiles, as shards store them; those that the file has.
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
            fields = _known_fields(reader.fieldnames or (), path)
            columns = _blank_columns(fields, len(ids))
            num_matched = num_others = 0
            while rows := _checked(itertools.islice(reader, _ROWS_AT_ONCE), reader, path):
                names = encoded_texts([row["id"] for _, row in rows])
                places = np.searchsorted(ordered, names).clip(max=len(ids) - 1)
                is_known = ordered[places] == names
                for (line, row), place, known in zip(rows, order[places], is_known, strict=True):
                    if known:
                        _fill(columns, int(place), row, f"{path}, line {line}")
                num_matched += int(is_known.sum())
                num_others += len(rows) - int(is_known.sum())
    except OSError as error:
        raise RetrievalError(f"metadata file {path} cannot be read: {error.strerror}.") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise RetrievalError(f"metadata file {path} is no CSV file in UTF-8: {error}.") from error
    if not num_matched:
        raise RetrievalError(f"no row of {path} names a tile of the archive; its ids look like {ids[0]!r}.")
    return Metadata({name: _stored(column) for name, column in columns.items()}, num_matched, num_others)


def parse_date(text: str) -> np.datetime64:
    """Return a date, or a date and time, in UTC.

    Raises:
      ValueError: it is not in ISO 8601.

    >>> parse_date("2021-06-30T12:00:00+02:00")
    np.datetime64('2021-06-30T10:00:00')
    """
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64(moment, "s")


def _known_fields(names: Sequence[str], path: Path) -> set[str]:
    sides = set(BOX_SIDES) & set(names)
    if "id" not in names:
        raise RetrievalError(
            f"metadata file {path} must have a column id; found {', '.join(names) or 'none'}."
        )
    if sides and len(sides) < len(BOX_SIDES):
        lacking = ", ".join(side for side in BOX_SIDES if side not in sides)
        raise RetrievalError(f"metadata file {path} gives bounds without {lacking}; give all four or none.")
    fields = {"label", "date"} & set(names) | ({"box"} if sides else set())
    if not fields:
        raise RetrievalError(
            f"metadata file {path} has none of the columns label, date and {', '.join(BOX_SIDES)}."
        )
    return fields


def _blank_columns(fields: set[str], num_tiles: int) -> dict[str, np.ndarray]:
    blanks = {
        "label": lambda: np.full(num_tiles, "", object),
        "date": lambda: np.full(num_tiles, np.datetime64("NaT", "s")),
        "box": lambda: np.full((num_tiles, 4), np.nan),
    }
    return {name: blanks[name]() for name in sorted(fields)}


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


def _fill(columns: dict[str, np.ndarray], place: int, row: dict[str, str], where: str) -> None:
    try:
        if "label" in columns:
            columns["label"][place] = row["label"]
        if "date" in columns and row["date"]:
            columns["date"][place] = parse_date(row["date"])
        if "box" in columns and any(row[side] for side in BOX_SIDES):
            columns["box"][place] = _box([row[side] for side in BOX_SIDES])
    except ValueError as error:
        raise RetrievalError(f"{where}: {error}.") from error


def _box(sides: list[str]) -> npt.NDArray[np.float64]:
    west, south, east, north = box = np.array([float(side) for side in sides])
    if not (all(map(math.isfinite, box)) and west <= east and south <= north):
        raise ValueError(f"bounds {', '.join(sides)} are not west <= east and south <= north")
    return box


def _stored(column: np.ndarray) -> np.ndarray:
    return encoded_texts(column.tolist()) if column.dtype == object else column
