"""Which tiles of an index a search may return: by class, by place, by date."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ConfigError, RetrievalError, nearest_hint
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.metadata import parse_date


@dataclasses.dataclass(frozen=True)
class TileFilter:
    """Conditions on a tile, all of which must hold. A tile of which nothing is known meets none.

    Attributes:
      classes: names, one of which must be the tile's; empty: any.
      box: west, south, east, north, which the tile's bounds must touch; in the index's unit.
      since: the first moment, UTC.
      until: the last moment, UTC.
    """

    classes: tuple[str, ...] = ()
    box: tuple[float, float, float, float] | None = None
    since: np.datetime64 | None = None
    until: np.datetime64 | None = None

    def __bool__(self) -> bool:
        return self != TileFilter()


def parse_filter(
    classes: Sequence[str], box: Sequence[str] | None, since: str | None, until: str | None
) -> TileFilter:
    """Return a filter from texts, as flags give them.

    Args:
      classes: names of classes.
      box: west, south, east, north.
      since: date, or date and time, in ISO 8601.
      until: likewise; a date means to its end.

    Raises:
      ConfigError: a text cannot be read.

    >>> parse_filter(["river"], ["5", "50", "6.5", "51"], None, None).box
    (5.0, 50.0, 6.5, 51.0)
    """
    try:
        west, south, east, north = map(float, box or (0, 0, 0, 0))
        return TileFilter(
            tuple(classes),
            (west, south, east, north) if box else None,
            parse_date(since) if since else None,
            last_moment(until) if until else None,
        )
    except ValueError as error:
        raise ConfigError(
            f"the conditions cannot be read ({error}); a box is west,south,east,north, a date 2021-06-30."
        ) from error


def last_moment(text: str) -> np.datetime64:
    """Return the moment that a date ends with, or the date and time that is given.

    Raises:
      ValueError: it is not in ISO 8601.

    >>> last_moment("2021-06-30")
    np.datetime64('2021-06-30T23:59:59')
    """
    is_day = len(text) == len("2021-06-30")
    return parse_date(text) + np.timedelta64(86_399 if is_day else 0, "s")


def allowed_tiles(index: TileIndex, wanted: TileFilter) -> list[npt.NDArray[np.bool_]] | None:
    """Return, shard by shard, bool[n]: which tiles meet the conditions; None where there are none.

    Raises:
      RetrievalError: the index knows no such column, has no such class, or no tile meets the conditions.
    """
    if not wanted:
        return None
    masks = [np.ones(record.num_rows, np.bool_) for record in index.shards]
    if wanted.classes:
        _require_classes(index, wanted.classes)
        names = np.array([name.encode() for name in wanted.classes])
        _restrict(masks, [np.isin(labels, names) for labels in _column(index, "label")])
    if wanted.box is not None:
        west, south, east, north = wanted.box
        if west > east or south > north:
            raise RetrievalError(f"the box {wanted.box} is empty; give west,south,east,north.")
        boxes = (np.asarray(column).T for column in _column(index, "box"))
        _restrict(masks, [(w <= east) & (e >= west) & (s <= north) & (n >= south) for w, s, e, n in boxes])
    if wanted.since is not None:
        _restrict(masks, [column >= wanted.since for column in _column(index, "date")])
    if wanted.until is not None:
        _restrict(masks, [column <= wanted.until for column in _column(index, "date")])
    if not any(mask.any() for mask in masks):
        raise RetrievalError("no tile of the index meets all the conditions; widen one of them.")
    return masks


def _restrict(masks: list[npt.NDArray[np.bool_]], others: Sequence[np.ndarray]) -> None:
    for mask, other in zip(masks, others, strict=True):
        np.logical_and(mask, other, out=mask)


def _column(index: TileIndex, name: str) -> list[np.ndarray]:
    column = index.column(name)
    if column is None:
        raise RetrievalError(
            f"the index in {index.folder} knows no {name} of its tiles; write it with --metadata=FILE.csv."
        )
    return column


def _require_classes(index: TileIndex, names: Sequence[str]) -> None:
    known = {value.decode() for labels in _column(index, "label") for value in np.unique(labels).tolist()}
    for name in names:
        if name not in known:
            raise RetrievalError(f"no tile of the index has the class {name!r}{nearest_hint(name, known)}.")
