"""Shards of an index: thousands of tiles, with one .npy file per column, memory-mapped for reading.

`columns` lists them, with their types.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from anneal_jax.errors import RetrievalError, UnwritableError
from anneal_jax.files import atomic
from anneal_jax.files.seals import FileSeal, seal_of
from anneal_jax.retrieval.columns import MAX_NORM
from anneal_jax.retrieval.manifest import ShardRecord


def write_shard(folder: Path, name: str, columns: Mapping[str, np.ndarray], *, source: str) -> ShardRecord:
    """Write the files of a shard atomically.

    Args:
      folder: folder of the index.
      name: unique name of the shard.
      columns: arrays [n, ...], by name; see `columns`.
      source: spec of the archive.

    Raises:
      RetrievalError: a vector is not finite, or longer than 1; or the disk is full.
    """
    _require_unit(columns["vectors"])
    files: dict[str, FileSeal] = {}
    record = ShardRecord(name, len(columns["ids"]), source, files)
    for column, array in columns.items():
        path = folder / record.file_name(column)
        try:
            with atomic.replacing(path) as temporary, temporary.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        except UnwritableError as error:
            raise RetrievalError(
                f"{error}; the shards before it are kept, and the same command continues after them."
            ) from error
        files[column] = seal_of(path)
    return record


def map_column(folder: Path, record: ShardRecord, column: str) -> np.ndarray:
    """Return a column of a shard, memory-mapped and read-only.

    Raises:
      RetrievalError: the file is missing or not an array.
    """
    path = folder / record.file_name(column)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RetrievalError(f"{path} cannot be read ({error}); write the index again.") from error


def _require_unit(vectors: np.ndarray) -> None:
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
    if not np.all(norms <= MAX_NORM):  # also catches NaN
        raise RetrievalError(
            f"vector {int(np.argmin(norms <= MAX_NORM))} of a shard is longer than 1, or not finite; "
            "an index holds vectors of unit norm."
        )
