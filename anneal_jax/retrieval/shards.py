"""Shards of an index: some thousand tiles, one .npy file for each column, mapped into memory to be read.

| column | array | |
|---|---|---|
| `vectors` | float16 or float32 [n, D] | unit norm, or zero |
| `ids` | bytes [n] | the tile's id in UTF-8 |
| `digests` | uint8 [n, 32] | SHA-256 of the tile's stored bytes |
| `label` | bytes [n] | class in UTF-8, empty without one |
| `date` | datetime64[s] [n] | UTC, NaT without one |
| `box` | float64 [n, 4] | west, south, east, north; NaN without one |

The last three are there where their archive, or a metadata file, gave them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from anneal_jax.errors import RetrievalError
from anneal_jax.files import atomic
from anneal_jax.files.seals import FileSeal, seal_of
from anneal_jax.retrieval.manifest import ShardRecord

_MAX_NORM = 1.01  # a stored unit vector is a little off by its rounding


def write_shard(folder: Path, name: str, columns: Mapping[str, np.ndarray], *, source: str) -> ShardRecord:
    """Write the files of a shard, each whole or not at all.

    Args:
      folder: of the index.
      name: no other shard's.
      columns: arrays [n, ...], by name; see above.
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
        except OSError as error:
            raise RetrievalError(
                f"cannot write {path} ({error.strerror}); the shards before it are kept, and the same "
                "command goes on behind them."
            ) from error
        files[column] = seal_of(path)
    return record


def map_column(folder: Path, record: ShardRecord, column: str) -> np.ndarray:
    """Return a column of a shard, mapped into memory and read-only.

    Raises:
      RetrievalError: the file is missing or no array.
    """
    path = folder / record.file_name(column)
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RetrievalError(f"{path} cannot be read ({error}); write the index anew.") from error


def blank_column(record: ShardRecord, column: str) -> np.ndarray:
    """Return an optional column for a shard that lacks it; it takes no memory."""
    blank = {"label": np.bytes_(b""), "date": np.datetime64("NaT", "s"), "box": np.full(4, np.nan)}[column]
    return np.broadcast_to(blank, (record.num_rows, *np.shape(blank)))


def encoded_texts(texts: Sequence[str]) -> np.ndarray:
    """Return texts as UTF-8 in an array of bytes, as wide as the longest.

    >>> encoded_texts(["river", "a"])
    array([b'river', b'a'], dtype='|S5')
    """
    return np.array([text.encode() for text in texts], np.bytes_)


def _require_unit(vectors: np.ndarray) -> None:
    norms = np.linalg.norm(vectors.astype(np.float32), axis=1)
    if not np.all(norms <= _MAX_NORM):  # NaN is not below either
        raise RetrievalError(
            f"vector {int(np.argmin(norms <= _MAX_NORM))} of a shard is longer than 1, or not finite; "
            "an index holds vectors of unit norm."
        )
