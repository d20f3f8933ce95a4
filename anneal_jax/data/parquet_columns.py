"""Finds the columns of a Parquet file and converts their values to arrays.

The guesses are the column names of published products, which docs/embeddings.md lists.
"""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ArchiveError, nearest_hint
from anneal_jax.types import FloatArray

PARQUET_OPTIONS = ("vector", "id", "label", "date", "geometry", "scale")
"""Names of the options of `embeddings:` for Parquet; docs/embeddings.md explains them."""

SIDES = ("west", "south", "east", "north")

_GUESSES = {
    "vector": ("embedding", "embeddings", "vector"),
    "id": ("unique_id", "id", "chips_id", "file_id"),
    "label": ("label",),
    "date": ("timestamp", "datetime", "date", "time"),
    "scale": ("scale", "scales"),
}
_CENTRES = (("centre_lon", "centre_lat"), ("center_lon", "center_lat"))


class RowFault(ValueError):  # noqa: N818 - what is wrong, not an error of the program
    """One row cannot be used.

    Attributes:
      fault: end of a sentence that starts with the column.
      row: row number.
    """

    def __init__(self, fault: str, row: int):
        super().__init__(f"{fault} in row {row}")
        self.fault, self.row = fault, row


class Columns(NamedTuple):
    """Names of the columns to read.

    Attributes:
      vector: column with lists of numbers.
      id, label, date: columns; None if there is none.
      scale: a column with one number per row, or a single number, by which 8-bit vectors are multiplied.
      places: `SIDES`, a geometry, a longitude and a latitude, or nothing.
    """

    vector: str
    id: str | None
    label: str | None
    date: str | None
    scale: str | float | None
    places: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """All of them."""
        single = (self.vector, self.id, self.label, self.date, self.scale)
        return [*(name for name in single if isinstance(name, str)), *self.places]


def choose_columns(names: Sequence[str], options: Mapping[str, str], primary_geometry: str = "") -> Columns:
    """Return the columns that the options name, or else the first guess that the file has.

    Args:
      names: names of the file's columns.
      options: options by name; `none` instead of a column reads none.
      primary_geometry: the column that GeoParquet's metadata names.

    Raises:
      ArchiveError: a column is missing or occurs twice, or no column can be the vectors.

    >>> choose_columns(["id", "embedding", "geometry"], {}).places
    ('geometry',)
    """
    found = {what: _chosen(what, names, options) for what in _GUESSES}
    if found["vector"] is None:
        raise ArchiveError(
            f"has no column {', '.join(_GUESSES['vector'])}; name the column of vectors, as in "
            f"?vector=NAME, among {', '.join(names) or 'none'}"
        )
    scale = found["scale"]
    columns = Columns(
        vector=found["vector"],
        id=found["id"],
        label=found["label"],
        date=found["date"],
        scale=scale,
        places=_places(names, options, primary_geometry),
    )
    if "scale" in options and scale is None and options["scale"] != "none":
        columns = columns._replace(scale=_positive(options["scale"]))
    for name in columns.names:
        if list(names).count(name) > 1:
            raise ArchiveError(f"has {names.count(name)} columns named {name!r}; keep one")
    return columns


def vectors_of(array: Any, scale: npt.ArrayLike | None) -> FloatArray:
    """Return float32[n, D] of an Arrow array of lists.

    Args:
      array: list, large_list or fixed_size_list of float16, float32, float64 or int8.
      scale: float[n] or one number, by which int8 vectors are multiplied; None means 1.

    Raises:
      ValueError: a list is null, contains null or differs in length from the first; or the type is
        unsupported.
    """
    types, compute = _arrow().types, _compute()
    array = getattr(array, "storage", array)  # for an extension type
    kind = array.type
    if not (types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)):
        raise ValueError(f"holds {kind}; a vector is a list of numbers")
    inner = kind.value_type
    if not (types.is_floating(inner) or types.is_int8(inner)):
        raise ValueError(
            f"holds lists of {inner}; a vector is one list of float16, float32, float64 or int8 numbers"
        )
    _refuse(np.asarray(array.is_null()), "null instead of a vector")
    lengths = compute.list_value_length(array).to_numpy(zero_copy_only=False)
    dim = int(lengths[0])
    _refuse(lengths != dim, f"another length than the {dim} numbers of the rows before")
    values = array.flatten()
    if values.null_count:
        _refuse(np.asarray(values.is_null()).reshape(len(array), dim).any(axis=1), "null among its numbers")
    numbers = values.to_numpy(zero_copy_only=False).reshape(len(array), dim)
    if numbers.dtype == np.int8:
        numbers = numbers.astype(np.float32) * _as_column(scale)
    return numbers


def texts_of(array: Any) -> Any:
    """Return texts or whole numbers as an Arrow array of large_string.

    Raises:
      ValueError: it has another type, or contains null.
    """
    arrow, compute = _arrow(), _compute()
    types, kind = arrow.types, array.type
    if types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    is_text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    if not (is_text or types.is_integer(kind)):
        raise ValueError(f"holds {kind}, but must hold texts or whole numbers")
    return compute.cast(array, arrow.large_string())


def ids_of(array: Any) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Return concatenated ids in UTF-8, and int64[n], the end of each.

    Raises:
      ValueError: they are not texts or whole numbers, or one is null or not in UTF-8.
    """
    texts = texts_of(array)
    _refuse(np.asarray(texts.is_null()), "null instead of an id")
    data, ends = bytes_of(texts)
    data.tobytes().decode()  # Arrow does not check it
    return data.tobytes(), ends[1:]


def dates_of(array: Any) -> npt.NDArray[np.datetime64]:
    """Return datetime64[s][n] in UTC, NaT for null.

    Raises:
      ValueError: its values are not dates, times or texts in ISO 8601.
    """
    arrow, compute = _arrow(), _compute()
    types, kind = arrow.types, array.type
    if types.is_timestamp(kind) or types.is_date(kind):
        if types.is_date(kind):
            array = compute.cast(array, arrow.timestamp("ms"))
        seconds = compute.cast(array, arrow.timestamp("s", array.type.tz), safe=False)
        return compute.cast(seconds, arrow.int64()).fill_null(_NAT).to_numpy().view("datetime64[s]")
    coded = compute.dictionary_encode(texts_of(array))
    known = [_moment(text) for text in coded.dictionary.to_pylist()]
    moments = np.array([*known, np.datetime64("NaT", "s")], "datetime64[s]")
    return moments[coded.indices.fill_null(len(known)).to_numpy()]


def numbers_of(array: Any) -> npt.NDArray[np.float64]:
    """Return float64[n], NaN for null.

    Raises:
      ValueError: its values are not numbers.
    """
    types = _arrow().types
    if not (types.is_floating(array.type) or types.is_integer(array.type)):
        raise ValueError(f"holds {array.type}, but must hold numbers")
    numbers = array.to_numpy(zero_copy_only=False).astype(np.float64)
    return np.where(np.asarray(array.is_null()), np.nan, numbers)


def bytes_of(array: Any) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Return the concatenated bytes of texts or blobs, and their bounds int64[n + 1]; null is empty.

    Raises:
      ValueError: they have another type.
    """
    arrow = _arrow()
    array = getattr(array, "storage", array)
    wide = _compute().cast(array, arrow.large_binary())
    wide = wide.fill_null(b"") if wide.null_count else wide
    _, offsets, data = wide.buffers()
    bounds = np.frombuffer(offsets, np.int64)[wide.offset : wide.offset + len(wide) + 1]
    whole = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return whole[bounds[0] : bounds[-1]], bounds - bounds[0]


_NAT = np.iinfo(np.int64).min  # as NumPy stores it


def _arrow() -> Any:
    import pyarrow  # the extra `parquet`

    return pyarrow


def _compute() -> Any:
    import pyarrow.compute

    return pyarrow.compute


def _chosen(what: str, names: Sequence[str], options: Mapping[str, str]) -> str | None:
    if what in options:
        name = options[what]
        if name in names:
            return name
        if what != "vector" and name == "none":
            return None
        if what == "scale":  # a number
            return None
        raise ArchiveError(
            f"has no column {name!r}{nearest_hint(name, names)} for ?{what}=; it has {', '.join(names)}"
        )
    return next((guess for guess in _GUESSES[what] if guess in names), None)


def _places(names: Sequence[str], options: Mapping[str, str], primary_geometry: str) -> tuple[str, ...]:
    if options.get("geometry") == "none":
        return ()
    if "geometry" in options:
        if options["geometry"] not in names:
            raise ArchiveError(
                f"has no column {options['geometry']!r} for ?geometry=; it has {', '.join(names)}"
            )
        return (options["geometry"],)
    guesses = [SIDES, (primary_geometry or "geometry",), ("geometry",), *_CENTRES]
    return next((guess for guess in guesses if set(guess) <= set(names)), ())


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0.0 < number < np.inf:
        raise ArchiveError(f"has no column {text!r} for ?scale=, a column or a number above 0")
    return number


def _as_column(scale: npt.ArrayLike | None) -> FloatArray:
    factors = np.atleast_1d(np.asarray(1.0 if scale is None else scale, np.float32))[:, None]
    _refuse(~((factors[:, 0] > 0.0) & np.isfinite(factors[:, 0])), "a scale that is not a number above 0")
    return factors


def _moment(text: str) -> np.datetime64:
    moment = datetime.datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        moment = moment.astimezone(datetime.UTC).replace(tzinfo=None)
    return np.datetime64(moment, "s")


def _refuse(is_bad: npt.ArrayLike, fault: str) -> None:
    if np.any(is_bad):
        raise RowFault(f"has {fault}", int(np.argmax(is_bad)))
