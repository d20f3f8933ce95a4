"""Filters the tiles of an index that a search may return: by class, place or date."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ConfigError, RetrievalError, nearest_hint, unknown_name
from anneal_jax.retrieval.boxes import checked_box, touching
from anneal_jax.retrieval.columns import COLUMNS, is_day, parse_date
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.text import Names

Conditions = Mapping[str, Any]
"""Conditions by name of the column; all must hold, and a tile without a value meets none.

A condition depends on the column's `filter`. "one of": texts. "touches": (west, south, east, north), in the
index's unit. "between": (first, last), both included, None for an open end.
"""


def parse_filter(
    classes: Sequence[str], box: Sequence[str] | None, since: str | None, until: str | None
) -> Conditions:
    """Parse conditions from texts, as given by flags.

    Args:
      classes: names of classes, one of which must be the tile's; empty allows any.
      box: west, south, east, north, which the tile's bounds must touch.
      since: date, or date and time, in ISO 8601, UTC.
      until: likewise; a date includes the whole day.

    Raises:
      ConfigError: a text cannot be read.

    >>> parse_filter(["river"], ["5", "50", "6.5", "51"], None, None)
    {'label': ('river',), 'box': (5.0, 50.0, 6.5, 51.0)}
    """
    try:
        sides = COLUMNS["box"].fields
        if box and len(box) != len(sides):
            raise ValueError(f"{','.join(box)} has {len(box)} parts")
        bounds = checked_box(box) if box else None
        moments = parse_date(since) if since else None, last_moment(until) if until else None
    except ValueError as error:
        raise ConfigError(
            f"the conditions cannot be read ({error}); boxes are west,south,east,north, dates 2021-06-30."
        ) from error
    return {
        **({"label": tuple(classes)} if classes else {}),
        **({"box": bounds} if bounds else {}),
        **({"date": moments} if since or until else {}),
    }


def last_moment(text: str) -> np.datetime64:
    """Return the last moment of a date, or the given date and time.

    Raises:
      ValueError: it is not in ISO 8601.

    >>> last_moment("2021-06-30")
    np.datetime64('2021-06-30T23:59:59')
    """
    return parse_date(text) + np.timedelta64(86_399 if is_day(text) else 0, "s")


def allowed_tiles(index: TileIndex, conditions: Conditions) -> list[npt.NDArray[np.bool_]] | None:
    """Return, shard by shard, bool[n]: whether each tile meets the conditions; None without conditions.

    Raises:
      ConfigError: a column allows no condition, or is unknown.
      RetrievalError: the index has no such column or class, or no tile meets the conditions.
    """
    if not conditions:
        return None
    masks = [np.ones(record.num_rows, np.bool_) for record in index.shards]
    for name, wanted in conditions.items():
        if name not in (known := [column.name for column in COLUMNS.values() if column.filter]):
            raise unknown_name("condition", name, known)
        shards = _column(index, name)
        for mask, meets in zip(masks, _FILTERS[COLUMNS[name].filter](shards, wanted), strict=True):
            np.logical_and(mask, meets, out=mask)
    if not any(mask.any() for mask in masks):
        raise RetrievalError("no tile of the index meets all the conditions; widen one of them.")
    return masks


def _is_one_of(shards: Sequence[np.ndarray], names: Sequence[str]) -> list[npt.NDArray[np.bool_]]:
    known = np.array(_known_classes(shards, names))
    return [np.isin(values, known) for values in shards]


def _is_between(shards: Sequence[np.ndarray], wanted: tuple[Any, Any]) -> list[npt.NDArray[np.bool_]]:
    first, last = wanted

    def meets(values: np.ndarray) -> npt.NDArray[np.bool_]:
        is_in = values == values  # neither NaN nor NaT
        if first is not None:
            is_in &= values >= first
        if last is not None:
            is_in &= values <= last
        return is_in

    return [meets(values) for values in shards]


# Each maps the shards of a column and a condition to the tiles that meet it, shard by shard.
_FILTERS: Mapping[str | None, Callable[[Sequence[np.ndarray], Any], list[npt.NDArray[np.bool_]]]] = {
    "one of": _is_one_of,
    "touches": touching,
    "between": _is_between,
}


def _column(index: TileIndex, name: str) -> list[np.ndarray]:
    column = index.column(name)
    if column is None:
        raise RetrievalError(
            f"the index in {index.folder} has no {name} of its tiles; write a new one with "
            "launch/embed.py --metadata=FILE.csv."
        )
    return column


def _known_classes(shards: Sequence[np.ndarray], names: Sequence[str]) -> list[bytes]:
    """Return the classes of the index that match names, as stored."""
    known = Names(value.decode() for shard in shards for value in np.unique(shard).tolist() if value)
    found = []
    for name in names:
        if not (meant := known.find(name)):
            raise RetrievalError(f"no tile of the index has the class {name!r}{nearest_hint(name, known)}.")
        found += [spelling.encode() for spelling in meant]
    return found
