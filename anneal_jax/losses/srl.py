"""Similarity retention loss, a reconstruction: no public text gives its formulas.

The abstract states the ideas; this module fills in the rest, with ranked list loss as the nearest published
model. Results with it say nothing certain about the authors' own loss.

| idea of the abstract | here |
|---|---|
| easy and hard samples are redefined by a threshold | positives within or beyond a radius |
| samples are mined by the size of the class | as many negatives as the anchor has positives |
| and by spatial distribution | of those, only negatives nearer than a distance |
| hard positives are weighted by the ratio of easy to hard ones | weight 1 + easy / hard |
| negatives are weighted by the samples around them | weight = samples within their radius |
| structure within a class is kept | positives within the radius cost nothing |
"""

import jax
import jax.numpy as jnp

from anneal_jax.losses.masking import batch_distances, batch_relations, masked_mean


def similarity_retention_loss(
    embeddings: jax.Array,
    groups: jax.Array,
    mask: jax.Array,
    *,
    negative_distance: float = 1.2,
    margin: float = 0.4,
    balance: float = 0.5,
) -> jax.Array:
    """Similarity retention loss (SRL) as reconstructed here.

    With alpha = negative_distance and the radius r = alpha - margin, an anchor with E positives
    within r and H beyond costs
    (1 - balance) * (1 + E / H) * mean over the H hard positives of (d - r)
    + balance * weighted mean over its mined negatives of (alpha - d).
    It mines the E + H nearest negatives (and all ties with the last) that are nearer than alpha; the weight
    of a negative is the number of images of the batch within r of it, including itself. Weights and mining
    are constants to the gradient. The loss is the mean over the anchors.

    Args:
      embeddings: float32[B, D], unit norm.
      groups: int32[B].
      mask: bool[B], False leaves a row out, as an anchor too.
      negative_distance: alpha, a distance in [0, 2] that negatives should keep.
      margin: a distance in [0, alpha] between positives and negatives.
      balance: share of the negatives in [0, 1].

    Returns:
      float32[], >= 0; an anchor without positives costs 0, because it mines no negatives either.

    Source: the ideas of zhao2020srl; form and defaults are this project's. pytorch-metric-learning
    has no such loss.
    """
    positive, negative = batch_relations(groups, mask)
    distances = batch_distances(embeddings, mask)
    radius = negative_distance - margin
    hard = positive & (distances > radius)
    pulls = _hard_positive_weights(positive, hard) * masked_mean(distances - radius, hard, axis=1)
    constant = jax.lax.stop_gradient(distances)
    mined = _nearest(constant, negative, positive.sum(axis=1)) & (distances < negative_distance)
    weights = jnp.where(mined, _densities(constant, mask, radius)[None, :], 0)
    pushes = masked_mean(negative_distance - distances, weights, axis=1)
    return masked_mean((1 - balance) * pulls + balance * pushes, mask)


def _hard_positive_weights(positive: jax.Array, hard: jax.Array) -> jax.Array:
    """Return float32[B], 1 + easy / hard of each anchor: fewer hard positives get larger weights."""
    num_hard = hard.sum(axis=1).astype(jnp.float32)
    num_positive = positive.sum(axis=1).astype(jnp.float32)
    return num_positive / jnp.maximum(num_hard, 1)


def _nearest(distances: jax.Array, candidates: jax.Array, counts: jax.Array) -> jax.Array:
    """Mark the `counts` nearest candidates of each row and all ties with the last one."""
    candidate_distances = jnp.where(candidates, distances, jnp.inf)
    last = jnp.maximum(counts - 1, 0)[:, None]
    bounds = jnp.take_along_axis(jnp.sort(candidate_distances, axis=1), last, axis=1)
    return candidates & (distances <= bounds) & (counts > 0)[:, None]


def _densities(distances: jax.Array, mask: jax.Array, radius: float) -> jax.Array:
    """Count the images of the batch within `radius` of each, including itself, float32[B]."""
    return jnp.sum((distances <= radius) & mask.astype(bool)[None, :], axis=1).astype(jnp.float32)
