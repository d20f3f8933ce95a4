"""The embeddings of an index as Parquet, for Qdrant, LanceDB, DuckDB and pandas.

If the index has places in degrees, the file is GeoParquet 1.1, for QGIS and GeoPandas. Reading it as an
archive, `embeddings:FILE.parquet`, restores ids, vectors, classes, dates and boxes bit for bit.
"""

import importlib
import json
import os
from collections.abc import Container, Sequence
from typing import Any

import numpy as np

from anneal_jax.data.wkb import box_polygons
from anneal_jax.errors import RetrievalError, how_to_install
from anneal_jax.files import atomic
from anneal_jax.retrieval.columns import COLUMNS, Column
from anneal_jax.retrieval.index_reader import TileIndex

_FROM_FILE = [column for column in COLUMNS.values() if column.fields]

GEOMETRY = "geometry"
"""Name of the column of polygons."""


def write_parquet(index: TileIndex, path: str | os.PathLike[str]) -> None:
    """Write one row per tile, shard by shard, in the order of the index.

    Columns: `id` string; `embedding` fixed_size_list<float32>[D], unit norm; if the index has them, `label`
      string, `date` timestamp[s, UTC] and `west`, `south`, `east`, `north` double, null if unknown; and, if
      these are degrees, `geometry` binary, polygons in WKB. East of a box across the 180th meridian is
      above 180, and its geometry has two polygons. The memory needed is that of one shard.

    Args:
      index: an opened index.
      path: the file to create or replace.

    Raises:
      RetrievalError: pyarrow is not installed.

    Source: GeoParquet 1.1.0.
    """
    pyarrow, parquet = import_arrow("pyarrow"), import_arrow("pyarrow.parquet")
    names = ("ids", "vectors", *(column.name for column in _FROM_FILE))
    columns = {name: column for name in names if (column := index.column(name)) is not None}
    bounds = bounds_in_degrees(columns.get("box", []))
    schema = _schema(pyarrow, index, columns, bounds)
    with atomic.replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for shard in range(len(index.shards)):
            parts = {name: column[shard] for name, column in columns.items()}
            arrays = _arrays(pyarrow, parts, has_geometry=bounds is not None)
            writer.write_table(pyarrow.table(arrays, schema=schema))


def import_arrow(name: str) -> Any:
    """Return a module of pyarrow.

    Raises:
      RetrievalError: pyarrow is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RetrievalError(
            f"Parquet needs pyarrow, which is not installed; install it with {how_to_install('parquet')}."
        ) from error


def bounds_in_degrees(boxes: Sequence[np.ndarray]) -> list[float] | None:
    """Return west, south, east, north of all tiles; None if none is known, or if they are not in degrees.

    For tiles across the 180th meridian, the bounds span the globe.
    """
    known = [shard[~np.isnan(shard).any(axis=1)] for shard in map(np.asarray, boxes)]
    known = [shard for shard in known if len(shard)]
    if not known:
        return None
    west, south = np.min([shard[:, :2].min(axis=0) for shard in known], axis=0).tolist()
    east, north = np.max([shard[:, 2:].max(axis=0) for shard in known], axis=0).tolist()
    if not (west >= -180.0 and east <= 540.0 and south >= -90.0 and north <= 90.0):
        return None
    return [west, south, east, north] if east <= 180.0 else [-180.0, south, 180.0, north]


def _schema(pyarrow: Any, index: TileIndex, columns: Container[str], bounds: list[float] | None) -> Any:
    fields = [
        pyarrow.field("id", pyarrow.string(), nullable=False),
        pyarrow.field("embedding", pyarrow.list_(pyarrow.float32(), index.model.dim), nullable=False),
    ]
    for column in _FROM_FILE:
        if column.name in columns:
            fields += [pyarrow.field(field, _type(pyarrow, column)) for field in column.fields]
    about = {"model": index.model.fingerprint, "stored_as": index.model.dtype}
    metadata = {"anneal_jax": json.dumps(about)}
    if bounds is not None:
        fields.append(pyarrow.field(GEOMETRY, pyarrow.binary()))
        metadata["geo"] = json.dumps(geo_metadata(bounds))
    return pyarrow.schema(fields, metadata=metadata)


def geo_metadata(bounds: list[float]) -> dict[str, Any]:
    """Return GeoParquet's metadata; by its default, coordinates are longitude and latitude (WGS 84)."""
    column = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon", "Polygon"],
        "orientation": "counterclockwise",
        "edges": "planar",
        "bbox": bounds,
    }
    return {"version": "1.1.0", "primary_column": GEOMETRY, "columns": {GEOMETRY: column}}


def _arrays(pyarrow: Any, shard: dict[str, np.ndarray], *, has_geometry: bool) -> dict[str, Any]:
    """Return the columns of a shard as Arrow arrays."""
    vectors = np.ascontiguousarray(shard["vectors"], np.float32)
    arrays = {
        "id": pyarrow.array([tile_id.decode() for tile_id in shard["ids"].tolist()], pyarrow.string()),
        "embedding": pyarrow.FixedSizeListArray.from_arrays(
            pyarrow.array(vectors.ravel()), vectors.shape[1]
        ),
    }
    for column in _FROM_FILE:
        if column.name in shard:
            values = shard[column.name].reshape(len(vectors), len(column.fields)).T
            arrays |= {
                field: _nullable(pyarrow, column, part)
                for field, part in zip(column.fields, values, strict=True)
            }
    if has_geometry:
        arrays[GEOMETRY] = pyarrow.array(box_polygons(shard["box"]), pyarrow.binary())
    return arrays


def _type(pyarrow: Any, column: Column) -> Any:
    if column.is_text:
        return pyarrow.string()
    dtype = np.dtype(column.dtypes[0])
    return pyarrow.timestamp("s", "UTC") if dtype.kind == "M" else pyarrow.from_numpy_dtype(dtype)


def _nullable(pyarrow: Any, column: Column, values: np.ndarray) -> Any:
    """Return values as an Arrow array, null if unknown."""
    if column.is_text:
        return pyarrow.array([text.decode() or None for text in values.tolist()], pyarrow.string())
    is_unknown = values != values  # NaN or NaT
    return pyarrow.array(values, mask=is_unknown).cast(_type(pyarrow, column))
