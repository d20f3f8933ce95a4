"""The columns of an index, in one table: their content, sources and possible conditions in a search.

A shard of n tiles stores an array [n, *shape] for each column in a separate .npy file. To add a column, add
a row to the table; increase `manifest.FORMAT` if readers of the old format could misread the new files.
"""

import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from anneal_jax.retrieval.boxes import checked_box
from anneal_jax.types import Archive

MAX_NORM = 1.01
"""Largest norm of a unit vector, allowing for rounding."""

FilterKind = Literal["one of", "touches", "between"]
"""Kind of condition on a column; see `filters`."""


class Column(NamedTuple):
    """A column: one property of each tile.

    Attributes:
      name: name, also in its file names.
      doc: description of its content.
      dtypes: NumPy's names of the types it may be stored in; "S" is UTF-8 as wide as a shard's longest.
      shape: of one tile's value.
      blank: value of a tile for which it is unknown; None if every tile has a value.
      fields: columns of a metadata file that provide it; none if no file can.
      parse: converts the texts of the fields to a value; ValueError if they cannot be read. Only for a text
        column may all be empty.
      filter: kind of condition that a search may use; None if there is none.
    """

    name: str
    doc: str
    dtypes: tuple[str, ...]
    shape: tuple[int | str, ...] = ()
    blank: Any = None
    fields: tuple[str, ...] = ()
    parse: Callable[[Sequence[str]], Any] = tuple
    filter: FilterKind | None = None

    @property
    def is_text(self) -> bool:
        """Whether it contains UTF-8."""
        return self.dtypes == ("S",)

    def blanks(self, num_rows: int) -> np.ndarray:
        """Return a read-only column of blank values, which takes no memory."""
        return np.broadcast_to(self.blank, (num_rows, *np.shape(self.blank)))


def encoded_texts(texts: Sequence[str]) -> np.ndarray:
    """Return texts as UTF-8 in an array of bytes, as wide as the longest.

    >>> encoded_texts(["river", "a"])
    array([b'river', b'a'], dtype='|S5')
    """
    width = max((len(text.encode()) for text in texts), default=0)
    return np.fromiter((text.encode() for text in texts), f"S{width or 1}", len(texts))


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
        raise ValueError(f"{text!r} is not a date in UTC: {error}") from error
    return np.datetime64(moment, "s")


def is_day(text: str) -> bool:
    """Return whether a date in ISO 8601 has no time.

    >>> is_day("2021-06-30"), is_day("20210630"), is_day("2021-06-30T00:00")
    (True, True, False)
    """
    try:
        datetime.date.fromisoformat(text.strip())
    except ValueError:
        return False
    return True


COLUMNS: Mapping[str, Column] = {
    column.name: column
    for column in (
        Column("vectors", "embedding, of unit norm or zero", ("float16", "float32"), ("D",)),
        Column("ids", "the tile's id in UTF-8", ("S",)),
        Column("digests", "SHA-256 of the tile's stored bytes", ("uint8",), (32,)),
        Column(
            "label",
            "class, which overrides the archive's own",
            ("S",),
            blank=np.bytes_(b""),
            fields=("label",),
            parse=lambda texts: texts[0].encode(),
            filter="one of",
        ),
        Column(
            "date",
            "moment in UTC; a file gives it in ISO 8601, such as 2021-06-30 or 2021-06-30T10:15:00Z",
            ("datetime64[s]",),
            blank=np.datetime64("NaT", "s"),
            fields=("date",),
            parse=lambda texts: parse_date(texts[0]),
            filter="between",
        ),
        Column(
            "box",
            "bounds, all in one unit for the index, such as degrees; west above east crosses 180 degrees",
            ("float64",),
            (4,),
            blank=np.full(4, np.nan),
            fields=("west", "south", "east", "north"),
            parse=checked_box,
            filter="touches",
        ),
    )
}
"""Columns by name. Those with a `blank` exist if the archive or a metadata file provided them."""


def archive_columns(archive: Archive) -> dict[str, np.ndarray]:
    """Return the columns that an archive provides, among `label`, `box` and `date`."""
    found: dict[str, np.ndarray] = {}
    if archive.labels is not None:
        found["label"] = encoded_texts([*archive.class_names, ""])[archive.labels]  # -1 selects the last
    if archive.boxes is not None:
        found["box"] = archive.boxes
    if archive.dates is not None:
        found["date"] = archive.dates
    return found
