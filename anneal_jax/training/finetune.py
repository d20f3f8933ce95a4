"""The finetune regime: the whole network learns, and each round continues from the previous one."""

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
from anneal_jax.training.frozen import FrozenLearner
from anneal_jax.training.head_steps import (
    FitSettings,
    HeadParams,
    flat_rows,
    group_objective,
    pair_objective,
    with_features,
    without_features,
)
from anneal_jax.training.held_out import hold_out
from anneal_jax.training.learner import TrainingPairs, standardise
from anneal_jax.training.network_fit import EarlyStop, NetworkParams, fit_network
from anneal_jax.training.optimiser import Schedule
from anneal_jax.training.tile_batches import (
    TileBatch,
    Timed,
    bounded,
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
      max_steps: maximum number of steps of a fit; 0 is unlimited.
      heads_first: whether the heads are trained alone before the first fit.
      batch_size: pairs per step; tiles per step for groups.
      accumulation: parts that the batch of a step is computed in.
      oversample: draw both classes equally often.
      backbone_rate: the backbone's learning rate, as a share of the heads'.
      augment: `none`, `turn` or `full`, see `training.augment`.
      batch_norm: `frozen` or `live`.
      compute_dtype: `float32` or `bfloat16`.
      holdout_fraction: share of the answered pairs held out to decide when to stop; 0 trains to the end.
      patience: measurements of these in a row, one an epoch, without a smaller loss before a fit stops.
    """

    epochs_first: int
    epochs: int
    max_steps: int = 0
    heads_first: bool = True
    batch_size: int = 256
    accumulation: int = 1
    oversample: bool = True
    backbone_rate: float = 1.0
    augment: str = "none"
    batch_norm: str = "frozen"
    compute_dtype: str = "float32"
    holdout_fraction: float = 0.0
    patience: int = 3


@dataclasses.dataclass(frozen=True)
class FinetuneLearner:
    """Trains backbone and heads on the tiles themselves; a `Learner`.

    Heads that begin at random spoil pretrained features before they have learnt anything themselves, and
    stay behind. So they are first trained alone, on stored features, with steps that cost next to nothing
    (kumar2022finetuning).

    Attributes:
      feed: the tiles of the archive, and the devices to train on.
      backbone: the network, as it computes features in float32.
      variables: the backbone's weights before the first round.
      heads_only: trains the heads on the features before the first round. Its `mean` and `scale` keep the
        heads' input near unit size and stay fixed while the backbone learns; its feature dropout is not
        used here.
      plan: how the network is trained.
    """

    feed: TileFeed
    backbone: Backbone
    variables: Params
    heads_only: FrozenLearner
    plan: FinetunePlan

    @property
    def mean(self) -> FloatArray:
        """float32[F], of the first features of the training images."""
        return self.heads_only.mean

    @property
    def scale(self) -> FloatArray:
        """float32[F], likewise."""
        return self.heads_only.scale

    def fit_pairs(
        self,
        pairs: TrainingPairs,
        round_index: int,
        previous: NetworkParams | None,
        *,
        use: str = "train",
    ) -> NetworkParams:
        """Train on pairs, starting from `previous` if it is given."""
        plan, shape = self.plan, pair_shape(self._part_size, self.feed.mesh.size)
        learnt, held_out = hold_out(
            pairs, plan.holdout_fraction, num_tiles=self.feed.num_tiles, seed=self.heads_only.seed
        )
        early_stop = None
        if len(held_out.labels):
            as_they_are = self.loss()._replace(augment="none", batch_norm="frozen")
            early_stop = EarlyStop(as_they_are, list(validation_batches(held_out, shape)), plan.patience)

        def draw(rng: np.random.Generator, epochs: int) -> Iterator[Timed]:
            return draw_pair_tiles(rng, learnt, shape, epochs=epochs, oversample=plan.oversample)

        if previous is not None:
            previous = previous._replace(heads=without_features(previous.heads))
            return self._fit(draw, previous, plan.epochs, round_index, use, early_stop)
        start = self._start(lambda: self.heads_only.fit_pairs(learnt, round_index, None, use=use))
        return self._fit(draw, start, plan.epochs_first, round_index, use, early_stop)

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

        start = self._start(
            lambda: self.heads_only.fit_classes(images, classes, round_index, weights=weights, use=use)
        )
        return self._fit(draw, start, self.plan.epochs_first, round_index, use)

    def beside_features(self, params: NetworkParams, share: float) -> NetworkParams:
        """Return parameters whose embeddings include a share of the learnt features.

        Their main directions take another pass over at most 20,000 training tiles: in those of the first
        features the learnt ones search worse. A share of 0, as in a template, takes none.
        """
        heads_only = self.heads_only
        if share:
            learnt = encode_feed(self.backbone, params.backbone, self.feed, heads_only.spanned)
            directions = heads_only.main_directions_of(learnt)
        else:
            directions = heads_only.main_directions
        return params._replace(heads=with_features(params.heads, directions, share))

    def features(self, params: NetworkParams | None) -> FloatArray:
        """Return the features of every tile; None: by the network before the first round."""
        if params is None:
            return self.heads_only.stored_features
        return encode_feed(self.backbone, params.backbone, self.feed)

    def embed(self, params: NetworkParams, features: FloatArray) -> FloatArray:
        """Return the embeddings of tiles with these features."""
        return self.heads_only.embed(params.heads, features)

    def classifier_tables(self, params: NetworkParams, features: FloatArray) -> ClassifierTables:
        """Return the classifier for the all-pairs scan over tiles with these features."""
        return self.heads_only.classifier_tables(params.heads, features)

    def template(self) -> NetworkParams:
        """Return the parameters before the first round."""
        return NetworkParams(self.variables, self.heads_only.template())

    @property
    def _part_size(self) -> int:
        """Pairs, or tiles with groups, of each part of a step."""
        return max(1, self.plan.batch_size // self.plan.accumulation)

    def loss(self) -> "NetworkLoss":
        """Return the loss of a step, as the plan has it."""
        backbone = self.backbone.computing_in(jnp.dtype(self.plan.compute_dtype))
        return NetworkLoss(self.heads_only.settings, backbone, self.plan.augment, self.plan.batch_norm)

    def _start(self, fit_heads: Callable[[], HeadParams]) -> NetworkParams:
        heads = fit_heads() if self.plan.heads_first else self.heads_only.template()
        return NetworkParams(self.variables, heads)

    def _fit(
        self,
        draw: Callable[[np.random.Generator, int], Iterator[Timed]],
        start: NetworkParams,
        num_epochs: int,
        round_index: int,
        use: str,
        early_stop: EarlyStop | None = None,
    ) -> NetworkParams:
        plan, seed, settings = self.plan, self.heads_only.seed, self.heads_only.settings
        batches = draw(host_rng(seed, round_index, Use.BATCHES), num_epochs)
        return fit_network(
            self.loss(),
            start,
            (self.mean, self.scale),
            bounded(batches, plan.max_steps * plan.accumulation, num_epochs),
            self.feed,
            device_key(seed, round_index, Use.NOISE),
            schedule=Schedule(settings.schedule, settings.learning_rate, plan.backbone_rate),
            accumulation=plan.accumulation,
            num_epochs=num_epochs,
            early_stop=early_stop,
            use=use,
        ).params


class NetworkLoss(NamedTuple):
    """The heads' loss on features computed from the tiles, each tile encoded once; a `TileLoss`.

    Attributes:
      settings: numbers of the loss.
      backbone: the network, in the dtype of its computation.
      augment: `none`, `turn` or `full`, see `training.augment`.
      batch_norm: `frozen` keeps the stored statistics; `live` normalises by those of the batch, and moves
        the stored ones, while the backbone learns.
    """

    settings: FitSettings
    backbone: Backbone
    augment: str
    batch_norm: str

    def __call__(
        self, params: NetworkParams, constants: Any, tiles: jax.Array, batch: TileBatch, key: jax.Array
    ) -> tuple[jax.Array, Params]:
        """Return the loss of a batch of pairs or groups; constants are (mean, scale)."""
        mean, scale = constants
        tiles = augment(self.augment, key, tiles, is_rgb=self.backbone.is_rgb)
        variables = params.backbone
        if self.batch_norm == "live":
            of_tiles, variables = self.backbone.apply_live(variables, tiles, batch.is_tile)
        else:
            of_tiles = self.backbone.apply(variables, tiles)
        features = standardise(of_tiles, mean, scale)[flat_rows(batch.places)]
        if batch.places.ndim == 1:
            return group_objective(params.heads, features, batch.targets, self.settings), variables
        weights = batch.weights
        loss = pair_objective(params.heads, features, batch.targets, self.settings, weights=weights)
        return loss * jnp.sum(weights), variables
