"""Triplet losses: an anchor's positive should be nearer than its negative, by a margin.

They differ in which triplets of the batch they train on.
"""

import jax
import jax.numpy as jnp

from anneal_jax.losses.masking import (
    batch_distances,
    batch_relations,
    batch_similarities,
    masked_mean,
)


def batch_hard_triplet_loss(
    embeddings: jax.Array, groups: jax.Array, mask: jax.Array, *, margin: float = 0.2
) -> jax.Array:
    """Train each anchor on its furthest positive and its nearest negative.

    max(0, margin + max over positives of d_ap - min over negatives of d_an), d the Euclidean
    distance, averaged over the anchors that have both kinds.

    Args:
      embeddings: float32[B, D], unit norm.
      groups: int32[B].
      mask: bool[B], False leaves a row out.
      margin: a distance in [0, 2].

    Returns:
      float32[] in [0, 2 + margin]; 0 if no anchor has both a positive and a negative.

    Source: hermans2017defense, eq. 5. Equal to the TripletMarginLoss of pytorch-metric-learning
    with its BatchHardMiner and a MeanReducer; its default reducer leaves out triplets that cost 0.
    """
    positive, negative = batch_relations(groups, mask)
    distances = batch_distances(embeddings, mask)
    furthest_positive = jnp.max(distances, axis=1, where=positive, initial=0.0)
    nearest_negative = jnp.min(distances, axis=1, where=negative, initial=2.0)
    costs = jnp.maximum(margin + furthest_positive - nearest_negative, 0)
    return masked_mean(costs, positive.any(axis=1) & negative.any(axis=1))


def semi_hard_triplet_loss(
    embeddings: jax.Array, groups: jax.Array, mask: jax.Array, *, margin: float = 0.2
) -> jax.Array:
    """Train each positive pair on the nearest negative that is further away than the positive.

    max(0, margin + d_ap^2 - d_an^2), d^2 = 2 - 2 s the squared Euclidean distance, averaged over
    all ordered positive pairs (a, p) whose anchor has a negative. If every negative is at least as near as
    the positive, the furthest one is used instead.

    Args:
      embeddings: float32[B, D], unit norm.
      groups: int32[B].
      mask: bool[B], False leaves a row out.
      margin: a squared distance in [0, 4].

    Returns:
      float32[] in [0, 4 + margin]; 0 if no anchor has both a positive and a negative.

      Source: schroff2015facenet, eq. 3 and 4; the substitute as in TensorFlow Addons. The semihard
        TripletMarginMiner of pytorch-metric-learning differs: it trains on every negative between the
        positive and the margin, uses plain distances, and has no substitute.
    """
    positive, negative = batch_relations(groups, mask)
    similarities = batch_similarities(embeddings, mask)
    chosen = jax.vmap(_semi_hard_negatives)(jax.lax.stop_gradient(similarities), negative)
    negative_similarities = jnp.take_along_axis(similarities, chosen, axis=1)
    costs = jnp.maximum(margin + 2 * (negative_similarities - similarities), 0)
    return masked_mean(costs, positive & negative.any(axis=1, keepdims=True))


def _semi_hard_negatives(similarities: jax.Array, negative: jax.Array) -> jax.Array:
    """For one anchor and each image as its positive, return the index of the negative, int32[B].

    It sorts once and searches; comparing all triplets would cost B^3.
    """
    candidates = jnp.where(negative, similarities, -jnp.inf)
    order = jnp.argsort(candidates)  # furthest to nearest, after those left out
    ascending = candidates[order]
    furthest = jnp.argmax(ascending > -jnp.inf)
    beyond_positive = jnp.searchsorted(ascending, similarities) - 1
    return order[jnp.maximum(beyond_positive, furthest)]
