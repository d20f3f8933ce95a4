"""Refines a query by the results marked right and wrong, without any training."""

import numpy as np

from anneal_jax.types import MIN_NORM, FloatArray

TRUST = 1.0
"""Weight of the query relative to one mark, lambda below (`benchmarks/refine.py` shows how it was
chosen)."""


def refine(query: FloatArray, right: FloatArray, wrong: FloatArray, *, trust: float = TRUST) -> FloatArray:
    """Return the search direction after some results were marked.

    It is ridge regression that shrinks towards the query q instead of zero. It returns the w that minimises

      lambda |w - q|^2 + sum over right x of (w.x - 1)^2 + sum over wrong x of (w.x)^2.

    Without marks it returns the query. A mark that the query already agrees with changes little, so many
    marks of one kind do not outweigh a few of another.

    Args:
      query: float32[D], unit norm.
      right: float32[R, D], unit norm, embeddings of the results marked right.
      wrong: float32[W, D], unit norm, embeddings of the results marked wrong.
      trust: lambda, > 0; a larger value makes marks move the query less.

    Returns:
      float32[D], unit norm. Its dot products with embeddings are cosines, and rank them.

    Raises:
      ValueError: the shapes do not agree, or `trust` is not positive.

    Source: hoerl1970ridge for the regression; shrinking towards the query is this project's.

    >>> east, north = np.eye(2, dtype=np.float32)
    >>> nothing = np.empty((0, 2), np.float32)
    >>> refine(east, nothing, nothing).tolist()
    [1.0, 0.0]
    >>> refine(east, north[None], nothing).astype(float).round(2).tolist()
    [0.89, 0.45]
    """
    if query.ndim != 1 or {right.shape[1:], wrong.shape[1:]} != {query.shape}:
        raise ValueError("give a query [D] with right [R, D] and wrong [W, D].")
    if not trust > 0:
        raise ValueError(f"trust={trust} must be positive.")
    marked = np.concatenate([right, wrong]).astype(np.float64)
    wanted = np.repeat([1.0, 0.0], [len(right), len(wrong)])
    start = query.astype(np.float64)
    products = marked @ marked.T + trust * np.eye(len(marked))
    moved = start + marked.T @ np.linalg.solve(products, wanted - marked @ start)
    norm = float(np.linalg.norm(moved))
    return query if norm < MIN_NORM else (moved / norm).astype(np.float32)
