"""Losses of answered pairs: contrastive, binary cross-entropy, and the sum that ANNEAL trains with.

Each takes a mask, so that a batch keeps its shape however few pairs it has. A mask of floats weights the
pairs, for instance derived ones less than answered ones.
"""

import jax
import jax.numpy as jnp
import optax

from anneal_jax.losses.masking import masked_mean


def contrastive_loss(
    similarities: jax.Array, labels: jax.Array, mask: jax.Array, *, margin: float = 0.1
) -> jax.Array:
    """Pull similar pairs together and push dissimilar ones below a margin.

    Mean over pairs of 1 - s where y = 1, and of max(0, s - margin) where y = 0.

    Args:
      similarities: float32[P], cosines s in [-1, 1].
      labels: int[P], y: 1 similar, 0 dissimilar.
      mask: bool[P], or float32[P] weights >= 0.
      margin: similarity in [-1, 1] below which a dissimilar pair costs nothing.

    Returns:
      float32[], 0 if the mask is empty.

    Source: henkel2023anneal, eq. 1. The ContrastiveLoss of pytorch-metric-learning adds the mean over
      similar pairs to that over dissimilar ones; this loss is a single mean over all.

    >>> s, y = jnp.array([0.75, 0.6]), jnp.array([1, 0])
    >>> round(float(contrastive_loss(s, y, jnp.array([True, True]))), 3)
    0.375
    """
    similarities = jnp.where(mask.astype(bool), similarities, 0)
    similar = labels.astype(bool)
    costs = jnp.where(similar, 1 - similarities, jnp.maximum(similarities - margin, 0))
    return masked_mean(costs, mask)


def binary_cross_entropy_loss(logits: jax.Array, labels: jax.Array, mask: jax.Array) -> jax.Array:
    """Cross-entropy of the pair classifier's logits.

    Mean over pairs of -y log p - (1 - y) log(1 - p), p = sigmoid(logit). The paper prints it
    without the minus signs, which would train the classifier to be wrong.

    Args:
      logits: float32[P], any real number; computed without forming p, so none overflows.
      labels: int[P], y: 1 similar, 0 dissimilar.
      mask: bool[P], or float32[P] weights >= 0.

    Returns:
      float32[], 0 if the mask is empty.

    Source: henkel2023anneal, eq. 2, with its sign corrected. pytorch-metric-learning has no loss for a pair
      classifier.
    """
    logits = jnp.where(mask.astype(bool), logits, 0)
    costs = optax.sigmoid_binary_cross_entropy(logits, labels.astype(logits.dtype))
    return masked_mean(costs, mask)


def pair_loss(
    similarities: jax.Array,
    logits: jax.Array,
    labels: jax.Array,
    mask: jax.Array,
    *,
    margin: float = 0.1,
    beta: float = 0.1,
) -> jax.Array:
    """Train the similarity network and the pair classifier together.

    (1 - beta) * contrastive_loss + beta * binary_cross_entropy_loss.

    Args:
      similarities: float32[P], cosines in [-1, 1].
      logits: float32[P], logits of the pair classifier.
      labels: int[P], 1 similar, 0 dissimilar.
      mask: bool[P], or float32[P] weights >= 0.
      margin: margin of the contrastive loss, in [-1, 1].
      beta: share of the cross-entropy, in [0, 1].

    Returns:
      float32[], 0 if the mask is empty.

    Source: henkel2023anneal, eq. 3.
    """
    contrastive = contrastive_loss(similarities, labels, mask, margin=margin)
    return (1 - beta) * contrastive + beta * binary_cross_entropy_loss(logits, labels, mask)
