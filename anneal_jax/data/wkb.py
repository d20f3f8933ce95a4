"""Well-known binary (WKB) geometries: their bounding boxes, and boxes as polygons.

Source: OGC 06-103r4 (Simple Features), and PostGIS's flags for Z, M and an identifier of the system.
"""

import itertools
import struct
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from anneal_jax.data.parquet_columns import RowFault

_POINT, _POLYGON, _MULTIPOLYGON = 1, 3, 6
_SINGLE, _NESTED = {_POINT, 2, _POLYGON}, {4, 5, _MULTIPOLYGON, 7}
_Z, _M, _SRID = 0x80000000, 0x40000000, 0x20000000
_DEEPEST = 8  # maximum nesting of collections
_RING = [(0, 1), (2, 1), (2, 3), (0, 3), (0, 1)]  # west south, east south, ...: anticlockwise

_Boxes = npt.NDArray[np.float64]


def wkb_boxes(
    data: npt.NDArray[np.uint8], ends: npt.NDArray[np.int64], *, in_degrees: bool = True
) -> _Boxes:
    """Return the bounding boxes of geometries; points and polygons without holes are read in bulk.

    Args:
      data: uint8[bytes], concatenated geometries.
      ends: int64[n + 1], start of each, and end of the last.
      in_degrees: whether x is a longitude, so that a geometry may cross the 180th meridian: a polygon wider
        than 180 and narrower than 360, or several parts that are closer across it. East of its box is then
        above 180.

    Returns:
      float64[n, 4], left, bottom, right, top; NaN for an empty geometry or no bytes.

    Raises:
      RowFault: a geometry is malformed.
    """
    lengths = np.diff(ends)
    boxes = np.full((len(lengths), 4), np.nan)
    is_left = lengths > 0
    for length, header, num_points in _common_shapes(np.unique(lengths).tolist()):
        rows = np.flatnonzero(lengths == length)
        blobs = data[ends[rows][:, None] + np.arange(length)]
        is_such = (blobs[:, : len(header)] == np.frombuffer(header, np.uint8)).all(axis=1)
        points = np.ascontiguousarray(blobs[is_such, len(header) :]).view("<f8").reshape(-1, num_points, 2)
        boxes[rows[is_such]] = _around(points, in_degrees)
        is_left[rows[is_such]] = False
    for row in np.flatnonzero(is_left).tolist():
        try:
            boxes[row] = _box(data[ends[row] : ends[row + 1]].tobytes(), in_degrees)
        except (struct.error, ValueError) as error:
            raise RowFault(f"has a geometry that is not WKB ({error})", row) from error
    return boxes


def box_polygons(boxes: _Boxes) -> list[bytes | None]:
    """Return boxes in degrees as polygons with an anticlockwise ring; None for a box with NaN.

    A box across the 180th meridian, with east above 180, becomes two polygons that meet there (RFC 7946,
    3.1.9).
    """
    return [None if np.isnan(box).any() else _polygon_or_two(*box) for box in boxes.tolist()]


def _common_shapes(lengths: list[int]) -> Iterator[tuple[int, bytes, int]]:
    """Yield the length, the header and the number of points of geometries that are read in bulk."""
    for length in lengths:
        if length == 21:
            yield length, struct.pack("<BI", 1, _POINT), 1
        elif length > 13 and (length - 13) % 16 == 0:
            num_points = (length - 13) // 16
            yield length, struct.pack("<BIII", 1, _POLYGON, 1, num_points), num_points


def _around(points: _Boxes, in_degrees: bool) -> _Boxes:
    """Return float64[n, 4] around points [n, p, 2]."""
    xs, ys = points[..., 0], points[..., 1]
    if in_degrees:
        width = np.ptp(xs, axis=1, keepdims=True)
        xs = np.where((width > 180.0) & (width < 360.0) & (xs < 0.0), xs + 360.0, xs)
    return np.stack([xs.min(axis=1), ys.min(axis=1), xs.max(axis=1), ys.max(axis=1)], axis=1)


def _box(blob: bytes, in_degrees: bool) -> _Boxes:
    parts, end = _parts(blob, 0, 0)
    if end != len(blob):
        raise ValueError(f"{len(blob) - end} bytes are left over")
    parts = [part for part in parts if len(part)]
    if not parts:
        return np.full(4, np.nan)
    boxes = np.concatenate([_around(part[None], in_degrees) for part in parts])
    shifted = boxes + np.where(boxes[:, 2:3] <= 0.0, 1.0, 0.0) * [360.0, 0.0, 360.0, 0.0]
    plain, across = (
        np.array([*found[:, :2].min(axis=0), *found[:, 2:].max(axis=0)]) for found in (boxes, shifted)
    )
    is_closer = in_degrees and plain[2] - plain[0] > 180.0 and across[2] - across[0] < plain[2] - plain[0]
    return across if is_closer else plain


def _parts(blob: bytes, place: int, depth: int) -> tuple[list[_Boxes], int]:
    """Return the points [p, 2] of each part of a geometry, and the position after it."""
    if depth > _DEEPEST:
        raise ValueError(f"collections are nested more than {_DEEPEST} deep")
    (byte_order,) = struct.unpack_from("<B", blob, place)
    if byte_order > 1:
        raise ValueError(f"the byte order is {byte_order}, not 0 or 1")
    order = "><"[byte_order]
    (code,) = struct.unpack_from(f"{order}I", blob, place + 1)
    place += 9 if code & _SRID else 5
    has_z, has_m = bool(code & _Z), bool(code & _M)
    dimensions, kind = divmod(code & ~(_Z | _M | _SRID), 1000)
    num_numbers = 2 + (has_z or dimensions in (1, 3)) + (has_m or dimensions in (2, 3))
    if dimensions > 3 or kind not in _SINGLE | _NESTED:
        raise ValueError(f"there is no geometry of the type {code}")
    if kind == _POINT:
        points, place = _points(blob, place, 1, num_numbers, order)
        return [points], place
    (count,) = struct.unpack_from(f"{order}I", blob, place)
    place += 4
    if kind in _NESTED:
        found = []
        for _ in range(count):  # a wrong count ends with the bytes
            inner, place = _parts(blob, place, depth + 1)
            found += inner
        return found, place
    if kind != _POLYGON:
        points, place = _points(blob, place, count, num_numbers, order)
        return [points], place
    outer = np.empty((0, 2))
    for ring in range(count):
        (num_points,) = struct.unpack_from(f"{order}I", blob, place)
        points, place = _points(blob, place + 4, num_points, num_numbers, order)
        outer = points if ring == 0 else outer
    return [outer], place


def _points(blob: bytes, place: int, count: int, num_numbers: int, order: str) -> tuple[_Boxes, int]:
    end = place + 8 * count * num_numbers
    if end > len(blob):
        raise ValueError(f"{count} points do not fit into its {len(blob)} bytes")
    numbers = np.frombuffer(blob, f"{order}f8", count * num_numbers, place).astype(np.float64)
    points = numbers.reshape(count, num_numbers)[:, :2]
    return points[~np.isnan(points).any(axis=1)], end  # an empty point is NaN


def _polygon_or_two(west: float, south: float, east: float, north: float) -> bytes:
    if east <= 180.0 or west >= 180.0:
        turn = 360.0 if west >= 180.0 else 0.0
        return _polygon(west - turn, south, east - turn, north)
    parts = _polygon(west, south, 180.0, north) + _polygon(-180.0, south, east - 360.0, north)
    return struct.pack("<BII", 1, _MULTIPOLYGON, 2) + parts


def _polygon(*box: float) -> bytes:
    numbers = itertools.chain.from_iterable((box[x], box[y]) for x, y in _RING)
    return struct.pack("<BIII10d", 1, _POLYGON, 1, len(_RING), *numbers)
