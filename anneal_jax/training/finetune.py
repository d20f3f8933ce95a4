"""The finetune regime: the whole network learns, and each round goes on from the one before."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from anneal_jax.losses.group import info_nce_loss
from anneal_jax.losses.pair import contrastive_loss, pair_loss
from anneal_jax.models.backbones import Backbone
from anneal_jax.models.heads import PairClassifier, SimilarityNetwork
from anneal_jax.seeds import Use, device_key, host_rng
from anneal_jax.training.augment import flip_and_turn
from anneal_jax.training.head_steps import FitSettings, HeadParams, embed_features, init_heads
from anneal_jax.training.learner import TrainingPairs, centred, classifier_tables
from anneal_jax.training.sampling import cycle_permutations, draw_pair_batches
from anneal_jax.types import FloatArray, IntArray, Params

CHUNK_STEPS = 4
"""Steps per call of the compiled function. A fit is rounded up to a whole number of calls."""

_ENCODE_BATCH = 64


class NetworkParams(NamedTuple):
    """Parameters of the whole network.

    Attributes:
      backbone: variables of the backbone.
      heads: similarity network and, where it is scored, pair classifier.
    """

    backbone: Params
    heads: HeadParams


@dataclasses.dataclass(frozen=True)
class FinetuneLearner:
    """Trains backbone and heads on the tiles themselves; a `Learner`.

    Attributes:
      images: uint8[N, S, S, 3], every tile of the archive.
      train_images: int32[M], the training images.
      backbone: the network; batch norm stays at its stored statistics.
      variables: the backbone's weights before the first round.
      mean: float32[F], and
      scale: float32[F], of the first features of the training images: they keep the heads' input near
        unit size and stay fixed while the backbone learns.
      with_classifier: whether the pair classifier is trained.
      seed: fixes every draw.
      epochs_first: epochs in round 0.
      epochs: epochs in each later round.
      batch_size: pairs per step; tiles per step for class labels.
      oversample: draw both classes equally often.
      augment: mirror and turn each tile by right angles.
      settings: numbers of the fit; feature dropout is not used here.
    """

    images: np.ndarray
    train_images: IntArray
    backbone: Backbone
    variables: Params
    mean: FloatArray
    scale: FloatArray
    with_classifier: bool
    seed: int
    epochs_first: int
    epochs: int
    batch_size: int
    oversample: bool
    augment: bool
    settings: FitSettings

    def fit_pairs(
        self,
        pairs: TrainingPairs,
        round_index: int,
        previous: NetworkParams | None,
        *,
        use: str = "train",
    ) -> NetworkParams:
        """Train on pairs, from `previous` on where it is given."""
        epochs = self.epochs_first if previous is None else self.epochs
        num_steps = max(1, epochs * len(pairs.labels) // self.batch_size)
        batches = draw_pair_batches(
            host_rng(self.seed, round_index, Use.BATCHES),
            pairs.pair_indices,
            pairs.labels,
            num_steps=_whole_chunks(num_steps),
            batch_size=self.batch_size,
            oversample=self.oversample,
        )
        # Copied, since the training gives its input up and the caller may still hold `previous`.
        start = self.template() if previous is None else jax.tree.map(jnp.array, previous)
        return self._fit(_pair_objective, start, tuple(batches), round_index, use)

    def fit_classes(self, images: IntArray, classes: IntArray) -> NetworkParams:
        """Train on class labels."""
        size = min(self.batch_size, len(images))
        num_steps = _whole_chunks(max(1, self.epochs_first * len(images) // size))
        rng = host_rng(self.seed, 0, Use.BATCHES)
        drawn = cycle_permutations(rng, len(images), num_steps * size).reshape(num_steps, size)
        batches = (images[drawn], classes[drawn])
        return self._fit(_group_objective, self.template(), batches, 0, "train")

    def embed(self, params: NetworkParams) -> FloatArray:
        """Return the embedding of every tile."""
        standardised = self._standardised(params)
        return np.asarray(embed_features(params.heads.similarity, standardised))

    def features(self, params: NetworkParams) -> FloatArray:
        """Return the centred features of every tile."""
        return centred(self._raw_features(params), self.train_images)

    def first_layer(self, params: NetworkParams, images: IntArray) -> tuple:
        """Return the classifier's first layer on some tiles, and the classifier."""
        return classifier_tables(params.heads.classifier, self._standardised(params)[images])

    def template(self) -> NetworkParams:
        """Return the parameters before the first round."""
        heads = init_heads(
            device_key(self.seed, 0, Use.WEIGHTS),
            self.backbone.feature_dim,
            with_classifier=self.with_classifier,
        )
        return NetworkParams(jax.tree.map(jnp.array, self.variables), heads)

    def _fit(
        self, objective: Any, params: NetworkParams, batches: Any, round_index: int, use: str
    ) -> NetworkParams:
        state = (params, optax.adam(self.settings.learning_rate).init(params))
        keys = jax.random.split(device_key(self.seed, round_index, Use.NOISE), len(batches[0]))
        inputs = (*batches, keys)
        spec = _Spec(objective, self.backbone, self.settings, self.augment)
        constants = (jnp.asarray(self.images), self.mean, self.scale)
        for start in tqdm(
            range(0, len(keys), CHUNK_STEPS), use, leave=False, disable=None, unit_scale=CHUNK_STEPS
        ):
            chunk = tuple(array[start : start + CHUNK_STEPS] for array in inputs)
            state = _run_chunk(spec, state, constants, chunk)
        return state[0]

    def _raw_features(self, params: NetworkParams) -> FloatArray:
        return encode(self.backbone, params.backbone, self.images)

    def _standardised(self, params: NetworkParams) -> FloatArray:
        return (self._raw_features(params) - self.mean[None]) / self.scale[None]


def encode(backbone: Backbone, variables: Params, images: np.ndarray) -> FloatArray:
    """Return the features float32[N, F] of tiles uint8[N, S, S, 3], in batches of one shape."""
    parts = []
    for start in range(0, len(images), _ENCODE_BATCH):
        batch = images[start : start + _ENCODE_BATCH]
        missing = _ENCODE_BATCH - len(batch)
        padded = np.pad(batch, [(0, missing), (0, 0), (0, 0), (0, 0)])
        parts.append(np.asarray(_encode_batch(backbone, variables, padded))[: len(batch)])
    return np.concatenate(parts)


@functools.partial(jax.jit, static_argnums=0)
def _encode_batch(backbone: Backbone, variables: Params, images: jax.Array) -> jax.Array:
    return backbone.apply(variables, images)


class _Spec(NamedTuple):
    """What is compiled into a step."""

    objective: Any
    backbone: Backbone
    settings: FitSettings
    augment: bool


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _run_chunk(spec: _Spec, state: Any, constants: Any, chunk: Any) -> Any:
    optimiser = optax.adam(spec.settings.learning_rate)
    images, mean, scale = constants

    def loss(params: NetworkParams, batch: Any) -> jax.Array:
        *rows, targets, key = batch

        def encode_rows(indices: jax.Array) -> jax.Array:
            tiles = images[indices]
            tiles = flip_and_turn(key, tiles) if spec.augment else tiles
            features = spec.backbone.apply(params.backbone, tiles)
            return (features - jnp.expand_dims(mean, 0)) / jnp.expand_dims(scale, 0)

        return spec.objective(params.heads, encode_rows, rows[0], targets, spec.settings)

    def step(state: Any, batch: Any) -> tuple[Any, None]:
        params, optimiser_state = state
        gradients = jax.grad(loss)(params, batch)
        updates, optimiser_state = optimiser.update(gradients, optimiser_state)
        return (optax.apply_updates(params, updates), optimiser_state), None

    return jax.lax.scan(step, state, chunk)[0]


def _pair_objective(
    heads: HeadParams, encode_rows: Any, pairs: jax.Array, labels: jax.Array, settings: FitSettings
) -> jax.Array:
    # Both towers in one pass: [2B, ...], first images then second images.
    features = encode_rows(jnp.swapaxes(pairs, 0, 1).reshape(-1))
    first, second = jnp.split(SimilarityNetwork().apply(heads.similarity, features), 2)
    similarities, mask = jnp.sum(first * second, axis=-1), jnp.ones_like(labels)
    if heads.classifier is None:
        return contrastive_loss(similarities, labels, mask, margin=settings.margin)
    logits = PairClassifier().apply(heads.classifier, *jnp.split(features, 2))
    return pair_loss(similarities, logits, labels, mask, margin=settings.margin, beta=settings.beta)


def _group_objective(
    heads: HeadParams, encode_rows: Any, rows: jax.Array, groups: jax.Array, settings: FitSettings
) -> jax.Array:
    embeddings = SimilarityNetwork().apply(heads.similarity, encode_rows(rows))
    mask = jnp.ones(groups.shape, jnp.float32)
    return info_nce_loss(embeddings, groups, mask, temperature=settings.temperature)


def _whole_chunks(num_steps: int) -> int:
    return -(-num_steps // CHUNK_STEPS) * CHUNK_STEPS
