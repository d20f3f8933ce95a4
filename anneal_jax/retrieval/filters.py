"""Which tiles of an index a search may return: by class, by place, by date."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ConfigError, RetrievalError, nearest_hint, unknown_name
from anneal_jax.retrieval.columns import COLUMNS, parse_date
from anneal_jax.retrieval.index_reader import TileIndex

Conditions = Mapping[str, Any]
"""What is asked of columns, by their names; all must hold, and a tile of which nothing is known meets none.

What is asked depends on the column's `filter`. "one of": texts. "touches": (west, south, east, north), in
the index's unit. "between": (first, last), both included, None for an open end.
"""


def parse_filter(
    classes: Sequence[str], box: Sequence[str] | None, since: str | None, until: str | None
) -> Conditions:
    """Return conditions from texts, as flags give them.

    Args:
      classes: names of classes, one of which must be the tile's; empty: any.
      box: west, south, east, north, which the tile's bounds must touch.
      since: date, or date and time, in ISO 8601, UTC.
      until: likewise; a date means to its end.

    Raises:
      ConfigError: a text cannot be read.

    >>> parse_filter(["river"], ["5", "50", "6.5", "51"], None, None)
    {'label': ('river',), 'box': (5.0, 50.0, 6.5, 51.0)}
    """
    try:
        west, south, east, north = map(float, box or (0, 0, 0, 0))
        moments = parse_date(since) if since else None, last_moment(until) if until else None
    except ValueError as error:
        raise ConfigError(
            f"the conditions cannot be read ({error}); a box is west,south,east,north, a date 2021-06-30."
        ) from error
    return {
        **({"label": tuple(classes)} if classes else {}),
        **({"box": (west, south, east, north)} if box else {}),
        **({"date": moments} if since or until else {}),
    }


def last_moment(text: str) -> np.datetime64:
    """Return the moment that a date ends with, or the date and time that is given.

    Raises:
      ValueError: it is not in ISO 8601.

    >>> last_moment("2021-06-30")
    np.datetime64('2021-06-30T23:59:59')
    """
    is_day = len(text) == len("2021-06-30")
    return parse_date(text) + np.timedelta64(86_399 if is_day else 0, "s")


def allowed_tiles(index: TileIndex, conditions: Conditions) -> list[npt.NDArray[np.bool_]] | None:
    """Return, shard by shard, bool[n]: which tiles meet the conditions; None where there are none.

    Raises:
      ConfigError: a column takes no condition, or is unknown.
      RetrievalError: the index knows no such column, has no such class, or no tile meets the conditions.
    """
    if not conditions:
        return None
    masks = [np.ones(record.num_rows, np.bool_) for record in index.shards]
    for name, wanted in conditions.items():
        if name not in (known := [column.name for column in COLUMNS.values() if column.filter]):
            raise unknown_name("condition", name, known)
        meets = _FILTERS[COLUMNS[name].filter]
        if meets is _touches:
            _require_box(wanted)
        shards = _column(index, name)
        if meets is _is_one_of:
            _require_classes(shards, wanted)
        for mask, values in zip(masks, shards, strict=True):
            np.logical_and(mask, meets(values, wanted), out=mask)
    if not any(mask.any() for mask in masks):
        raise RetrievalError("no tile of the index meets all the conditions; widen one of them.")
    return masks


def _is_one_of(values: np.ndarray, texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    return np.isin(values, np.array([text.encode() for text in texts]))


def _touches(boxes: np.ndarray, wanted: tuple[float, float, float, float]) -> npt.NDArray[np.bool_]:
    west, south, east, north = wanted
    w, s, e, n = np.asarray(boxes).T
    return (w <= east) & (e >= west) & (s <= north) & (n >= south)


def _is_between(values: np.ndarray, wanted: tuple[Any, Any]) -> npt.NDArray[np.bool_]:
    first, last = wanted
    is_in = values == values  # neither NaN nor NaT
    if first is not None:
        is_in &= values >= first
    if last is not None:
        is_in &= values <= last
    return is_in


_FILTERS: Mapping[str | None, Callable[[np.ndarray, Any], npt.NDArray[np.bool_]]] = {
    "one of": _is_one_of,
    "touches": _touches,
    "between": _is_between,
}


def _column(index: TileIndex, name: str) -> list[np.ndarray]:
    column = index.column(name)
    if column is None:
        raise RetrievalError(
            f"the index in {index.folder} knows no {name} of its tiles; write it with --metadata=FILE.csv."
        )
    return column


def _require_box(box: tuple[float, float, float, float]) -> None:
    west, south, east, north = box
    if west > east or south > north:
        raise RetrievalError(f"the box {box} is empty; give west,south,east,north.")


def _require_classes(shards: Sequence[np.ndarray], names: Sequence[str]) -> None:
    known = {value.decode() for labels in shards for value in np.unique(labels).tolist()}
    for name in names:
        if name not in known:
            raise RetrievalError(f"no tile of the index has the class {name!r}{nearest_hint(name, known)}.")
