"""Finds the k most similar tiles of each query exactly, block by block over vectors that stay on disk.

A device multiplies a block by all queries in float32 and marks the tiles that may beat some query's k-th
best so far; the host scores only these again in float64, with one fixed routine, and keeps the best. The
marks allow for the bounded rounding of the product, so the result depends on neither blocks nor devices: it
is the same as scoring every tile in float64.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.scan.rescoring import dot_product_error
from anneal_jax.errors import RetrievalError
from anneal_jax.retrieval.columns import MAX_NORM
from anneal_jax.types import FloatArray

MAX_RESULTS = 1_000
"""Largest k."""

_BLOCK_ROWS = 8_192  # on a CPU the scores of a block fit into its cache
_BLOCK_ROWS_ACCELERATOR = 131_072
_QUERIES_AT_ONCE = 256  # limits the scores of a block
_BLOCKS_IN_FLIGHT = 2  # per device: enough that it never waits for the host
_DECIMALS = 12

Masks = Sequence[npt.NDArray[np.bool_]]
"""Rows of each shard that may be returned, bool[n] each."""


class Hits(NamedTuple):
    """The most similar tiles of each query, best first.

    Attributes:
      rows: int64[Q, k], rows of the index; -1 if there are fewer than k.
      similarities: float64[Q, k], cosines rounded to 12 decimals; NaN without a row.
    """

    rows: npt.NDArray[np.int64]
    similarities: npt.NDArray[np.float64]


class Searcher(Protocol):
    """Anything that finds the nearest vectors: exactly here, approximately in `faiss_search`."""

    def __call__(
        self,
        queries: FloatArray,
        k: int,
        *,
        masks: Masks | None = None,
        own_rows: npt.NDArray[np.int64] | None = None,
    ) -> Hits:
        """Return the k most similar rows of each query; arguments as in `search_exact`."""
        ...


def search_exact(
    shards: Sequence[np.ndarray],
    queries: FloatArray,
    k: int,
    *,
    masks: Masks | None = None,
    own_rows: npt.NDArray[np.int64] | None = None,
    block_rows: int | None = None,
    devices: Sequence[Any] | None = None,
    progress: Callable[[int], object] | None = None,
) -> Hits:
    """Find the k most similar vectors of each query by cosine.

    The similarity is the product with the stored vector: float16 rounds a component by at most 5e-4 of its
    value. Cosines that agree to 12 decimals are ties, and are ordered by row.

    Args:
      shards: float16 or float32 [n, D] each, of unit norm; row numbers continue through all of them.
      queries: float32[Q, D], unit norm.
      k: 1 to 1,000.
      masks: rows that may be returned, shard by shard; all by default.
      own_rows: int64[Q], a row that is never returned for a query, such as its own; -1 for none.
      block_rows: number of vectors per block; by default chosen for the kind of device.
      devices: `jax.Device`s that share the blocks; by default all of this process.
      progress: called with the number of vectors of each finished block.

    Raises:
      RetrievalError: k is out of range, the shapes do not match, or a query does not have unit norm.

    >>> vectors = np.eye(3, dtype=np.float16)
    >>> search_exact([vectors[:2], vectors[2:]], np.array([[0.6, 0.0, 0.8]], np.float32), 2).rows.tolist()
    [[2, 0]]
    """
    queries = _checked_queries(shards, queries, k)
    devices = list(devices or jax.local_devices())
    on_cpu = devices[0].platform == "cpu"
    block_rows = block_rows or (_BLOCK_ROWS if on_cpu else _BLOCK_ROWS_ACCELERATOR)
    own_rows = np.full(len(queries), -1, np.int64) if own_rows is None else own_rows
    parts = [
        _search_batch(shards, queries[batch], k, masks, own_rows[batch], block_rows, devices, progress)
        for batch in _slices(len(queries), _QUERIES_AT_ONCE)
    ]
    none = Hits(np.empty((0, k), np.int64), np.empty((0, k)))
    return Hits(*(np.concatenate(arrays) for arrays in zip(none, *parts, strict=True)))


def similarities_of(vectors: np.ndarray, queries: FloatArray) -> npt.NDArray[np.float64]:
    """Return float64[M], the cosine of each row with its own query, computed as for the final order.

    Args:
      vectors: float[M, D].
      queries: float32[M, D].
    """
    # Row by row, so that a value does not depend on other rows, as it would in a matrix product. NumPy adds
    # the components pairwise; `rescore_dot_products` adds them in order, so a cosine's last decimal can
    # differ.
    products = vectors.astype(np.float64) * queries.astype(np.float64)
    return np.round(np.sum(products, axis=1), _DECIMALS)


class _Best:
    """The best rows of each query so far, and the similarity that another row must reach."""

    def __init__(self, num_queries: int, k: int, error_bound: float):
        self.k, self.error_bound = k, error_bound
        self.rows = np.full((num_queries, k), -1, np.int64)
        self.similarities = np.full((num_queries, k), -np.inf)
        self.bounds = np.full(num_queries, -np.inf, np.float32)
        self._waiting: list[
            tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float64]]
        ] = []
        self._num_waiting = 0

    def tighten(self, scores: FloatArray) -> None:
        """Raise the bounds with float32 scores [Q, M] of rows that will be offered next."""
        if scores.shape[1] >= self.k:
            kth = np.partition(scores, scores.shape[1] - self.k, axis=1)[:, scores.shape[1] - self.k]
            self._raise_bounds(kth - 2.0 * self.error_bound)

    def offer(
        self,
        which: npt.NDArray[np.int64],
        rows: npt.NDArray[np.int64],
        similarities: npt.NDArray[np.float64],
    ) -> None:
        """Add rows int64[M] with exact similarities float64[M] for queries int64[M]."""
        self._waiting.append((which, rows, similarities))
        self._num_waiting += len(rows)
        if self._num_waiting > self.rows.size // 2:  # merging costs time in proportion to the table
            self.merge()

    def merge(self) -> None:
        """Merge the offered rows into the table."""
        num_queries = len(self.rows)
        old = (np.repeat(np.arange(num_queries), self.k), self.rows.ravel(), self.similarities.ravel())
        which, rows, similarities = map(np.concatenate, zip(old, *self._waiting, strict=True))
        order = np.lexsort((rows, -similarities, which))
        which, rows, similarities = which[order], rows[order], similarities[order]
        # The table has at least k entries per query, so its first k follow its start.
        starts = np.searchsorted(which, np.arange(num_queries))
        chosen = starts[:, None] + np.arange(self.k)
        self.rows, self.similarities = rows[chosen], similarities[chosen]
        self._waiting, self._num_waiting = [], 0
        self._raise_bounds(self.similarities[:, -1] - self.error_bound)

    def _raise_bounds(self, bounds: np.ndarray) -> None:
        # Round down to the next float32, because the device compares in float32.
        lowered = np.nextafter(bounds.astype(np.float32), np.float32(-np.inf))
        self.bounds = np.maximum(self.bounds, lowered)


class _Block(NamedTuple):
    """A block in flight: its first row, its vectors, and the device's result."""

    start: int
    vectors: np.ndarray
    mask: npt.NDArray[np.bool_] | None
    scores: jax.Array
    is_near: jax.Array


def _search_batch(
    shards: Sequence[np.ndarray],
    queries: FloatArray,
    k: int,
    masks: Masks | None,
    own_rows: npt.NDArray[np.int64],
    block_rows: int,
    devices: Sequence[Any],
    progress: Callable[[int], object] | None,
) -> Hits:
    error_bound = dot_product_error(queries.shape[1], MAX_NORM**2) + 10.0**-_DECIMALS  # unit of ties
    best = _Best(len(queries), k, error_bound)
    in_flight: deque[_Block] = deque()
    placed = [jax.device_put(queries, device) for device in devices]
    blocks = _blocks(shards, masks, block_rows)
    for number, (start, vectors, mask) in enumerate(blocks):
        where = number % len(devices)
        # Early blocks use an older and looser bound: more tiles are marked, but none is lost.
        on_device = jax.device_put(_padded(vectors, block_rows), devices[where])
        scores, is_near = _score_block(on_device, placed[where], best.bounds)
        in_flight.append(_Block(start, vectors, mask, scores, is_near))
        if len(in_flight) > (_BLOCKS_IN_FLIGHT * len(devices) if number else 0):
            _settle(best, in_flight.popleft(), queries, own_rows, progress)
    for block in in_flight:
        _settle(best, block, queries, own_rows, progress)
    best.merge()
    is_empty = best.rows < 0
    return Hits(best.rows, np.where(is_empty, np.nan, best.similarities))


@jax.jit
def _score_block(
    vectors: jax.Array, queries: jax.Array, bounds: jax.typing.ArrayLike
) -> tuple[jax.Array, jax.Array]:
    """Return scores float32[Q, B], and bool[B]: whether each row may be among the best of some query."""
    scores = jnp.dot(queries, vectors.astype(jnp.float32).T, precision="highest")
    return scores, jnp.any(scores >= jnp.asarray(bounds)[:, None], axis=0)


def _padded(vectors: np.ndarray, block_rows: int) -> np.ndarray:
    """Pad a short block with zeros to a power of two, which limits compilations to a dozen."""
    missing = min(block_rows, 1 << (len(vectors) - 1).bit_length()) - len(vectors)
    return np.pad(vectors, [(0, missing), (0, 0)]) if missing else vectors


def _settle(
    best: _Best,
    block: _Block,
    queries: FloatArray,
    own_rows: npt.NDArray[np.int64],
    progress: Callable[[int], object] | None,
) -> None:
    """Score the marked rows of a block in float64, and offer them."""
    is_near = np.asarray(block.is_near)[: len(block.vectors)]
    columns = np.flatnonzero(is_near if block.mask is None else is_near & block.mask)
    if columns.size:
        scores = _fetch(block.scores, columns)
        is_own = (columns + block.start)[None, :] == own_rows[:, None]
        scores = np.where(is_own, np.float32(-np.inf), scores)
        best.tighten(scores)
        which, place = np.nonzero((scores >= best.bounds[:, None]) & ~is_own)
        for part in _slices(len(which), _BLOCK_ROWS):  # the first block may have thousands
            found = columns[place[part]]
            exact = similarities_of(block.vectors[found], queries[which[part]])
            best.offer(which[part], found + block.start, exact)
    if progress is not None:
        progress(len(block.vectors))


def _fetch(scores: jax.Array, columns: npt.NDArray[np.integer]) -> FloatArray:
    """Copy some columns of a block's scores to the host; on a CPU directly from its memory."""
    if next(iter(scores.devices())).platform == "cpu":
        return np.asarray(scores)[:, columns]
    # Powers of two, for at most a dozen compilations instead of one per number of columns.
    padded = np.zeros(1 << (len(columns) - 1).bit_length(), np.int32)
    padded[: len(columns)] = columns
    return np.asarray(_take_columns(scores, padded))[:, : len(columns)]


@jax.jit
def _take_columns(scores: jax.Array, columns: jax.typing.ArrayLike) -> jax.Array:
    return jnp.take(scores, jnp.asarray(columns), axis=1)


def _blocks(
    shards: Sequence[np.ndarray], masks: Masks | None, block_rows: int
) -> Iterator[tuple[int, np.ndarray, npt.NDArray[np.bool_] | None]]:
    """Yield (first row, vectors, mask) of every block with an allowed row."""
    first = 0
    for number, shard in enumerate(shards):
        for part in _slices(len(shard), block_rows):
            mask = None if masks is None else masks[number][part]
            if mask is None or mask.any():
                yield first + part.start, shard[part], mask
        first += len(shard)


def _slices(length: int, size: int) -> Iterator[slice]:
    return (slice(start, min(start + size, length)) for start in range(0, length, size))


def _checked_queries(shards: Sequence[np.ndarray], queries: FloatArray, k: int) -> FloatArray:
    if not 1 <= k <= MAX_RESULTS:
        raise RetrievalError(f"k={k} is out of range; ask for 1 to {MAX_RESULTS:,} results.")
    dim = shards[0].shape[1] if shards else 0
    if queries.ndim != 2 or queries.shape[1] != dim:
        raise RetrievalError(
            f"the queries are {list(queries.shape)}, but the index holds vectors of {dim} numbers."
        )
    norms = np.linalg.norm(queries.astype(np.float64), axis=1)
    if not np.all(np.abs(norms - 1.0) < MAX_NORM - 1.0):
        bad = int(np.argmax(~(np.abs(norms - 1.0) < MAX_NORM - 1.0)))
        raise RetrievalError(f"query {bad} has length {norms[bad]:.3g}; queries must be of unit norm.")
    return np.ascontiguousarray(queries, np.float32)
