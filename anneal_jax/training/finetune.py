"""The finetune regime: the whole network learns, and each round goes on from the one before."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from anneal_jax.models.backbones import Backbone
from anneal_jax.seeds import Use, device_key, host_rng
from anneal_jax.training.augment import augment
from anneal_jax.training.encoding import encode
from anneal_jax.training.fitting import fit
from anneal_jax.training.head_steps import (
    FitSettings,
    HeadParams,
    Objective,
    flat_rows,
    group_objective,
    init_heads,
    pair_objective,
)
from anneal_jax.training.learner import (
    TrainingPairs,
    embed_standardised,
    standardise,
    tabulate_classifier,
)
from anneal_jax.training.sampling import (
    draw_image_batches,
    draw_pair_batches,
    draw_weighted_group_batches,
)
from anneal_jax.types import ClassifierTables, FloatArray, IntArray, Params

CHUNK_STEPS = 1
"""Steps per call of the compiled function. On a CPU, XLA's convolutions are several times slower inside
a loop of more; on a GPU a step of a whole network is long enough for the host to keep ahead."""


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
      augment: `none`, `turn` or `full`, see `training.augment`.
      settings: numbers of the fit; feature dropout is not used here.
    """

    images: np.ndarray
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
    augment: str
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
            num_steps=num_steps,
            batch_size=self.batch_size,
            oversample=self.oversample,
        )
        start = self.template() if previous is None else previous
        return self._fit(pair_objective, start, tuple(batches), round_index, use)

    def fit_classes(
        self,
        images: IntArray,
        classes: IntArray,
        round_index: int = 0,
        *,
        weights: npt.NDArray[np.float64] | None = None,
        use: str = "train",
    ) -> NetworkParams:
        """Train on class labels, or on other groups, from the weights before the first round on."""
        size = min(self.batch_size, len(images))
        num_steps = self.epochs_first * len(images) // size
        rng = host_rng(self.seed, round_index, Use.BATCHES)
        if weights is None:
            drawn = draw_image_batches(rng, len(images), num_steps=num_steps, batch_size=size)
            batches = (images[drawn], classes[drawn])
        else:
            batches = tuple(
                draw_weighted_group_batches(
                    rng, images, classes, weights, num_steps=num_steps, batch_size=size
                )
            )
        return self._fit(group_objective, self.template(), batches, round_index, use)

    def features(self, params: NetworkParams) -> FloatArray:
        """Return the features of every tile."""
        return encode(self.backbone, params.backbone, self.images)

    def embed(self, params: NetworkParams, features: FloatArray) -> FloatArray:
        """Return the embeddings of tiles with these features."""
        return embed_standardised(params.heads.similarity, features, self.mean, self.scale)

    def classifier_tables(self, params: NetworkParams, features: FloatArray) -> ClassifierTables:
        """Return the classifier for the all-pairs scan over tiles with these features."""
        return tabulate_classifier(params.heads.classifier, features, self.mean, self.scale)

    def template(self) -> NetworkParams:
        """Return the parameters before the first round."""
        heads = init_heads(
            device_key(self.seed, 0, Use.WEIGHTS),
            len(self.mean),  # `feature_dim` of `pixels` holds at one image size only
            with_classifier=self.with_classifier,
        )
        return NetworkParams(self.variables, heads)

    def _fit(
        self, objective: Objective, start: NetworkParams, batches: Any, round_index: int, use: str
    ) -> NetworkParams:
        return fit(
            NetworkLoss(objective, self.settings, self.backbone, self.augment),
            start,
            (self.images, self.mean, self.scale),
            batches,
            device_key(self.seed, round_index, Use.NOISE),
            learning_rate=self.settings.learning_rate,
            chunk_steps=CHUNK_STEPS,
            use=use,
        ).params


class NetworkLoss(NamedTuple):
    """The heads' loss on features computed from the tiles; a `Loss`.

    Attributes:
      objective: of the heads.
      settings: numbers of the fit.
      backbone: the network.
      augment: `none`, `turn` or `full`, see `training.augment`.
    """

    objective: Objective
    settings: FitSettings
    backbone: Backbone
    augment: str

    def __call__(self, params: NetworkParams, constants: Any, batch: Any, key: jax.Array) -> jax.Array:
        """Return the loss of a batch (rows, targets) of tiles; constants are (images, mean, scale)."""
        rows, targets = batch
        images, mean, scale = constants
        tiles = images[flat_rows(rows)]
        tiles = augment(self.augment, key, tiles, is_rgb=self.backbone.is_rgb)
        features = self.backbone.apply(_without_gradient_to_statistics(params.backbone), tiles)
        standardised = standardise(features, mean, scale)
        return self.objective(params.heads, standardised, targets, self.settings)


def _without_gradient_to_statistics(variables: Params) -> Params:
    """Keep all but `params` fixed: batch norm's statistics are inputs that Adam would else move."""
    return {
        name: values if name == "params" else jax.lax.stop_gradient(values)
        for name, values in variables.items()
    }
