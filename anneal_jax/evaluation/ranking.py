"""Ranks an archive for each query on the host, and marks and counts the relevant images."""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ConfigError

_BLOCK_BYTES = 64 * 2**20  # of similarities held at once


def rank_archive(
    query_embeddings: npt.ArrayLike,
    archive_embeddings: npt.ArrayLike,
    k: int,
    *,
    query_ids: Sequence[Hashable] | None = None,
    archive_ids: Sequence[Hashable] | None = None,
) -> npt.NDArray[np.int64]:
    """Rank the archive for each query by cosine similarity, best first.

    Exact, in float64, one block of queries at a time: besides float64 copies of the inputs it needs a few
    blocks of 64 MiB (more only if one query's similarities are larger). Cosines that agree to 12 decimals
    are ties and are ordered by index; so are equal images, whatever the rounding of the product. A zero
    vector has cosine 0 to everything.

    Args:
      query_embeddings: float[Q, D], of any norm.
      archive_embeddings: float[A, D].
      k: number of ranks to return, 1 to A; with ids, 1 to A - 1 if a query is in the archive.
      query_ids: Q names. If both ids are given, a query never counts as its own hit.
      archive_ids: A names, unique.

    Returns:
      int64[Q, k], indices into the archive.

    Raises:
      ConfigError: `k` is out of range.
      ValueError: the shapes do not match, ids are incomplete or repeated, or an embedding is not finite.

    >>> rank_archive([[1.0, 0.0]], [[0.0, 1.0], [2.0, 0.1], [1.0, 0.0]], 2).tolist()
    [[2, 1]]
    """
    queries = _unit_rows(query_embeddings, "query")
    archive = _unit_rows(archive_embeddings, "archive")
    if queries.shape[1] != archive.shape[1]:
        raise ValueError(
            f"Queries have {queries.shape[1]} dimensions and the archive {archive.shape[1]}; "
            "embed both with one model."
        )
    own = _own_positions(query_ids, archive_ids, len(queries), len(archive))
    longest = len(archive) - int(np.any(own >= 0))
    if not 1 <= k <= longest:
        raise ConfigError(f"k = {k} is out of range: the archive offers 1 to {longest} ranks.")
    ranking = np.empty((len(queries), k), np.int64)
    block = max(1, _BLOCK_BYTES // (8 * len(archive)))
    for start in range(0, len(queries), block):
        rows = slice(start, start + block)
        costs = -np.round(queries[rows] @ archive.T, 12)
        excluded = np.flatnonzero(own[rows] >= 0)
        costs[excluded, own[rows][excluded]] = np.inf
        ranking[rows] = _smallest(costs, k)
    return ranking


def relevance(
    query_labels: npt.ArrayLike, archive_labels: npt.ArrayLike, ranking: npt.ArrayLike
) -> npt.NDArray[np.bool_]:
    """Mark the ranks with an image of the query's class.

    Args:
      query_labels: int[Q], -1 for no label, which matches nothing.
      archive_labels: int[A], likewise.
      ranking: int[Q, k], from `rank_archive`.

    Returns:
      bool[Q, k].
    """
    query_labels, archive_labels = np.asarray(query_labels), np.asarray(archive_labels)
    wanted = query_labels[:, None]
    return (archive_labels[np.asarray(ranking)] == wanted) & (wanted >= 0)


def count_relevant(
    query_labels: npt.ArrayLike,
    archive_labels: npt.ArrayLike,
    *,
    query_ids: Sequence[Hashable] | None = None,
    archive_ids: Sequence[Hashable] | None = None,
) -> npt.NDArray[np.int64]:
    """Count the archive images of each query's class, R; if both ids are given, without the query itself.

    Args:
      query_labels: int[Q], -1 without a label.
      archive_labels: int[A], -1 without a label.
      query_ids: Q names.
      archive_ids: A names, unique.

    Returns:
      int64[Q].

    >>> count_relevant([0, 1, -1], [0, 0, 1, -1]).tolist()
    [2, 1, 0]
    """
    query_labels, archive_labels = np.asarray(query_labels), np.asarray(archive_labels)
    classes, sizes = np.unique(archive_labels[archive_labels >= 0], return_counts=True)
    size_of = dict(zip(classes.tolist(), sizes.tolist(), strict=True))
    counts = np.array([size_of.get(label, 0) for label in query_labels.tolist()], np.int64)
    own = _own_positions(query_ids, archive_ids, len(query_labels), len(archive_labels))
    inside = np.flatnonzero(own >= 0)
    labels = query_labels[inside]
    counts[inside] -= (archive_labels[own[inside]] == labels) & (labels >= 0)
    return counts


def _unit_rows(embeddings: npt.ArrayLike, name: str) -> npt.NDArray[np.float64]:
    rows = np.array(embeddings, np.float64)
    if rows.ndim != 2 or not rows.size:
        raise ValueError(f"The {name} embeddings must be a filled [rows, D] array, not {rows.shape}.")
    if not np.isfinite(rows).all():
        first = int(np.flatnonzero(~np.isfinite(rows).all(axis=1))[0])
        raise ValueError(f"Row {first} of the {name} embeddings holds NaN or infinity.")
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows))
    rows /= np.where(norms > 0, norms, 1)[:, None]
    return rows


def _own_positions(
    query_ids: Sequence[Hashable] | None,
    archive_ids: Sequence[Hashable] | None,
    num_queries: int,
    num_archive: int,
) -> npt.NDArray[np.int64]:
    """Return int64[Q]: the position of each query itself in the archive, or -1."""
    if query_ids is None and archive_ids is None:
        return np.full(num_queries, -1)
    if query_ids is None or archive_ids is None:
        raise ValueError("Give query_ids and archive_ids together, or neither.")
    if (len(query_ids), len(archive_ids)) != (num_queries, num_archive):
        raise ValueError("Give one id for each query and for each archive image.")
    position_of = {name: position for position, name in enumerate(archive_ids)}
    if len(position_of) != num_archive:
        raise ValueError("archive_ids contains a name twice; each must be unique.")
    return np.array([position_of.get(name, -1) for name in query_ids], np.int64)


def _smallest(costs: npt.NDArray[np.float64], k: int) -> npt.NDArray[np.int64]:
    """Return int64[Q, k]: columns of the k smallest costs of each row, ties ordered by column."""
    bounds = np.partition(costs, k - 1, axis=1)[:, k - 1]
    ranking = np.empty((len(costs), k), np.int64)
    for row, (row_costs, bound) in enumerate(zip(costs, bounds, strict=True)):
        columns = np.flatnonzero(row_costs <= bound)  # with ties there may be more than k
        ranking[row] = columns[np.argsort(row_costs[columns], kind="stable")[:k]]
    return ranking
