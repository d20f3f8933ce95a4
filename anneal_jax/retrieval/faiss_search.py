"""Approximate search with faiss (extra `faiss`), for archives larger than memory.

An inverted file of scalar codes, half a byte per number, proposes candidates, which are scored again with
the stored vectors, as in exact search. benchmarks/search.py measures what it misses.
"""

import dataclasses
import importlib
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import RetrievalError, how_to_install
from anneal_jax.files import atomic
from anneal_jax.files.seals import (
    FileSeal,
    damaged_files,
    read_sealed,
    seal_of,
    write_sealed,
)
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.search import Hits, Masks, similarities_of
from anneal_jax.types import FloatArray

MIN_TILES = 10_000
"""Minimum number of tiles; with fewer, exact search takes milliseconds, and lists cannot be trained
well."""

_SAMPLES_PER_LIST = 64
_FILE, _CARD = "faiss.index", "faiss.json"


@dataclasses.dataclass(frozen=True)
class FaissSearcher:
    """A `Searcher` with codes in memory, whose candidates are scored with the stored vectors.

    Attributes:
      codes: a faiss index.
      index: index with the vectors.
      num_probes: number of lists that a query visits; more find more but take longer.
      num_candidates: candidates per requested result; likewise.
    """

    codes: Any
    index: TileIndex
    num_probes: int = 32
    num_candidates: int = 10

    def __call__(
        self,
        queries: FloatArray,
        k: int,
        *,
        masks: Masks | None = None,
        own_rows: npt.NDArray[np.int64] | None = None,
    ) -> Hits:
        """Return about the k most similar rows of each query; arguments as in `search_exact`."""
        faiss = import_faiss()
        selector = None
        if masks is not None:
            bits = np.packbits(np.concatenate(list(masks)), bitorder="little")
            selector = faiss.IDSelectorBitmap(bits)
        parameters = faiss.SearchParametersIVF(sel=selector, nprobe=self.num_probes)
        _, rows = self.codes.search(
            np.ascontiguousarray(queries, np.float32), self.num_candidates * k, params=parameters
        )
        if own_rows is not None:
            rows = np.where(rows == own_rows[:, None], -1, rows)
        return self._settled(queries, rows, k)

    def _settled(self, queries: FloatArray, rows: npt.NDArray[np.int64], k: int) -> Hits:
        which, place = np.nonzero(rows >= 0)
        found = rows[which, place]
        similarities = np.full(rows.shape, -np.inf)
        vectors = self.index.take("vectors", found)
        assert vectors is not None  # every index has them
        similarities[which, place] = similarities_of(vectors, queries[which])
        order = np.lexsort((rows, -similarities))[:, :k]
        rows, similarities = (np.take_along_axis(array, order, axis=1) for array in (rows, similarities))
        return Hits(rows, np.where(rows < 0, np.nan, similarities))


def build_faiss(index: TileIndex, *, seed: int = 0) -> None:
    """Train codes on a sample of an index and store them in its folder, in `faiss.index`.

    Args:
      index: an index of at least 10,000 tiles.
      seed: seed of the sample and of the training.

    Raises:
      RetrievalError: faiss is not installed, or there are too few tiles.
    """
    faiss = import_faiss()
    if index.num_rows < MIN_TILES:
        raise RetrievalError(
            f"exact search of {index.num_rows:,} tiles takes milliseconds; faiss is for {MIN_TILES:,} "
            "and more."
        )
    shards = index.column("vectors") or []
    num_lists = min(round(4 * math.sqrt(index.num_rows)), index.num_rows // _SAMPLES_PER_LIST)
    factory = f"IVF{num_lists},SQ4"  # product codes are smaller, and take minutes to train on a CPU
    codes = faiss.index_factory(index.model.dim, factory, faiss.METRIC_INNER_PRODUCT)
    codes.cp.seed = seed + 1
    codes.train(_sample(shards, index.starts, _SAMPLES_PER_LIST * num_lists, seed))
    for shard in shards:
        codes.add(np.ascontiguousarray(shard, np.float32))
    with atomic.replacing(index.folder / _FILE) as temporary:
        faiss.write_index(codes, str(temporary))
    content = {"factory": factory, "shards": _names(index), "seal": seal_of(index.folder / _FILE)}
    write_sealed(index.folder / _CARD, content)


def open_faiss(index: TileIndex) -> FaissSearcher:
    """Return the searcher that `build_faiss` prepared.

    Raises:
      RetrievalError: there is none, it is damaged, or tiles have been added since.
    """
    faiss = import_faiss()
    path = index.folder / _FILE
    try:
        card = read_sealed(index.folder / _CARD)
        seal, names = FileSeal(*card["seal"]), card["shards"]
    except FileNotFoundError as error:
        raise RetrievalError(f"{index.folder} has no {_FILE}; run launch/embed.py --faiss.") from error
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        raise _damage(index.folder / _CARD) from error
    if damaged_files(index.folder, {_FILE: seal}, progress="verifying faiss.index"):
        raise _damage(path)
    if names != _names(index):
        raise RetrievalError(
            f"tiles were added after {path} was written; launch/embed.py --faiss writes it again."
        )
    return FaissSearcher(faiss.read_index(str(path)), index)


def import_faiss() -> Any:
    """Return the module faiss.

    Raises:
      RetrievalError: it is not installed.
    """
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise RetrievalError(f"faiss is missing; install it with {how_to_install('faiss')}.") from error


def _damage(path: Path) -> RetrievalError:
    return RetrievalError(f"{path} is damaged; launch/embed.py --faiss writes it again.")


def _names(index: TileIndex) -> list[str]:
    return [f"{record.name} {record.files['vectors'].sha256}" for record in index.shards]


def _sample(
    shards: Sequence[np.ndarray], starts: npt.NDArray[np.int64], num_rows: int, seed: int
) -> FloatArray:
    """Return float32[M, D], rows drawn from every shard in proportion to its size."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(int(starts[-1]))[:num_rows])
    parts = [
        shard[rows[(rows >= first) & (rows < last)] - first]
        for shard, (first, last) in zip(shards, itertools.pairwise(starts), strict=True)
    ]
    return np.concatenate(parts).astype(np.float32)
