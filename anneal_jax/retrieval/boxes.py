"""Boxes on a globe: west, south, east, north, in degrees if possible, else on a plane.

Longitudes are compared modulo 360. A box across the 180th meridian has its east above 180, as in archives,
or below its west, as in RFC 7946 (section 5.2); both forms are accepted.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

_FARTHEST_DEG = 540.0
_TURNS = (-2, -1, 0, 1, 2)


def checked_box(sides: Sequence[str]) -> tuple[float, float, float, float]:
    """Return a box from texts, its east at or above its west.

    West may be above east, for a box across the 180th meridian of at most half the globe; a wider box
    counts as a mistake.

    Raises:
      ValueError: the texts are not a box.

    >>> checked_box(["170", "-20", "-170", "-10"])
    (170.0, -20.0, 190.0, -10.0)
    """
    west, south, east, north = map(float, sides)
    if -180.0 <= east < west <= 180.0 and east + 360.0 - west <= 180.0:
        east += 360.0
    if not (all(map(math.isfinite, (west, south, east, north))) and west <= east and south <= north):
        raise ValueError(
            f"bounds {', '.join(sides)} are not west <= east and south <= north, nor a box across the "
            "180th meridian, such as 170,-20,-170,-10"
        )
    return west, south, east, north


def touching(
    columns: Iterable[np.ndarray], wanted: tuple[float, float, float, float]
) -> list[npt.NDArray[np.bool_]]:
    """Return, shard by shard, which boxes float64[n, 4] touch a given one; NaN touches nothing.

    Args:
      columns: boxes in one unit: degrees if all of them can be, else any other.
      wanted: the box, in the same unit.
    """
    shards = [np.asarray(column) for column in columns]
    in_degrees = all(map(are_in_degrees, [np.array([wanted]), *shards]))
    west, south, east, north = wanted
    found = []
    for w, s, e, n in (boxes.T for boxes in shards):
        beside = [
            (w + 360.0 * turn <= east) & (e + 360.0 * turn >= west)
            for turn in (_TURNS if in_degrees else (0,))
        ]
        found.append(np.any(beside, axis=0) & (s <= north) & (n >= south))
    return found


def as_rfc7946(box: Sequence[float]) -> list[float]:
    """Return a box in degrees as RFC 7946 writes it: longitudes within 180, west above east across 180.

    >>> as_rfc7946([170, -20, 190, -10]), as_rfc7946([-180, -90, 180, 90])
    ([170, -20, -170.0, -10], [-180, -90, 180, 90])
    """
    west, south, east, north = box
    if not are_in_degrees(np.array([box])):
        return list(box)
    if east - west >= 360.0:
        return [-180.0 if west != -180 else west, south, 180.0 if east != 180 else east, north]
    return [_within_180(west), south, _within_180(east), north]


def _within_180(longitude: float) -> float:
    return longitude if -180.0 <= longitude <= 180.0 else (longitude + 180.0) % 360.0 - 180.0


def are_in_degrees(boxes: np.ndarray) -> bool:
    """Return whether all boxes float64[n, 4] may be in degrees."""
    west, south, east, north = np.abs(boxes).T
    longest = np.fmax(west, east).max(initial=0.0, where=np.isfinite(west))
    return bool(longest <= _FARTHEST_DEG and np.nanmax(np.fmax(south, north), initial=0.0) <= 90.0)
