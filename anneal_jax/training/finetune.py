"""The finetune regime: the whole network learns, and each round goes on from the one before."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from anneal_jax.models.backbones import Backbone
from anneal_jax.seeds import Use, device_key, host_rng
from anneal_jax.training.augment import augment
from anneal_jax.training.encoding import encode_feed
from anneal_jax.training.feed import TileFeed
from anneal_jax.training.head_steps import (
    FitSettings,
    flat_rows,
    group_objective,
    init_heads,
    pair_objective,
)
from anneal_jax.training.held_out import hold_out
from anneal_jax.training.learner import (
    TrainingPairs,
    embed_standardised,
    standardise,
    tabulate_classifier,
)
from anneal_jax.training.network_fit import EarlyStop, NetworkParams, fit_network
from anneal_jax.training.optimiser import Schedule, StepRule
from anneal_jax.training.tile_batches import (
    TileBatch,
    Timed,
    draw_group_tiles,
    draw_pair_tiles,
    group_shape,
    pair_shape,
    validation_batches,
)
from anneal_jax.types import ClassifierTables, FloatArray, IntArray, Params


class FinetunePlan(NamedTuple):
    """How the whole network is trained; the settings of the same names, see `ExperimentConfig`.

    Attributes:
      epochs_first: epochs in round 0, and of every fit on groups.
      epochs: epochs in each later round.
      freeze_epochs: of those in round 0, the first in which the heads alone learn.
      batch_size: pairs per step; tiles per step for groups.
      accumulation: parts that the batch of a step is computed in.
      oversample: draw both classes equally often.
      schedule: `constant` or `cosine`.
      backbone_rate: the backbone's learning rate, as a share of the heads'.
      augment: `none`, `turn` or `full`, see `training.augment`.
      batch_norm: `frozen` or `live`.
      compute_dtype: `float32` or `bfloat16`.
      holdout_fraction: share of the answered pairs that tells when to stop; 0 trains to the end.
      patience: measurements of these in a row, one an epoch, without a smaller loss before a fit stops.
    """

    epochs_first: int
    epochs: int
    freeze_epochs: int = 0
    batch_size: int = 256
    accumulation: int = 1
    oversample: bool = True
    schedule: str = "constant"
    backbone_rate: float = 1.0
    augment: str = "none"
    batch_norm: str = "frozen"
    compute_dtype: str = "float32"
    holdout_fraction: float = 0.0
    patience: int = 3


@dataclasses.dataclass(frozen=True)
class FinetuneLearner:
    """Trains backbone and heads on the tiles themselves; a `Learner`.

    Attributes:
      feed: the tiles of the archive, and the devices to train on.
      backbone: the network, as it computes features in float32.
      variables: the backbone's weights before the first round.
      mean: float32[F], and
      scale: float32[F], of the first features of the training images: they keep the heads' input near
        unit size and stay fixed while the backbone learns.
      with_classifier: whether the pair classifier is trained.
      seed: fixes every draw.
      plan: how the network is trained.
      settings: numbers of the loss and the learning rate; feature dropout is not used here.
    """

    feed: TileFeed
    backbone: Backbone
    variables: Params
    mean: FloatArray
    scale: FloatArray
    with_classifier: bool
    seed: int
    plan: FinetunePlan
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
        plan, shape = self.plan, pair_shape(self._part_size, self.feed.mesh.size)
        learnt, held_out = hold_out(
            pairs, plan.holdout_fraction, num_tiles=self.feed.num_tiles, seed=self.seed
        )
        early_stop = None
        if len(held_out.labels):
            as_they_are = self._loss()._replace(augment="none", batch_norm="frozen")
            early_stop = EarlyStop(as_they_are, list(validation_batches(held_out, shape)), plan.patience)

        def draw(rng: np.random.Generator, epochs: int) -> Iterator[Timed]:
            return draw_pair_tiles(rng, learnt, shape, epochs=epochs, oversample=plan.oversample)

        return self._fit(draw, previous, round_index, use, early_stop)

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
        shape = group_shape(self._part_size, self.feed.mesh.size)

        def draw(rng: np.random.Generator, epochs: int) -> Iterator[Timed]:
            return draw_group_tiles(rng, images, classes, weights, shape, epochs=epochs)

        return self._fit(draw, None, round_index, use)

    def beside_features(self, params: NetworkParams, share: float) -> NetworkParams:
        """Return `params`: the features are learnt themselves."""
        del share
        return params

    def features(self, params: NetworkParams | None) -> FloatArray:
        """Return the features of every tile; None: by the network before the first round."""
        variables = self.variables if params is None else params.backbone
        return encode_feed(self.backbone, variables, self.feed)

    def embed(self, params: NetworkParams, features: FloatArray) -> FloatArray:
        """Return the embeddings of tiles with these features."""
        return embed_standardised(params.heads.similarity, features, self.mean, self.scale)

    def classifier_tables(self, params: NetworkParams, features: FloatArray) -> ClassifierTables:
        """Return the classifier for the all-pairs scan over tiles with these features."""
        return tabulate_classifier(params.heads.classifier, features, self.mean, self.scale)

    def template(self) -> NetworkParams:
        """Return the parameters before the first round."""
        heads = init_heads(
            device_key(self.seed, 0, Use.HEADS),
            len(self.mean),  # `feature_dim` of `pixels` holds at one image size only
            with_classifier=self.with_classifier,
        )
        return NetworkParams(self.variables, heads)

    @property
    def _part_size(self) -> int:
        """Pairs, or tiles with groups, of each part of a step."""
        return max(1, self.plan.batch_size // self.plan.accumulation)

    def _loss(self) -> "NetworkLoss":
        backbone = self.backbone.computing_in(jnp.dtype(self.plan.compute_dtype))
        return NetworkLoss(self.settings, backbone, self.plan.augment, self.plan.batch_norm)

    def _fit(
        self,
        draw: Callable[[np.random.Generator, int], Iterator[Timed]],
        previous: NetworkParams | None,
        round_index: int,
        use: str,
        early_stop: EarlyStop | None = None,
    ) -> NetworkParams:
        """Train in one phase, or in round 0 in two: first the heads on frozen features, then all."""
        plan = self.plan
        rng = host_rng(self.seed, round_index, Use.BATCHES)
        num_epochs = plan.epochs if previous is not None else plan.epochs_first
        num_frozen = min(plan.freeze_epochs, num_epochs) if previous is None else 0
        params = self.template() if previous is None else previous
        key = device_key(self.seed, round_index, Use.NOISE)
        for is_frozen, epochs in ((True, num_frozen), (False, num_epochs - num_frozen)):
            if epochs == 0:
                continue
            params = fit_network(
                self._loss()._replace(is_backbone_frozen=is_frozen),
                params,
                (self.mean, self.scale),
                draw(rng, epochs),
                self.feed,
                jax.random.fold_in(key, is_frozen),
                schedule=Schedule(plan.schedule, self.settings.learning_rate, plan.backbone_rate),
                rule=StepRule(is_frozen, plan.accumulation),
                num_epochs=epochs,
                early_stop=early_stop,
                use=use,
            ).params
        return params


class NetworkLoss(NamedTuple):
    """The heads' loss on features computed from the tiles, each tile encoded once; a `TileLoss`.

    Attributes:
      settings: numbers of the loss.
      backbone: the network, in the dtype of its computation.
      augment: `none`, `turn` or `full`, see `training.augment`.
      batch_norm: `frozen` keeps the stored statistics; `live` normalises by those of the batch, and moves
        the stored ones, while the backbone learns.
      is_backbone_frozen: whether only the heads get a gradient, and only their part of it is computed.
    """

    settings: FitSettings
    backbone: Backbone
    augment: str
    batch_norm: str
    is_backbone_frozen: bool = False

    def __call__(
        self, params: NetworkParams, constants: Any, tiles: jax.Array, batch: TileBatch, key: jax.Array
    ) -> tuple[jax.Array, Params]:
        """Return the loss of a batch of pairs or groups; constants are (mean, scale)."""
        mean, scale = constants
        variables = jax.lax.stop_gradient(params.backbone) if self.is_backbone_frozen else params.backbone
        tiles = augment(self.augment, key, tiles, is_rgb=self.backbone.is_rgb)
        if self.batch_norm == "live" and not self.is_backbone_frozen:
            of_tiles, variables = self.backbone.apply_live(variables, tiles, batch.is_tile)
        else:
            of_tiles = self.backbone.apply(variables, tiles)
        features = standardise(of_tiles, mean, scale)[flat_rows(batch.places)]
        if batch.places.ndim == 1:
            return group_objective(params.heads, features, batch.targets, self.settings), variables
        weights = batch.weights
        loss = pair_objective(params.heads, features, batch.targets, self.settings, weights=weights)
        return loss * jnp.sum(weights), variables
