"""Losses of a batch with known groups: each pulls groups together in its own way.

All share one signature, `(embeddings, groups, mask, *, ...) -> float32[]`. A group is a class label or a
set of images joined by similar answers. Every image is an anchor in turn, never its own positive or
negative; s_ab is the cosine of two images' embeddings.
"""

import jax
import jax.numpy as jnp

from anneal_jax.losses.masking import (
    batch_relations,
    batch_similarities,
    logsumexp_where,
    masked_mean,
)


def group_contrastive_loss(
    embeddings: jax.Array, groups: jax.Array, mask: jax.Array, *, margin: float = 0.1
) -> jax.Array:
    """Contrastive loss over all pairs of a batch, with equal weight for both kinds.

    Half the mean of 1 - s over the positive pairs plus half the mean of max(0, s - margin) over
    the negative ones. With 21 classes only 5% of the pairs are positive; the equal weights correspond to
    the oversampling of answered pairs.

    Args:
      embeddings: float32[B, D], unit norm.
      groups: int32[B].
      mask: bool[B], False leaves a row out.
      margin: similarity in [-1, 1] below which a negative pair costs nothing.

    Returns:
      float32[], >= 0; a kind without pairs adds 0.

    Source: henkel2023anneal, eq. 1, for each pair; the balance is this project's. The
    ContrastiveLoss of pytorch-metric-learning, with pos_margin 1, neg_margin, CosineSimilarity and
    a MeanReducer, adds both means instead of halving them, so it is twice this loss.
    """
    positive, negative = batch_relations(groups, mask)
    similarities = batch_similarities(embeddings, mask)
    pull = masked_mean(1 - similarities, positive)
    push = masked_mean(jnp.maximum(similarities - margin, 0), negative)
    return 0.5 * pull + 0.5 * push


def info_nce_loss(
    embeddings: jax.Array, groups: jax.Array, mask: jax.Array, *, temperature: float = 0.1
) -> jax.Array:
    """InfoNCE over groups: the supervised contrastive loss.

    For an anchor a with positives P(a), and A(a) all other images of the batch, positives too:
    mean over p in P(a) of -log( exp(s_ap / t) / sum over b in A(a) of exp(s_ab / t) ),
    averaged over the anchors that have a positive.

    Args:
      embeddings: float32[B, D], unit norm.
      groups: int32[B].
      mask: bool[B], False leaves a row out.
      temperature: t > 0.

    Returns:
      float32[], >= 0; 0 if no anchor has a positive.

    Source: khosla2020supervised, eq. 2 (the sum outside the log). Equal to the SupConLoss of
    pytorch-metric-learning, but for batches of one group, which cost 0 there, and for anchors that
    cost exactly 0, which its mean leaves out.
    """
    positive, negative = batch_relations(groups, mask)
    logits = batch_similarities(embeddings, mask) / temperature
    normalisers = logsumexp_where(logits, positive | negative)
    costs = masked_mean(normalisers[:, None] - logits, positive, axis=1)
    return masked_mean(costs, positive.any(axis=1))


def n_pairs_loss(
    embeddings: jax.Array, groups: jax.Array, mask: jax.Array, *, temperature: float = 0.1
) -> jax.Array:
    """N-pairs: compares each positive with all negatives of its anchor at once.

    log( 1 + sum over negatives n of a of exp((s_an - s_ap) / t) ), averaged over all ordered
    positive pairs (a, p) whose anchor has a negative.

    Args:
      embeddings: float32[B, D], unit norm.
      groups: int32[B].
      mask: bool[B], False leaves a row out.
      temperature: t > 0.

    Returns:
      float32[], >= 0; 0 if no anchor has both a positive and a negative.

      Source: sohn2016npair, eq. 6. In the paper a batch holds two images of each class, and a penalty
        limits the length of the embeddings. Here every positive pair counts, and unit norm with a
        temperature replaces the penalty, as in the NTXentLoss of pytorch-metric-learning. Its NPairsLoss
        uses one pair of each class, like the paper.
    """
    positive, negative = batch_relations(groups, mask)
    logits = batch_similarities(embeddings, mask) / temperature
    costs = jax.nn.softplus(logsumexp_where(logits, negative)[:, None] - logits)
    return masked_mean(costs, positive & negative.any(axis=1, keepdims=True))


def multi_similarity_loss(
    embeddings: jax.Array,
    groups: jax.Array,
    mask: jax.Array,
    *,
    positive_scale: float = 2.0,
    negative_scale: float = 50.0,
    base: float = 0.5,
    mining_margin: float = 0.1,
) -> jax.Array:
    """Multi-similarity: mine the pairs that violate a ranking, and weight them smoothly.

    An anchor keeps a positive with s - mining_margin below its most similar negative, and a
    negative with s + mining_margin above its least similar positive. With alpha and beta the two
    scales it costs log(1 + sum over kept positives of exp(-alpha (s - base))) / alpha
    + log(1 + sum over kept negatives of exp(beta (s - base))) / beta; mean over the anchors.

    Args:
      embeddings: float32[B, D], unit norm.
      groups: int32[B].
      mask: bool[B], False leaves a row out, as an anchor too.
      positive_scale: alpha > 0.
      negative_scale: beta > 0.
      base: similarity around which pairs are weighted (lambda in the paper).
      mining_margin: epsilon >= 0 in the paper.

    Returns:
      float32[], >= 0. An anchor without either kind costs 0 but counts in the mean, as in the authors'
      program.

    Source: wang2019multi, eq. 11, 12 and 16; the defaults are the authors' program's. Equal to the
    MultiSimilarityLoss of pytorch-metric-learning with its MultiSimilarityMiner; without it, that
    loss mines nothing.
    """
    positive, negative = batch_relations(groups, mask)
    similarities = batch_similarities(embeddings, mask)
    hardest_negative = jnp.max(similarities, axis=1, where=negative, initial=-jnp.inf)
    hardest_positive = jnp.min(similarities, axis=1, where=positive, initial=jnp.inf)
    positive &= similarities - mining_margin < hardest_negative[:, None]
    negative &= similarities + mining_margin > hardest_positive[:, None]
    pulls = logsumexp_where(-positive_scale * (similarities - base), positive)
    pushes = logsumexp_where(negative_scale * (similarities - base), negative)
    costs = jax.nn.softplus(pulls) / positive_scale + jax.nn.softplus(pushes) / negative_scale
    return masked_mean(costs, mask)
