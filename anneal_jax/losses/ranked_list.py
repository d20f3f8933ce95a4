"""Ranked list loss: one ranking per anchor, with positives inside a ball and negatives outside a shell."""

import jax
import jax.numpy as jnp

from anneal_jax.losses.masking import batch_distances, batch_relations, masked_mean


def ranked_list_loss(
    embeddings: jax.Array,
    groups: jax.Array,
    mask: jax.Array,
    *,
    negative_distance: float = 1.2,
    margin: float = 0.4,
    temperature: float = 10.0,
    balance: float = 0.5,
) -> jax.Array:
    """Ranked list loss with equal weights for positives ("simplified").

    With alpha = negative_distance, m = margin and T = temperature, an anchor costs
    (1 - balance) * mean over its positives with d > alpha - m of (d - (alpha - m))
    + balance * weighted mean over its negatives with d < alpha of (alpha - d),
    weights exp(T (alpha - d)), which are constants to the gradient; mean over the anchors.
    Positives may stay anywhere within alpha - m: a group is not collapsed into a point.

    Args:
      embeddings: float32[B, D], unit norm.
      groups: int32[B].
      mask: bool[B], False leaves a row out, as an anchor too.
      negative_distance: alpha, a distance in [0, 2] that negatives should keep.
      margin: m, a distance in [0, alpha] between positives and negatives.
      temperature: T >= 0, in [0, 40] at alpha = 2 so that float32 holds the weights.
      balance: share of the negatives in [0, 1], lambda in the paper.

    Returns:
      float32[] in [0, 2]; a kind that an anchor lacks adds 0.

    Source: wang2019ranked, eq. 2 to 8, and its defaults; "simplified" follows the extended version
    of 2021 (positive temperature 0). The RankedListLoss of pytorch-metric-learning adds 1e-5 for
    each row of the batch to what it divides by, and lets the gradient pass through the weights.
    """
    positive, negative = batch_relations(groups, mask)
    distances = batch_distances(embeddings, mask)
    radius = negative_distance - margin
    pulls = masked_mean(distances - radius, positive & (distances > radius), axis=1)
    weights = jnp.exp(temperature * (negative_distance - jax.lax.stop_gradient(distances)))
    near = negative & (distances < negative_distance)
    pushes = masked_mean(negative_distance - distances, jnp.where(near, weights, 0), axis=1)
    return masked_mean((1 - balance) * pulls + balance * pushes, mask)
