"""The two heads as both regimes train them: parameters, settings, and losses."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from anneal_jax.losses.pair import contrastive_loss, pair_loss
from anneal_jax.losses.registry import get_group_loss
from anneal_jax.models.heads import PairClassifier, SimilarityNetwork, beside
from anneal_jax.types import FloatArray, Params

_BESIDE = "features"


class HeadParams(NamedTuple):
    """Parameters of the heads.

    Attributes:
      similarity: of the similarity network G.
      classifier: of the pair classifier BC; None if nothing is scored by it.
    """

    similarity: Params
    classifier: Params | None


class FitSettings(NamedTuple):
    """Settings of a fit; hashable, because they are constants of compiled functions.

    Attributes:
      learning_rate: of Adam, at first.
      schedule: of that rate over a fit, `constant` or `cosine`; see `training.optimiser`.
      feature_dropout: share of each feature vector hidden per step, in [0, 1).
      margin: m of the contrastive loss, a cosine.
      beta: weight of the classifier's loss.
      group_loss: name of the loss that trains on groups.
      group_loss_settings: keywords of that loss and their values; the others keep their defaults.
    """

    learning_rate: float = 1e-3
    schedule: str = "constant"
    feature_dropout: float = 0.3
    margin: float = 0.1
    beta: float = 0.1
    group_loss: str = "info_nce"
    group_loss_settings: tuple[tuple[str, float], ...] = ()


class Objective(Protocol):
    """The loss of the heads on one batch of features."""

    def __call__(
        self, heads: Any, features: jax.Array, targets: jax.Array, settings: FitSettings, /
    ) -> jax.Array:
        """Return float32[]; `features` are those of `flat_rows(rows)`, `heads` as `fit` got them."""
        ...


@functools.partial(jax.jit, static_argnames=("feature_dim", "with_classifier"))
def init_heads(key: jax.Array, feature_dim: int, *, with_classifier: bool) -> HeadParams:
    """Draw initial parameters of the heads for features of `feature_dim` numbers."""
    key_similarity, key_classifier = jax.random.split(key)
    feature = jnp.zeros((1, feature_dim), jnp.float32)
    classifier = PairClassifier().init(key_classifier, feature, feature) if with_classifier else None
    return HeadParams(SimilarityNetwork().init(key_similarity, feature), classifier)


def flat_rows(rows: jax.Array) -> jax.Array:
    """List the images of a batch: all first images of its pairs, then all second ones.

    Both towers then pass through a network as one product.

    Args:
      rows: int32[B, 2], pairs; or int32[B], images, which are returned as they are.

    >>> flat_rows(jnp.array([[0, 5], [1, 6]])).tolist()
    [0, 1, 5, 6]
    """
    return rows.T.reshape(-1)


def pair_objective(
    heads: HeadParams,
    features: jax.Array,
    labels: jax.Array,
    settings: FitSettings,
    *,
    weights: jax.Array | None = None,
) -> jax.Array:
    """Return ANNEAL's loss of a batch of pairs, without the classifier's part if there is none.

    Args:
      heads: their parameters.
      features: float32[2B, F], first images then second ones.
      labels: float32[B], 1 similar, 0 dissimilar.
      settings: see `FitSettings`.
      weights: float32[B] >= 0, of each pair in the mean; by default all have the same weight.
    """
    first, second = jnp.split(_embed(heads.similarity, features), 2)
    similarities = jnp.sum(first * second, axis=-1)
    mask = jnp.ones_like(labels) if weights is None else weights
    if heads.classifier is None:
        return contrastive_loss(similarities, labels, mask, margin=settings.margin)
    logits = jnp.asarray(PairClassifier().apply(heads.classifier, *jnp.split(features, 2)))
    return pair_loss(similarities, logits, labels, mask, margin=settings.margin, beta=settings.beta)


def group_objective(
    heads: HeadParams, features: jax.Array, groups: jax.Array, settings: FitSettings
) -> jax.Array:
    """Return the group loss of a batch of images; it only trains the similarity network.

    Args:
      heads: their parameters.
      features: float32[B, F].
      groups: int32[B], the group of each image, such as its class; -1 leaves the image out.
      settings: see `FitSettings`.
    """
    loss: Callable[..., jax.Array] = get_group_loss(settings.group_loss)
    embeddings = _embed(heads.similarity, features)
    return loss(embeddings, groups, groups >= 0, **dict(settings.group_loss_settings))


@jax.jit
def embed_features(similarity: Params, features: Any) -> jax.Array:
    """Map features float32[N, F] to embeddings float32[N, D] of unit norm."""
    # An accelerator's faster, coarser products would make questions depend on the machine.
    with jax.default_matmul_precision("float32"):
        learnt = _embed(similarity, features)
        if _BESIDE not in similarity:
            return learnt
        return beside(learnt, features @ similarity[_BESIDE]["basis"], similarity[_BESIDE]["share"])


def with_features(heads: HeadParams, basis: FloatArray, share: float) -> HeadParams:
    """Add the features to embeddings; no training changes this part.

    Args:
      heads: their parameters.
      basis: float32[F, P], the directions of the features that are kept.
      share: weight of their cosine, in [0, 1].
    """
    kept = {"basis": basis, "share": np.float32(share)}
    return heads._replace(similarity={"params": heads.similarity["params"], _BESIDE: kept})


def without_features(heads: HeadParams) -> HeadParams:
    """Return the trained part of heads, without features."""
    return heads._replace(similarity={"params": heads.similarity["params"]})


def embedding_dim(similarity: Params) -> int:
    """Return D, numbers per embedding."""
    learnt = jax.tree.leaves(similarity["params"])[-1].shape[-1]
    return learnt + (similarity[_BESIDE]["basis"].shape[-1] if _BESIDE in similarity else 0)


def _embed(similarity: Params, features: jax.Array) -> jax.Array:
    return jnp.asarray(SimilarityNetwork().apply({"params": similarity["params"]}, features))
