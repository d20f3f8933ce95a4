"""The frozen regime: features computed once, new heads trained each round."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from anneal_jax.seeds import Use, device_key, host_rng
from anneal_jax.training.head_fit import fit
from anneal_jax.training.head_steps import (
    FitSettings,
    HeadParams,
    Objective,
    flat_rows,
    group_objective,
    init_heads,
    pair_objective,
    with_features,
)
from anneal_jax.training.learner import (
    TrainingPairs,
    embed_standardised,
    standardise,
    tabulate_classifier,
)
from anneal_jax.training.optimiser import Schedule
from anneal_jax.training.sampling import (
    GroupBatches,
    draw_group_batches,
    draw_pair_batches,
    draw_weighted_group_batches,
)
from anneal_jax.types import ClassifierTables, FloatArray, IntArray

MAX_DIRECTIONS = 256
"""Maximum numbers of an embedding for the features, as many as for what is learnt."""

MAX_SPANNED = 20_000
"""Maximum training tiles from which these directions are computed."""

CHUNK_STEPS = 50
"""Steps per call of the compiled function. A fit is rounded up to a whole number of calls."""


@dataclasses.dataclass(frozen=True)
class FrozenLearner:
    """Trains the heads on fixed features; a `Learner`.

    Attributes:
      stored_features: float32[N, F], the backbone's features of every tile.
      mean: float32[F], and
      scale: float32[F], of the training images; they standardise, and are part of every checkpoint.
      train_images: int32[M], the training images.
      with_classifier: whether the pair classifier is trained, if its scores are used.
      seed: determines every draw.
      settings: settings of the fit.
      num_steps: optimiser steps per fit.
      batch_size: pairs per step.
      oversample: draw both classes equally often.
      heads_use: what initial heads are drawn for: apart from a random backbone that learns with them.
    """

    stored_features: FloatArray
    mean: FloatArray
    scale: FloatArray
    train_images: IntArray
    with_classifier: bool
    seed: int
    settings: FitSettings
    num_steps: int = 600
    batch_size: int = 256
    oversample: bool = True
    heads_use: Use = Use.WEIGHTS

    @property
    def heads_only(self) -> "FrozenLearner":
        """Itself: nothing but the heads learns."""
        return self

    def fit_pairs(
        self,
        pairs: TrainingPairs,
        round_index: int,
        previous: HeadParams | None,
        *,
        use: str = "train",
    ) -> HeadParams:
        """Train new heads on pairs; `previous` is not used."""
        del previous
        batches = draw_pair_batches(
            host_rng(self.seed, round_index, Use.BATCHES),
            pairs.pair_indices,
            pairs.labels,
            num_steps=self.num_steps,
            batch_size=self.batch_size,
            oversample=self.oversample,
        )
        return self._fit(pair_objective, tuple(batches), round_index, use)

    def fit_classes(
        self,
        images: IntArray,
        classes: IntArray,
        round_index: int = 0,
        *,
        weights: npt.NDArray[np.float64] | None = None,
        use: str = "train",
    ) -> HeadParams:
        """Train a new similarity network on class labels or other groups."""
        if weights is None:
            batches = self.group_batches(images, classes, round_index)
        else:
            batches = draw_weighted_group_batches(
                host_rng(self.seed, round_index, Use.BATCHES),
                images,
                classes,
                weights,
                num_steps=self.num_steps,
                batch_size=self.batch_size,
            )
        return self._fit(group_objective, tuple(batches), round_index, use)

    def group_batches(self, images: IntArray, classes: IntArray, round_index: int) -> GroupBatches:
        """Draw a round's batches of tiles with their classes, or other groups."""
        return draw_group_batches(
            host_rng(self.seed, round_index, Use.BATCHES),
            images,
            classes,
            num_steps=self.num_steps,
            batch_size=self.batch_size,
        )

    def beside_features(self, params: HeadParams, share: float) -> HeadParams:
        """Return heads whose embeddings include a share of the features, in their main directions."""
        return with_features(params, self.main_directions, share)

    def features(self, params: HeadParams | None) -> FloatArray:
        """Return the features of every tile; no parameter changes them."""
        del params
        return self.stored_features

    def embed(self, params: HeadParams, features: FloatArray) -> FloatArray:
        """Return the embeddings of tiles with these features."""
        return embed_standardised(params.similarity, features, self.mean, self.scale)

    def classifier_tables(self, params: HeadParams, features: FloatArray) -> ClassifierTables:
        """Return the classifier for the all-pairs scan over tiles with these features."""
        return tabulate_classifier(params.classifier, features, self.mean, self.scale)

    def template(self) -> HeadParams:
        """Return parameters of the right shapes."""
        return self._initial(0)

    @functools.cached_property
    def standardised(self) -> jax.Array:
        """float32[N, F], the standardised features, copied to the device once."""
        return jax.device_put(standardise(self.stored_features, self.mean, self.scale))

    @property
    def spanned(self) -> IntArray:
        """int32[S], training images from which directions are computed; S is at most 20,000."""
        return self.train_images[:: -(-len(self.train_images) // MAX_SPANNED)]

    @functools.cached_property
    def main_directions(self) -> FloatArray:
        """float32[F, P], the main directions of the stored features."""
        return self.main_directions_of(self.stored_features[self.spanned])

    def main_directions_of(self, features: FloatArray) -> FloatArray:
        """Return the principal directions float32[F, P] of features float32[S, F]; P is at most 256."""
        standard = standardise(features, self.mean, self.scale).astype(np.float64)
        _, directions = np.linalg.eigh(standard.T @ standard)
        return np.ascontiguousarray(directions[:, : -MAX_DIRECTIONS - 1 : -1], np.float32)

    def _initial(self, round_index: int) -> HeadParams:
        key = device_key(self.seed, round_index, self.heads_use)
        return init_heads(key, len(self.mean), with_classifier=self.with_classifier)

    def _fit(self, objective: Objective, batches: Any, round_index: int, use: str) -> HeadParams:
        return fit(
            FrozenLoss(objective, self.settings),
            self._initial(round_index),
            self.standardised,
            batches,
            device_key(self.seed, round_index, Use.NOISE),
            schedule=Schedule(self.settings.schedule, self.settings.learning_rate),
            chunk_steps=CHUNK_STEPS,
            use=use,
        ).params


class FrozenLoss(NamedTuple):
    """The heads' loss on stored features, part of which are hidden; a `Loss`.

    Attributes:
      objective: of the heads.
      settings: numbers of the fit.
    """

    objective: Objective
    settings: FitSettings

    def __call__(self, heads: Any, features: jax.Array, batch: Any, key: jax.Array) -> jax.Array:
        """Return the loss of a batch (rows, targets) of rows of float32[N, F]."""
        rows, targets = batch
        visible = drop(key, features[flat_rows(rows)], self.settings.feature_dropout)
        return self.objective(heads, visible, targets, self.settings)


def drop(key: jax.Array, features: jax.Array, rate: float) -> jax.Array:
    """Hide a share of the numbers and scale up the rest, which keeps the expectation.

    One random byte per number: random bits cost more than the mask itself on a CPU.

    Args:
      key: of the draw.
      features: float32[...].
      rate: the share in [0, 1), rounded to 1/256.
    """
    num_hidden = round(rate * 256)
    if num_hidden == 0:
        return features
    is_kept = jax.random.bits(key, features.shape, jnp.uint8) >= jnp.uint8(num_hidden)
    return jnp.where(is_kept, features * (256.0 / (256 - num_hidden)), jnp.zeros_like(features))
