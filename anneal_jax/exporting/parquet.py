"""The embeddings of an index as Parquet, which Qdrant, LanceDB, DuckDB and pandas read."""

import importlib
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from anneal_jax.errors import RetrievalError, how_to_install
from anneal_jax.files import atomic
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.metadata import BOX_SIDES


def write_parquet(index: TileIndex, path: str | os.PathLike[str]) -> None:
    """Write a row for each tile, shard by shard, in the order of the index.

    Columns: `id` string; `embedding` fixed_size_list<float32>[D], unit norm; and those that the index has
    of `label` string, `date` timestamp[s, UTC] and `west`, `south`, `east`, `north` double, null where
    unknown. Memory grows with one shard.

    Args:
      index: an opened index.
      path: the file to create or replace.

    Raises:
      RetrievalError: pyarrow is not installed.
    """
    pyarrow, parquet = _import("pyarrow"), _import("pyarrow.parquet")
    names = ("ids", "vectors", "label", "date", "box")
    columns = {name: column for name in names if (column := index.column(name)) is not None}
    schema = _schema(pyarrow, index, columns)
    with atomic.replacing(path) as temporary, parquet.ParquetWriter(temporary, schema) as writer:
        for shard in range(len(index.shards)):
            arrays = _arrays(pyarrow, {name: column[shard] for name, column in columns.items()})
            writer.write_table(pyarrow.table(arrays, schema=schema))


def _import(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RetrievalError(
            f"Parquet is written by pyarrow, which is not installed; {how_to_install('parquet')} brings it."
        ) from error


def _schema(pyarrow: Any, index: TileIndex, columns: Mapping[str, object]) -> Any:
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
    return pyarrow.schema(fields, metadata={"anneal_jax": json.dumps(about)})


def _arrays(pyarrow: Any, shard: dict[str, np.ndarray]) -> dict[str, Any]:
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
    return arrays
