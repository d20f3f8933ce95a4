"""Jitted training of the two heads on fixed features.

The features live on the device, the steps of a round run inside `lax.scan`, and the batches come from
the host with fixed shapes: however many pairs are labelled, there is one compilation.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from anneal_jax.losses.group import info_nce_loss
from anneal_jax.losses.pair import contrastive_loss, pair_loss
from anneal_jax.models.heads import PairClassifier, SimilarityNetwork
from anneal_jax.training.sampling import PairBatches
from anneal_jax.types import FloatArray, IntArray, Params

CHUNK_STEPS = 50
"""Steps per call of the compiled function; between calls the progress bar moves."""


class HeadParams(NamedTuple):
    """Parameters of the heads.

    Attributes:
      similarity: of the similarity network G.
      classifier: of the pair classifier BC; None where nothing is scored by it.
    """

    similarity: Params
    classifier: Params | None


class FitSettings(NamedTuple):
    """Numbers that steer a fit; hashable, so that they are compiled in.

    Attributes:
      learning_rate: of Adam.
      feature_dropout: share of each feature vector hidden per step, in [0, 1).
      margin: m of the contrastive loss, a cosine.
      beta: weight of the classifier's loss.
      temperature: of the group loss, a cosine.
    """

    learning_rate: float = 1e-3
    feature_dropout: float = 0.3
    margin: float = 0.1
    beta: float = 0.1
    temperature: float = 0.1


def init_heads(key: jax.Array, feature_dim: int, *, with_classifier: bool) -> HeadParams:
    """Draw initial parameters of the heads for features of `feature_dim` numbers."""
    key_similarity, key_classifier = jax.random.split(key)
    feature = jnp.zeros((1, feature_dim), jnp.float32)
    classifier = PairClassifier().init(key_classifier, feature, feature) if with_classifier else None
    return HeadParams(SimilarityNetwork().init(key_similarity, feature), classifier)


def fit_pairs(
    params: HeadParams, features: jax.Array, batches: PairBatches, key: jax.Array, settings: FitSettings
) -> Iterator[HeadParams]:
    """Train the heads on batches of pairs.

    Args:
      params: where to start; given up to the training (donated).
      features: float32[N, F], standardised.
      batches: T steps; T is rounded up to a multiple of `CHUNK_STEPS` by going round once more.
      key: of the feature dropout.
      settings: see `FitSettings`.

    Yields:
      The parameters after each chunk of `CHUNK_STEPS` steps; the last are the result.
    """
    yield from _fit(_pair_objective, params, features, batches, key, settings)


def fit_groups(
    params: HeadParams,
    features: jax.Array,
    image_batches: IntArray,
    groups: IntArray,
    key: jax.Array,
    settings: FitSettings,
) -> Iterator[HeadParams]:
    """Train the similarity network on groups of tiles, as class labels give them.

    Args:
      params: where to start, without a classifier; donated.
      features: float32[N, F], standardised.
      image_batches: int32[T, B], tiles of each step.
      groups: int32[N], the group of each tile.
      key: of the feature dropout.
      settings: see `FitSettings`.

    Yields:
      The parameters after each chunk of `CHUNK_STEPS` steps; the last are the result.
    """
    batches = (image_batches, groups[image_batches])
    yield from _fit(_group_objective, params, features, batches, key, settings)


@jax.jit
def embed_features(similarity: Params, features: jax.Array) -> jax.Array:
    """Map features float32[N, F] to embeddings float32[N, D] of unit norm."""
    return SimilarityNetwork().apply(similarity, features)


def _fit(
    objective: Any,
    params: HeadParams,
    features: jax.Array,
    batches: Any,
    key: jax.Array,
    settings: FitSettings,
) -> Iterator[HeadParams]:
    state = (params, optax.adam(settings.learning_rate).init(params))
    num_steps = len(batches[0])
    for start in range(0, num_steps, CHUNK_STEPS):
        rows = np.arange(start, start + CHUNK_STEPS) % num_steps
        chunk = jax.tree.map(lambda array, rows=rows: array[rows], tuple(batches))
        chunk_key = jax.random.fold_in(key, start)
        state = _run_chunk(objective, settings, state, features, chunk, chunk_key)
        yield state[0]


@functools.partial(jax.jit, static_argnums=(0, 1), donate_argnums=(2,))
def _run_chunk(
    objective: Any, settings: FitSettings, state: Any, features: jax.Array, chunk: Any, key: jax.Array
) -> Any:
    optimiser = optax.adam(settings.learning_rate)

    def step(state: Any, inputs: Any) -> tuple[Any, None]:
        params, optimiser_state = state
        batch, step_key = inputs
        gradients = jax.grad(objective)(params, features, batch, step_key, settings)
        updates, optimiser_state = optimiser.update(gradients, optimiser_state)
        return (optax.apply_updates(params, updates), optimiser_state), None

    return jax.lax.scan(step, state, (chunk, jax.random.split(key, CHUNK_STEPS)))[0]


def _pair_objective(
    params: HeadParams, features: jax.Array, batch: Any, key: jax.Array, settings: FitSettings
) -> jax.Array:
    pairs, labels = batch
    mask = jnp.ones_like(labels)
    # Both towers in one product: [2B, F], first images then second images.
    hidden = _drop(key, features[jnp.swapaxes(pairs, 0, 1).reshape(-1)], settings.feature_dropout)
    first, second = jnp.split(SimilarityNetwork().apply(params.similarity, hidden), 2)
    similarities = jnp.sum(first * second, axis=-1)
    if params.classifier is None:
        return contrastive_loss(similarities, labels, mask, margin=settings.margin)
    logits = PairClassifier().apply(params.classifier, *jnp.split(hidden, 2))
    return pair_loss(
        similarities, logits, labels, mask, margin=settings.margin, beta=settings.beta
    )


def _group_objective(
    params: HeadParams, features: jax.Array, batch: Any, key: jax.Array, settings: FitSettings
) -> jax.Array:
    images, groups = batch
    hidden = _drop(key, features[images], settings.feature_dropout)
    embeddings = SimilarityNetwork().apply(params.similarity, hidden)
    mask = jnp.ones(groups.shape, jnp.float32)
    return info_nce_loss(embeddings, groups, mask, temperature=settings.temperature)


def _drop(key: jax.Array, features: jax.Array, rate: float) -> jax.Array:
    """Hide a share of the numbers and scale up the rest; the share is rounded to 1/256.

    One random byte per number: random bits cost more than the mask itself on a CPU.
    """
    num_hidden = round(rate * 256)
    if num_hidden == 0:
        return features
    is_kept = jax.random.bits(key, features.shape, jnp.uint8) >= jnp.uint8(num_hidden)
    return jnp.where(is_kept, features * (256.0 / (256 - num_hidden)), jnp.zeros_like(features))
