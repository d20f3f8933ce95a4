"""Cosine similarity of all pairs as a matrix: for archives whose matrix fits in memory."""

import jax
import jax.numpy as jnp

from anneal_jax.types import MIN_NORM


def pairwise_cosine_similarity(first: jax.Array, second: jax.Array) -> jax.Array:
    """Return the cosine similarity of every vector of `first` with every vector of `second`.

    This is the plain form, two nested `jax.vmap`s. For more than some thousand images use
    `all_pairs.scan_pairs`, which scores the same pairs without storing them.

    Args:
      first: float32[M, D], of any length; a vector shorter than 1e-12 has similarity 0 with all others.
      second: float32[N, D].

    Returns:
      float32[M, N] in [-1, 1].

    >>> vectors = jnp.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    >>> pairwise_cosine_similarity(vectors, vectors).round(6).tolist()
    [[1.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    against_all = jax.vmap(_cosine_similarity, in_axes=(None, 0))
    return jax.vmap(against_all, in_axes=(0, None))(first, second)


def _cosine_similarity(x: jax.Array, y: jax.Array) -> jax.Array:
    length = jnp.maximum(jnp.linalg.norm(x), MIN_NORM)
    length *= jnp.maximum(jnp.linalg.norm(y), MIN_NORM)
    similarity = jnp.dot(x, y, precision=jax.lax.Precision.HIGHEST) / length
    return jnp.clip(similarity, -1.0, 1.0)
