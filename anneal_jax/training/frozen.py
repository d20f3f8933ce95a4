"""The frozen regime: features computed once, heads trained anew each round."""

import dataclasses
from collections.abc import Iterator

import numpy as np
from tqdm import tqdm

from anneal_jax.seeds import Use, device_key, host_rng
from anneal_jax.training.head_steps import (
    CHUNK_STEPS,
    FitSettings,
    HeadParams,
    embed_features,
    fit_groups,
    fit_pairs,
    init_heads,
)
from anneal_jax.training.learner import TrainingPairs, classifier_tables
from anneal_jax.training.sampling import cycle_permutations, draw_pair_batches
from anneal_jax.types import FloatArray, IntArray


@dataclasses.dataclass(frozen=True)
class FrozenLearner:
    """Trains the heads on fixed features; a `Learner`.

    Attributes:
      standardised: float32[N, F], features with zero mean and unit scale over the training images.
      centred: float32[N, F], features minus the mean of the training images.
      mean: float32[F], and
      scale: float32[F], that standardise; part of every checkpoint.
      with_classifier: whether the pair classifier is trained; only where it is scored.
      seed: fixes every draw.
      num_steps: optimiser steps per fit.
      batch_size: pairs per step.
      oversample: draw both classes equally often.
      settings: numbers of the fit.
    """

    standardised: FloatArray
    centred: FloatArray
    mean: FloatArray
    scale: FloatArray
    with_classifier: bool
    seed: int
    num_steps: int
    batch_size: int
    oversample: bool
    settings: FitSettings

    def fit_pairs(
        self,
        pairs: TrainingPairs,
        round_index: int,
        previous: HeadParams | None,
        *,
        use: str = "train",
    ) -> HeadParams:
        """Train new heads on pairs; `previous` is not looked at."""
        del previous
        batches = draw_pair_batches(
            host_rng(self.seed, round_index, Use.BATCHES),
            pairs.pair_indices,
            pairs.labels,
            num_steps=self.num_steps,
            batch_size=self.batch_size,
            oversample=self.oversample,
        )
        params = self._initial(round_index)
        key = device_key(self.seed, round_index, Use.NOISE)
        return self._last(fit_pairs(params, self.standardised, batches, key, self.settings), use)

    def fit_classes(self, images: IntArray, classes: IntArray) -> HeadParams:
        """Train the similarity network on class labels."""
        rng = host_rng(self.seed, 0, Use.BATCHES)
        size = min(self.batch_size, len(images))
        drawn = cycle_permutations(rng, len(images), self.num_steps * size)
        groups = np.zeros(len(self.standardised), np.int32)
        groups[images] = classes
        batches = images[drawn].reshape(self.num_steps, size)
        key = device_key(self.seed, 0, Use.NOISE)
        fit = fit_groups(self._initial(0), self.standardised, batches, groups, key, self.settings)
        return self._last(fit, "train")

    def embed(self, params: HeadParams) -> FloatArray:
        """Return the embedding of every tile."""
        return np.asarray(embed_features(params.similarity, self.standardised))

    def features(self, params: HeadParams) -> FloatArray:
        """Return the centred features of every tile; no parameter changes them."""
        del params
        return self.centred

    def first_layer(self, params: HeadParams, images: IntArray) -> tuple:
        """Return the classifier's first layer on some tiles, and the classifier."""
        return classifier_tables(params.classifier, self.standardised[images])

    def template(self) -> HeadParams:
        """Return parameters of the right shapes."""
        return self._initial(0)

    def _initial(self, round_index: int) -> HeadParams:
        key = device_key(self.seed, round_index, Use.WEIGHTS)
        return init_heads(key, self.standardised.shape[1], with_classifier=self.with_classifier)

    def _last(self, fit: Iterator[HeadParams], use: str) -> HeadParams:
        chunks = -(-self.num_steps // CHUNK_STEPS)
        params = None
        # disable=None: a bar on a terminal, silence in a log.
        for params in tqdm(fit, use, chunks, leave=False, disable=None):
            pass
        assert params is not None  # num_steps >= 1
        return params

