"""The embeddings of an index as Parquet, which Qdrant, LanceDB, DuckDB and pandas read.

Where an index knows places in degrees, the file is GeoParquet 1.1, which QGIS and GeoPandas read. As an
archive, `embeddings:FILE.parquet`, it gives ids, vectors, classes, dates and boxes back bit for bit.
"""

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anneal_jax import atomic
from anneal_jax.data.wkb import box_polygons
from anneal_jax.errors import RetrievalError, how_to_install
from anneal_jax.retrieval.index import TileIndex
from anneal_jax.retrieval.metadata import BOX_SIDES

_GEOMETRY = "geometry"


def write_parquet(index: TileIndex, path: str | os.PathLike[str]) -> None:
    """Write a row for each tile, shard by shard, in the order of the index.

    Columns: `id` string; `embedding` fixed_size_list<float32>[D], unit norm; and those that the index has
    of `label` string, `date` timestamp[s, UTC] and `west`, `south`, `east`, `north` double, null where
    unknown; and, where these are degrees, `geometry` binary, polygons in WKB. East of a box across the
    180th meridian is above 180, and its geometry two polygons. Memory grows with one shard.

    Args:
      index: an opened index.
      path: the file to create or replace.

    Raises:
      RetrievalError: pyarrow is not installed.

    Source: GeoParquet 1.1.0.
    """
    pyarrow, parquet = _import("pyarrow"), _import("pyarrow.parquet")
    names = ("ids", "vectors", "label", "date", "box")
    columns = {name: column for name in names if (column := index.column(name)) is not None}
    bounds = _bounds(columns.get("box", []))
    schema = _schema(pyarrow, index, columns, bounds)
    with atomic.replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for shard in range(len(index.shards)):
            parts = {name: column[shard] for name, column in columns.items()}
            arrays = _arrays(pyarrow, parts, has_geometry=bounds is not None)
            writer.write_table(pyarrow.table(arrays, schema=schema))


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RetrievalError(
            f"Parquet is written by pyarrow, which is not installed; {how_to_install('parquet')} brings it."
        ) from error


def _bounds(boxes: Sequence[np.ndarray]) -> list[float] | None:
    """Return west, south, east, north of all tiles; None where none is known, or they are not in degrees.

    Around tiles across the 180th meridian, the bounds are as wide as the globe.
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


def _schema(
    pyarrow: Any, index: TileIndex, columns: Mapping[str, object], bounds: list[float] | None
) -> Any:
    fields = [
        pyarrow.field("id", pyarrow.string(), nullable=False),
        pyarrow.field("embedding", pyarrow.list_(pyarrow.float32(), index.model.dim), nullable=False),
    ]
    if "label" in columns:
        fields.append(pyarrow.field("label", pyarrow.string()))
    if "date" in columns:
        fields.append(pyarrow.field("date", pyarrow.timestamp("s", "UTC")))
    if "box" in columns:
        fields += [pyarrow.field(side, pyarrow.float64()) for side in BOX_SIDES]
    about = {"model": index.model.fingerprint, "stored_as": index.model.dtype}
    metadata = {"anneal_jax": json.dumps(about)}
    if bounds is not None:
        fields.append(pyarrow.field(_GEOMETRY, pyarrow.binary()))
        metadata["geo"] = json.dumps(_geo(bounds))
    return pyarrow.schema(fields, metadata=metadata)


def _geo(bounds: list[float]) -> dict[str, Any]:
    """Return GeoParquet's metadata; without a system, coordinates are longitude and latitude (WGS 84)."""
    column = {
        "encoding": "WKB",
        "geometry_types": ["MultiPolygon", "Polygon"],
        "orientation": "counterclockwise",
        "edges": "planar",
        "bbox": bounds,
    }
    return {"version": "1.1.0", "primary_column": _GEOMETRY, "columns": {_GEOMETRY: column}}


def _arrays(pyarrow: Any, shard: dict[str, np.ndarray], *, has_geometry: bool) -> dict[str, Any]:
    """Return the columns of a shard as Arrow arrays."""
    vectors = np.ascontiguousarray(shard["vectors"], np.float32)
    arrays = {
        "id": pyarrow.array([tile_id.decode() for tile_id in shard["ids"].tolist()], pyarrow.string()),
        "embedding": pyarrow.FixedSizeListArray.from_arrays(
            pyarrow.array(vectors.ravel()), vectors.shape[1]
        ),
    }
    if "label" in shard:
        texts = [label.decode() or None for label in shard["label"].tolist()]
        arrays["label"] = pyarrow.array(texts, pyarrow.string())
    if "date" in shard:
        dates = np.ascontiguousarray(shard["date"])
        arrays["date"] = pyarrow.array(dates, pyarrow.timestamp("s")).cast(pyarrow.timestamp("s", "UTC"))
    if "box" in shard:
        for side, values in zip(BOX_SIDES, shard["box"].T, strict=True):
            arrays[side] = pyarrow.array(values, mask=np.isnan(values))
    if has_geometry:
        arrays[_GEOMETRY] = pyarrow.array(box_polygons(shard["box"]), pyarrow.binary())
    return arrays
