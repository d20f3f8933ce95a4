"""Queries of an index: a tile's id, an image file, or a vector."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.image_headers import FORMATS
from anneal_jax.data.tiles import decode_tile, read_tile
from anneal_jax.errors import ArchiveError, ConfigError, RetrievalError, nearest_hint, reason_of, refusing
from anneal_jax.retrieval.embedder import Embedder, load_embedder
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.text import require_utf8
from anneal_jax.types import FloatArray

_MAX_IDS_COMPARED = 50_000  # with more ids, a hint takes longer than the search


class Query(NamedTuple):
    """A query.

    Attributes:
      name: the query as given.
      row: row in the index if it is one of its tiles, else -1.
      path: its file, if it is one.
    """

    name: str
    row: int
    path: Path | None


class Queries(NamedTuple):
    """Queries prepared for a searcher.

    Attributes:
      queries: the queries in the order given.
      embeddings: float32[Q, D], unit norm.
    """

    queries: tuple[Query, ...]
    embeddings: FloatArray

    @property
    def own_rows(self) -> npt.NDArray[np.int64]:
        """int64[Q]: the row of each query that is a tile of the index, and not a result of itself."""
        return np.array([query.row for query in self.queries], np.int64)


def read_names(path: str | Path) -> list[str]:
    """Return the non-empty lines of a text file.

    Raises:
      ConfigError: it cannot be read.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, ValueError) as error:
        raise ConfigError(f"the list of queries {path} cannot be read ({reason_of(error)}).") from error
    return [line.strip() for line in lines if line.strip()]


def prepare_queries(
    index: TileIndex,
    names: Sequence[str],
    *,
    checkpoint: str | Path = "",
    load: Callable[[str | Path], Embedder] = load_embedder,
) -> Queries:
    """Find what each text refers to, and embed it.

    A text is the id of a tile in the index, or else an image file, or an .npy file of float[F] if the model
    takes vectors. `id:NAME` and `file:PATH` are unambiguous. A search by ids alone needs no model.

    Args:
      index: an opened index.
      names: the texts.
      checkpoint: workdir of the index's model; by default its original path.
      load: loads the model.

    Raises:
      RetrievalError: a text refers to nothing, or the model is not that of the index.
      ArchiveError: a file cannot be read as a tile.
      WorkdirError: the checkpoint cannot be used.
    """
    if not names:
        raise RetrievalError("there is no query; give --query=ID or --query=FILE.")
    ids = [require_utf8(name, "the query", RetrievalError).removeprefix("id:") for name in names]
    rows = np.where([name.startswith("file:") for name in names], -1, index.rows_of(ids))
    queries = tuple(_query(index, name, int(row)) for name, row in zip(names, rows, strict=True))
    embeddings = np.zeros((len(names), index.model.dim), np.float32)
    stored = index.take("vectors", rows[rows >= 0])
    if stored is not None and len(stored):
        embeddings[rows >= 0] = stored
    paths = [query.path for query in queries if query.path]
    if paths:
        embedder = load(checkpoint or index.model.workdir)
        if embedder.fingerprint != index.model.fingerprint:
            raise RetrievalError(
                f"the model in {embedder.workdir} is not the one that made {index.folder}: it was trained "
                "on, or lies elsewhere; give --checkpoint, or write the index again."
            )
        embeddings[rows < 0] = _embed_files(embedder, paths)
    return Queries(queries, _unit(embeddings, names))


def _query(index: TileIndex, name: str, row: int) -> Query:
    if row >= 0:
        return Query(name, row, None)
    path = Path(name.removeprefix("file:")).expanduser()
    if name.startswith("id:") or not path.is_file():
        known = index.ids(np.arange(index.num_rows)) if index.num_rows <= _MAX_IDS_COMPARED else []
        hint = nearest_hint(name.removeprefix("id:"), known)
        raise RetrievalError(f"{name!r} is neither the id of a tile in {index.folder} nor a file{hint}.")
    return Query(name, -1, path)


def _embed_files(embedder: Embedder, paths: Sequence[Path]) -> FloatArray:
    if embedder.kind == "vector":
        return embedder.embed(np.concatenate([read_vector(path) for path in paths]))
    return embedder.embed([read_image(path) for path in paths])


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Return an image file as uint8[H, W, 3], RGB, of its own size.

    Raises:
      ArchiveError: it cannot be read; the message names it.
    """
    try:
        return np.asarray(decode_tile(read_tile(path)))
    except ArchiveError as error:
        raise ArchiveError(f"{path} {error}; give a {FORMATS} file of 8 bits.") from error


def read_vector(path: Path) -> np.ndarray:
    """Return the vector float[1, F] of an .npy file.

    Raises:
      ArchiveError: it cannot be read, or holds anything but one vector; the message names it.
    """
    with (
        refusing(
            lambda reason: ArchiveError(
                f"{path} is not an .npy file of a vector ({reason}); write it with numpy.save"
            )
        ),
        path.open("rb") as file,
    ):  # NumPy leaves a file open if it cannot read it
        vector = np.load(file, allow_pickle=False)
    if not isinstance(vector, np.ndarray) or vector.dtype.kind != "f" or not _is_one_vector(vector.shape):
        shape = (
            f"{vector.dtype}{list(vector.shape)}" if isinstance(vector, np.ndarray) else "several arrays"
        )
        raise ArchiveError(f"{path} contains {shape}; give one vector per file, float[F] or float[1, F]")
    return vector.reshape(1, -1)


def _is_one_vector(shape: tuple[int, ...]) -> bool:
    return len(shape) in (1, 2) and shape[-1] > 0 and (len(shape) == 1 or shape[0] == 1)


def _unit(embeddings: FloatArray, names: Sequence[str]) -> FloatArray:
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    if not norms.all():
        name = names[int(np.argmin(norms))]
        raise RetrievalError(f"the embedding of {name!r} is zero, so its cosines are undefined.")
    return (embeddings / norms).astype(np.float32)
