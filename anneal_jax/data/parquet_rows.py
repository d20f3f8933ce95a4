"""The rows of Parquet files, collected batch by batch."""

import json
import pathlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from anneal_jax.data.embeddings import checked_vectors
from anneal_jax.data.labels import encode_labels
from anneal_jax.data.packed_texts import PackedTexts, packed_numbers
from anneal_jax.data.parquet_columns import (
    SIDES,
    Columns,
    RowFault,
    bytes_of,
    dates_of,
    ids_of,
    numbers_of,
    texts_of,
    vectors_of,
)
from anneal_jax.data.scene_places import wgs84_boxes
from anneal_jax.data.scratch import FileVectors
from anneal_jax.data.wkb import wkb_boxes
from anneal_jax.errors import ArchiveError, how_to_install
from anneal_jax.types import FloatArray, IntArray

BYTES_IN_MEMORY = 2**28
"""Maximum bytes of vectors in memory; more go into a scratch file."""

READER_FAULTS = (OSError, ValueError, LookupError, TypeError, RuntimeError, ArithmeticError, MemoryError)
"""The errors that pyarrow raises for an invalid file or value."""

_DEGREES = {("OGC", "CRS84"), ("EPSG", "4326"), ("EPSG", "4979")}
_MAX_EAST_DEG = 540.0


class Rows:
    """N rows, filled from the first to the last.

    Attributes:
      vectors: float32[N, D], in memory or in a file.
      boxes: float64[N, 4] in degrees, NaN if unknown; None without columns of places.
      dates: datetime64[s][N]; None without a column.
    """

    vectors: FloatArray | FileVectors

    def __init__(self, num_rows: int, columns: Columns):
        self._num_rows, self._columns, self._filled = num_rows, columns, 0
        self._ids, self._id_ends = bytearray(), np.empty(num_rows if columns.id else 0, np.int64)
        self._codes = np.full(num_rows if columns.label else 0, -1, np.int32)
        self._classes: dict[str, int] = {}
        self.dates = np.full(num_rows, "NaT", "datetime64[s]") if columns.date else None
        self.boxes = np.full((num_rows, 4), np.nan) if columns.places else None

    @property
    def dim(self) -> int:
        """D, numbers per vector."""
        return self.vectors.shape[1]

    def ids(self) -> PackedTexts:
        """Return the ids, or `row` with a number."""
        if self._columns.id is None:
            return packed_numbers("row", self._num_rows)
        return PackedTexts(self._ids, self._id_ends)

    def labels(self) -> tuple[IntArray | None, tuple[str, ...]]:
        """Return labels and class names in the form of `Archive`."""
        numbers, names = encode_labels(list(self._classes))
        if numbers is None:
            return None, ()
        return np.append(numbers, np.int32(-1))[self._codes], names

    def take(self, batch: Any, path: pathlib.Path, first: int, crs: Any) -> None:
        """Add the next rows.

        Args:
          batch: an Arrow record batch.
          path: path of its file.
          first: number of its first row in the file.
          crs: coordinate reference system of its geometry as PROJJSON; None if not given.

        Raises:
          ArchiveError: a value cannot be used.
        """
        columns, here = self._columns, slice(self._filled, self._filled + batch.num_rows)
        self._take_vectors(batch, path, first, here)
        if columns.id is not None:
            with _blamed(path, columns.id, first):
                data, ends = ids_of(batch.column(columns.id))
            self._id_ends[here] = ends + len(self._ids)
            self._ids += data
        if columns.label is not None:
            with _blamed(path, columns.label, first):
                names = texts_of(batch.column(columns.label)).to_pylist()
            self._codes[here] = [
                self._classes.setdefault(name, len(self._classes)) if name else -1 for name in names
            ]
        if self.dates is not None and columns.date is not None:
            with _blamed(path, columns.date, first, "?date=none leaves dates out"):
                self.dates[here] = dates_of(batch.column(columns.date))
        if self.boxes is not None:
            with _blamed(path, ", ".join(columns.places), first, "?geometry=none leaves places out"):
                self.boxes[here] = _boxes([batch.column(name) for name in columns.places], crs)
        self._filled = here.stop

    def _take_vectors(self, batch: Any, path: pathlib.Path, first: int, here: slice) -> None:
        columns = self._columns
        scale = columns.scale
        if isinstance(scale, str):
            with _blamed(path, scale, first):
                scale = numbers_of(batch.column(scale))
        with _blamed(path, columns.vector, first):
            stored = vectors_of(batch.column(columns.vector), scale)
        vectors = checked_vectors(stored, path, first_row=first)
        if not self._filled:
            shape = (self._num_rows, vectors.shape[1])
            is_small = 4 * shape[0] * shape[1] <= BYTES_IN_MEMORY
            self.vectors = np.empty(shape, np.float32) if is_small else FileVectors(*shape)
        if vectors.shape[1] != self.dim:
            raise ArchiveError(
                f"{path}: from row {first:,} on, vectors have {vectors.shape[1]} numbers, and those before "
                f"have {self.dim}; an archive holds vectors of one length"
            )
        self.vectors[here] = vectors


@contextmanager
def _blamed(path: pathlib.Path, column: str, first: int, advice: str = "") -> Iterator[None]:
    """Turn an error about a value into a message; pyarrow's errors are also ValueErrors."""
    ending = f"; {advice}" if advice else ""
    try:
        yield
    except RowFault as error:
        row = first + error.row
        raise ArchiveError(
            f"{path}: the column {column!r} {error.fault} in row {row:,}, counted from 0{ending}"
        ) from error
    except READER_FAULTS as error:
        text = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ArchiveError(f"{path}: the column {column!r} cannot be used: {text}{ending}") from error


def _boxes(places: list[Any], crs: Any) -> npt.NDArray[np.float64]:
    """Return float64[n, 4], west, south, east, north in degrees.

    Raises:
      ValueError: a geometry is malformed, or a box is not in degrees.
    """
    if len(places) == 1:
        in_degrees = crs is None or _is_degrees(crs)
        boxes = wkb_boxes(*bytes_of(places[0]), in_degrees=in_degrees)
        if not in_degrees:
            boxes = _to_degrees(boxes, crs)
    else:
        numbers = np.stack([numbers_of(place) for place in places], axis=1)
        boxes = numbers if len(places) == len(SIDES) else np.tile(numbers, 2)
    boxes[np.isnan(boxes).any(axis=1)] = np.nan
    if len(places) < len(SIDES):  # the sides of an exported index may be in any unit
        _require_degrees(boxes)
    return boxes


def _require_degrees(boxes: npt.NDArray[np.float64]) -> None:
    west, south, east, north = boxes.T
    is_wrong = (west < -180.0) | (east > _MAX_EAST_DEG) | (south < -90.0) | (north > 90.0)
    if is_wrong.any():
        row = int(np.argmax(is_wrong))
        raise RowFault(f"has the bounds {boxes[row].tolist()}, which are not degrees,", row)


def _is_degrees(crs: Any) -> bool:
    about = crs.get("id") if isinstance(crs, dict) else None
    if not isinstance(about, dict):
        return False
    return (about.get("authority"), str(about.get("code"))) in _DEGREES


def _to_degrees(boxes: npt.NDArray[np.float64], crs: Any) -> npt.NDArray[np.float64]:
    is_known = np.isfinite(boxes).all(axis=1)
    try:
        boxes[is_known] = wgs84_boxes(json.dumps(crs), boxes[is_known])
    except ArchiveError as error:  # rasterio is missing
        raise ValueError(
            f"it is not in degrees, and needs rasterio; install it with {how_to_install('geotiff')}"
        ) from error
    return boxes
