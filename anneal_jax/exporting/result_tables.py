"""Search results as tables: CSV, and GeoParquet 1.1 for QGIS, DuckDB and GeoPandas."""

import csv
import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from anneal_jax.data.wkb import box_polygons
from anneal_jax.errors import ConfigError
from anneal_jax.exporting.geojson import require_places
from anneal_jax.exporting.parquet import GEOMETRY, bounds_in_degrees, geo_metadata, import_arrow
from anneal_jax.retrieval.boxes import as_rfc7946
from anneal_jax.retrieval.columns import COLUMNS
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.results import ResultRow, Results, result_rows

_SIDES = COLUMNS["box"].fields
_TEXTS = ("query", "rank", "id", "similarity", "class", "group", "mark", "date")


def results_csv(
    index: TileIndex, results: Sequence[Results], files: Sequence[Sequence[str]] | None = None
) -> str:
    """Return results as CSV with a header: one line per result, with empty fields for unknown values.

    Columns: `query`, `rank`, `id`, `similarity`, `class`, `group`, `mark`, `date`, `west`, `south`, `east`,
    `north`, `archive`, and `file` if files are given. A box across the 180th meridian has west above east.

    Args:
      index: the index that was searched.
      results: results of all queries.
      files: names of the copied files for each query.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*_TEXTS, *_SIDES, "archive", *([] if files is None else ["file"])])
    for number, found in enumerate(results):
        for row in result_rows(index, found):
            sides = as_rfc7946(row.box) if row.box else [None] * len(_SIDES)
            copied = [] if files is None else [files[number][row.rank - 1]]
            writer.writerow([*_fields(row).values(), *sides, row.archive, *copied])
    return buffer.getvalue()


def results_geoparquet(index: TileIndex, results: Sequence[Results]) -> bytes:
    """Return results as a GeoParquet file: the columns of `results_csv`, and `geometry`.

    East of a box across the 180th meridian is above 180, and its geometry has two polygons.

    Args:
      index: the index that was searched.
      results: results of all queries.

    Raises:
      RetrievalError: pyarrow is not installed.
      ConfigError: the index has no places of its tiles, or they are not in degrees.

    Source: GeoParquet 1.1.0.
    """
    pyarrow, parquet = import_arrow("pyarrow"), import_arrow("pyarrow.parquet")
    require_places(index)
    rows = [row for found in results for row in result_rows(index, found)]
    boxes = _boxes(rows)
    bounds = bounds_in_degrees([boxes])
    if bounds is None:
        raise ConfigError("no result has a place in degrees, which GeoParquet needs; export CSV instead.")
    columns = {name: [_fields(row)[name] for row in rows] for name in _TEXTS}
    arrays = {name: pyarrow.array(values, _type(pyarrow, name)) for name, values in columns.items()}
    arrays |= {side: pyarrow.array(boxes[:, place]) for place, side in enumerate(_SIDES)}
    arrays["archive"] = pyarrow.array([row.archive for row in rows], pyarrow.string())
    arrays[GEOMETRY] = pyarrow.array(box_polygons(boxes), pyarrow.binary())
    table = pyarrow.table(arrays).replace_schema_metadata({"geo": json.dumps(geo_metadata(bounds))})
    buffer = io.BytesIO()
    parquet.write_table(table, buffer)
    return buffer.getvalue()


def has_places(index: TileIndex, results: Sequence[Results]) -> bool:
    """Return whether the place of some result is known in degrees."""
    return bounds_in_degrees([_boxes(list(result_rows(index, found))) for found in results]) is not None


def _boxes(rows: Sequence[ResultRow]) -> npt.NDArray[np.float64]:
    """Return float64[M, 4], NaN for an unknown place."""
    return np.array([row.box or [np.nan] * len(_SIDES) for row in rows], np.float64).reshape(-1, 4)


def _fields(row: ResultRow) -> dict[str, Any]:
    values = (
        row.query,
        row.rank,
        row.id,
        row.similarity,
        row.class_name,
        row.group,
        row.mark,
        row.date,
    )
    return dict(zip(_TEXTS, values, strict=True))


def _type(pyarrow: Any, name: str) -> Any:
    return {"rank": pyarrow.int32(), "similarity": pyarrow.float64()}.get(name, pyarrow.string())
