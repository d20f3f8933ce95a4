"""Losses that need no answers: two views of one tile should be alike, but different tiles should not.

Row i of both arrays belongs to the same tile.
"""

import jax
import jax.numpy as jnp

_VARIANCE_FLOOR = 1e-4  # bardes2022vicreg: keeps the square root's gradient finite


def simsiam_loss(predictions: jax.Array, projections: jax.Array) -> jax.Array:
    """Negative cosine of the prediction from one view and the projection of the other.

    Both directions are averaged. No gradient flows into the predicted side, which keeps all tiles from
    collapsing to one point.

    Args:
      predictions: float32[2, B, D], unit norm, for the first and the second views.
      projections: float32[2, B, D], unit norm.

    Returns:
      float32[] in [-1, 1].

    Source: chen2021simsiam, equations 1 and 2.
    """
    targets = jax.lax.stop_gradient(projections)[::-1]
    return -jnp.mean(jnp.sum(predictions * targets, axis=-1))


def vicreg_loss(
    projections: jax.Array, *, invariance: float = 25.0, variance: float = 25.0, covariance: float = 1.0
) -> jax.Array:
    """Distance between the two views, variance of every dimension, and independence of dimensions.

    Args:
      projections: float32[2, B, D], for the first and the second views; B at least 2.
      invariance: weight of the mean squared distance between the two.
      variance: weight of the amount by which the deviation of a dimension over the batch is below 1.
      covariance: weight of the squared covariances of different dimensions.

    Returns:
      float32[], non-negative.

    Source: bardes2022vicreg, equations 1 to 6 with the weights of its section 4.2.
    """
    first, second = projections
    distance = jnp.mean(jnp.square(first - second))
    lack, shared = 0.0, 0.0
    for picture in (first, second):
        centred = picture - jnp.mean(picture, axis=0, keepdims=True)
        covariances = centred.T @ centred / (len(picture) - 1)
        deviations = jnp.sqrt(jnp.diagonal(covariances) + _VARIANCE_FLOOR)
        lack += jnp.mean(jax.nn.relu(1.0 - deviations)) / 2.0
        off_diagonal = covariances - jnp.diag(jnp.diagonal(covariances))
        shared += jnp.sum(jnp.square(off_diagonal)) / picture.shape[1]
    return invariance * distance + variance * lack + covariance * shared
