"""The two heads trained on backbone features: the similarity network and the pair classifier."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

WIDTHS = (512, 256, 256)
"""Units of the three dense layers in both heads (hoxha2024anneal)."""

_MIN_SQUARED_NORM = 1e-24


def unit_norm(vectors: jax.Array) -> jax.Array:
    """Scale each vector to length 1.

    A vector shorter than 1e-12 becomes the zero vector, with zero gradient: a plain division would give
    nan, and a small constant in the denominator would give a gradient as large as its inverse.

    Args:
      vectors: float[..., D].

    Returns:
      float[..., D] of length 1, or zero if the input is shorter than 1e-12.

    >>> [[round(x, 3) for x in row] for row in unit_norm(jnp.array([[3.0, 4.0], [0.0, 0.0]])).tolist()]
    [[0.6, 0.8], [0.0, 0.0]]
    """
    squared = jnp.sum(jnp.square(vectors), axis=-1, keepdims=True)
    has_direction = squared > _MIN_SQUARED_NORM
    # The inner `where` keeps the unused branch finite; otherwise its gradient would be 0 * inf.
    inverse = jax.lax.rsqrt(jnp.where(has_direction, squared, jnp.ones_like(squared)))
    return vectors * jnp.where(has_direction, inverse, jnp.zeros_like(inverse))


class SimilarityNetwork(nn.Module):
    """G: maps each image's feature to an embedding for the contrastive loss and retrieval.

    Attributes:
      widths: units per dense layer, ReLU between them and none after the last.

    >>> features = jnp.ones((4, 20))
    >>> network = SimilarityNetwork()
    >>> network.apply(network.init(jax.random.key(0), features), features).shape
    (4, 256)
    """

    widths: tuple[int, ...] = WIDTHS

    def __call__(self, features: jax.Array) -> jax.Array:
        """Embed float32[B, F] as unit vectors float32[B, widths[-1]]."""
        return unit_norm(self.unscaled(features))

    @nn.compact
    def unscaled(self, features: jax.Array) -> jax.Array:
        """Return the embeddings before normalisation, the input of a class layer."""
        hidden = features
        for i, width in enumerate(self.widths):
            hidden = nn.Dense(width, name=f"dense_{i}")(nn.relu(hidden) if i else hidden)
        return hidden


def beside(learnt: jax.Array, others: jax.Array, share: jax.Array) -> jax.Array:
    """Concatenate embeddings and other vectors, so that their cosine is a weighted mean of both cosines.

    Args:
      learnt: float32[B, D], unit norm.
      others: float32[B, P], of any length.
      share: float32[] in [0, 1], weight of the cosine of `others`.

    Returns:
      float32[B, D + P], unit norm: the products of `learnt` have weight 1 - share.

    >>> vectors = jnp.array([[0.0, 2.0]])
    >>> both = beside(jnp.array([[1.0, 0.0]]), vectors, jnp.float32(0.36))
    >>> [round(x, 3) for x in both[0].tolist()]
    [0.8, 0.0, 0.0, 0.6]
    """
    parts = [jnp.sqrt(1 - share) * learnt, jnp.sqrt(share) * unit_norm(others)]
    return unit_norm(jnp.concatenate(parts, axis=-1))


class PairClassifier(nn.Module):
    """BC: the logit of "these two are similar" from the concatenated features of two images.

    Concatenation depends on the order, so training swaps the two at random. Pairs of the same images share
    the products of `classifier_first_layer`.

    Attributes:
      widths: units per dense layer, ReLU after each; one logit follows.

    >>> features = jnp.ones((4, 20))
    >>> classifier = PairClassifier()
    >>> params = classifier.init(jax.random.key(0), features, features)
    >>> classifier.apply(params, features, features).shape
    (4,)
    """

    widths: tuple[int, ...] = WIDTHS

    @nn.compact
    def __call__(self, features_first: jax.Array, features_second: jax.Array) -> jax.Array:
        """Return float32[B], positive for similar, from two float32[B, F]."""
        hidden = jnp.concatenate([features_first, features_second], axis=-1)
        for i, width in enumerate(self.widths):
            hidden = nn.relu(nn.Dense(width, name=f"dense_{i}")(hidden))
        return jnp.squeeze(nn.Dense(1, name="logit")(hidden), axis=-1)


def classifier_first_layer(params: Any, features: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Split the classifier's first layer into the contributions of each image as first and as second.

    The layer is linear in the concatenation: the pair (i, j) has the hidden vector relu(a[i] + b[j]), so N
    images cost N products, not N(N-1)/2.

    Args:
      params: from `PairClassifier().init`.
      features: float32[N, F].

    Returns:
      (a, b), each float32[N, widths[0]]; a includes the layer's bias.
    """
    layer = params["params"]["dense_0"]
    as_first, as_second = jnp.split(layer["kernel"], 2)
    bias = jnp.expand_dims(layer["bias"], 0)
    return features @ as_first + bias, features @ as_second
