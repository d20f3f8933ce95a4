"""A metadata file laid beside an archive: what is known of its tiles besides their pixels.

A CSV file in UTF-8 whose header names `id` and any of these; other columns are ignored:

  label                      class; overrides the archive's own
  date                       ISO 8601, such as 2021-06-30 or 2021-06-30T10:15:00Z; UTC without an offset
  west, south, east, north   bounds, all four, in one unit for the whole index, such as degrees; west
                             above east is a box across the 180th meridian

An empty field says that nothing is known. Ids are found as in a labels file (`anneal_jax.data.labels`).
"""

import datetime
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.labels import TileNames
from anneal_jax.errors import RetrievalError
from anneal_jax.retrieval.boxes import checked_box
from anneal_jax.retrieval.shards import encoded_texts
from anneal_jax.tables import opened_table

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
    finder = _Finder(ids, f"metadata file {path}")
    with opened_table(path, "metadata file", RetrievalError) as table:
        fields = _known_fields(table.columns, path)
        columns = _blank_columns(fields, len(ids))
        is_given = np.zeros(len(ids), np.bool_)
        num_matched = num_others = 0
        rows = table.rows(filled=["id"])
        while chunk := list(itertools.islice(rows, _ROWS_AT_ONCE)):
            places = finder.places([row["id"] for _, row in chunk])
            for (line, row), place in zip(chunk, places.tolist(), strict=True):
                if place >= 0:
                    _fill(columns, place, row, f"{table.what}, line {line}", is_again=bool(is_given[place]))
                    is_given[place] = True
            num_matched += int(np.count_nonzero(places >= 0))
            num_others += int(np.count_nonzero(places < 0))
    if not num_matched:
        raise RetrievalError(f"no row of {path} names a tile of the archive; its ids look like {ids[0]!r}.")
    return Metadata({name: _stored(column) for name, column in columns.items()}, num_matched, num_others)


class _Finder:
    """Where in an archive the tiles lie that rows name; most are found among sorted bytes, in bulk."""

    def __init__(self, ids: Sequence[str], where: str):
        self._ids, self._where = ids, where
        encoded = encoded_texts(ids)
        self._order = np.argsort(encoded, kind="stable")
        self._ordered = encoded[self._order]
        self._names: TileNames | None = None

    def places(self, names: list[str]) -> npt.NDArray[np.int64]:
        """Return int64[n], the row of the archive that each name stands for, -1 for none."""
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


def parse_date(text: str) -> np.datetime64:
    """Return a date, or a date and time, in UTC.

    Raises:
      ValueError: it is not in ISO 8601.

    >>> parse_date("2021-06-30T12:00:00+02:00")
    np.datetime64('2021-06-30T10:00:00')
    """
    try:
        moment = datetime.datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None:
            moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    except OverflowError as error:  # of the years 1 and 9999
        raise ValueError(f"{text!r} is no date in UTC: {error}") from error
    return np.datetime64(moment, "s")


def is_day(text: str) -> bool:
    """Return whether a date in ISO 8601 says no time.

    >>> is_day("2021-06-30"), is_day("20210630"), is_day("2021-06-30T00:00")
    (True, True, False)
    """
    try:
        datetime.date.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


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


def _fill(
    columns: dict[str, np.ndarray], place: int, row: dict[str, str], where: str, *, is_again: bool
) -> None:
    try:
        for name, column in columns.items():
            value = _value(name, row)
            if is_again and not _is_same(column[place], value):
                raise ValueError(f"{row['id']!r} has another {name} here than above; keep one")
            if value is not None:
                column[place] = value
    except ValueError as error:
        raise RetrievalError(f"{where}: {error}.") from error


def _value(name: str, row: dict[str, str]) -> Any:
    """Return what a row says for a column; None for nothing.

    Raises:
      ValueError: it cannot be read.
    """
    if name == "label":
        return row["label"]
    if name == "date":
        return parse_date(row["date"]) if row["date"].strip() else None
    sides = [row[side] for side in BOX_SIDES]
    return np.array(checked_box(sides)) if any(side.strip() for side in sides) else None


def _is_same(held: Any, value: Any) -> bool:
    if value is None:
        return bool(np.all(np.isnat(held) if isinstance(held, np.datetime64) else np.isnan(held)))
    return bool(np.all(held == value))


def _stored(column: np.ndarray) -> np.ndarray:
    return encoded_texts(column.tolist()) if column.dtype == object else column
