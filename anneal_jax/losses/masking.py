"""Shared by all losses: masked means, relations inside a batch, safe distances.

Masked rows have no effect, even if they contain NaN: they are zeroed before any computation, so that
neither values nor gradients can leak from them.
"""

import jax
import jax.numpy as jnp

_EXCLUDED_LOGIT = -1e9  # its exp() is 0 and, unlike that of -inf, leaves finite gradients
_MIN_SQUARED_DISTANCE = 1e-6  # float32 cosines near 1 are known to about 1e-7


def masked_mean(values: jax.Array, weights: jax.Array, *, axis: int | None = None) -> jax.Array:
    """Average `values` with `weights`; 0 if all weights are 0.

    Args:
      values: float32[...], finite even if the weight is 0.
      weights: bool or float32 of the same shape, >= 0.
      axis: the axis to average along; None averages everything.

    Returns:
      sum(weights * values) / sum(weights), float32[] or without `axis`.

    >>> float(masked_mean(jnp.array([1.0, 3.0, 9.0]), jnp.array([True, True, False])))
    2.0
    """
    weights = weights.astype(values.dtype)
    total = weights.sum(axis)
    return (weights * values).sum(axis) / jnp.where(total > 0, total, 1)


def logsumexp_where(logits: jax.Array, where: jax.Array) -> jax.Array:
    """Log of the sum of exp(logit) along the last axis, over the chosen entries only.

    Args:
      logits: float32[..., M], finite.
      where: bool[..., M], the entries to sum.

    Returns:
      float32[...]; about -1e9 if no entry is chosen, so that its softplus is 0.
    """
    return jax.nn.logsumexp(jnp.where(where, logits, _EXCLUDED_LOGIT), axis=-1)


def batch_relations(groups: jax.Array, mask: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return which ordered pairs of a batch are positive and which are negative.

    Args:
      groups: int32[B], equal numbers mean the same group.
      mask: bool[B], False leaves a row out of every pair.

    Returns:
      (positive, negative), bool[B, B] each: same group and not the row itself; another group.
    """
    mask = mask.astype(bool)
    in_batch = mask[:, None] & mask[None, :]
    same = groups[:, None] == groups[None, :]
    is_self = jnp.eye(groups.shape[0], dtype=bool)
    return in_batch & same & ~is_self, in_batch & ~same


def batch_similarities(embeddings: jax.Array, mask: jax.Array) -> jax.Array:
    """Cosine similarities of all pairs of a batch of unit-norm embeddings.

    Args:
      embeddings: float[B, D], unit norm.
      mask: bool[B], False treats a row as zeros.

    Returns:
      float32[B, B] in [-1, 1]. Full float32 precision on every device: the product takes a tiny part of a
      training step, and a temperature of 0.1 magnifies its rounding tenfold.
    """
    rows = jnp.where(mask.astype(bool)[:, None], embeddings.astype(jnp.float32), 0)
    return jnp.matmul(rows, rows.T, precision="highest")


def batch_distances(embeddings: jax.Array, mask: jax.Array) -> jax.Array:
    """Euclidean distances of all pairs of a batch of unit-norm embeddings.

    d = sqrt(2 - 2 s), never below 1e-3: a float32 cosine cannot resolve less, and the square root has no
    finite gradient at 0.

    Args:
      embeddings: float[B, D], unit norm.
      mask: bool[B], False treats a row as zeros.

    Returns:
      float32[B, B] in [1e-3, 2].
    """
    squared = 2 - 2 * batch_similarities(embeddings, mask)
    return jnp.sqrt(jnp.maximum(squared, _MIN_SQUARED_DISTANCE))
