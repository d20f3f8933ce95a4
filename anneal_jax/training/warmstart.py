"""Self-supervised training of a backbone on tiles without answers, for sensors that ImageNet does not fit.

Two pictures of each tile (`training.augment`) pass through the backbone and a projector, which is not kept.
The augmentation, the sizes of the heads and the optimiser are this project's.
"""

import dataclasses
import functools
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from tqdm import tqdm

from anneal_jax.errors import ConfigError
from anneal_jax.losses.self_supervised import simsiam_loss, vicreg_loss
from anneal_jax.models.backbones import Backbone
from anneal_jax.models.heads import unit_norm
from anneal_jax.seeds import Use, device_key, host_rng
from anneal_jax.training.augment import Strength, another_picture
from anneal_jax.training.feed import TileFeed
from anneal_jax.training.sampling import draw_image_batches
from anneal_jax.types import FloatArray, IntArray, Params

Method = Literal["simsiam", "vicreg"]

STRENGTH = Strength(smallest_area=0.3, brightness=0.4, contrast=0.4, saturation=0.4)
"""How far the two pictures of a tile seen from above may differ from it."""

_WIDTH, _BOTTLENECK = 512, 128
_WARM_UP_SHARE = 0.1
_WEIGHT_DECAY = 1e-4


class WarmStart(NamedTuple):
    """A finished warm start.

    Attributes:
      variables: of the backbone.
      losses: float32[T], of each step.
      spread: in [0, 1], how spread out the features of the last batch are: the mean length of the
        deviation of their unit vectors from their mean. Near 0 they have collapsed.
    """

    variables: Params
    losses: FloatArray
    spread: float


@dataclasses.dataclass(frozen=True)
class WarmStartSettings:
    """Settings of a warm start.

    Attributes:
      method: `simsiam` (chen2021simsiam) or `vicreg` (bardes2022vicreg).
      epochs: number of times that each tile is used.
      batch_size: tiles per step, at least 2; on several devices it is rounded down to equal parts.
      learning_rate: of AdamW, after a warm-up over a tenth of the steps and before a cosine to 0.
      seed: determines every draw.
      strength: of the augmentation.
    """

    method: Method = "vicreg"
    epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 1e-3
    seed: int = 0
    strength: Strength = STRENGTH


class Projector(nn.Module):
    """Three dense layers with batch norm, for VICReg not after the last; only used in training."""

    is_normed: bool

    @nn.compact
    def __call__(self, features: jax.Array) -> jax.Array:
        """Map float32[B, F] to float32[B, 512]."""
        hidden = features
        for _ in range(2):
            hidden = nn.relu(_batch_norm()(nn.Dense(_WIDTH, use_bias=False)(hidden)))
        hidden = nn.Dense(_WIDTH, use_bias=False)(hidden)
        return _batch_norm(has_affine=False)(hidden) if self.is_normed else hidden


class Predictor(nn.Module):
    """SimSiam's second head: from the projection of one picture to that of the other."""

    @nn.compact
    def __call__(self, projections: jax.Array) -> jax.Array:
        """Map float32[B, 512] to float32[B, 512]."""
        hidden = nn.relu(_batch_norm()(nn.Dense(_BOTTLENECK, use_bias=False)(projections)))
        return nn.Dense(_WIDTH)(hidden)


def warm_start(
    backbone: Backbone, variables: Params, feed: TileFeed, rows: IntArray, settings: WarmStartSettings
) -> WarmStart:
    """Train a backbone on pictures of tiles.

    Args:
      backbone: the network; its batch norm, if any, is live.
      variables: initial values; they are not changed.
      feed: provides the tiles.
      rows: int32[M], the tiles that take part; leave out those that will be used to measure.
      settings: see `WarmStartSettings`.

    Raises:
      ConfigError: there are fewer than two tiles, or a step has fewer than there are devices; the backbone
        has no parameters; or the loss is no longer finite.
      ArchiveError: a tile cannot be read.
    """
    if not variables.get("params"):
        raise ConfigError(f"backbone {backbone.name!r} has nothing that could learn; choose another.")
    size, num_devices = min(settings.batch_size, len(rows)), feed.mesh.size
    if len(rows) < 2:
        raise ConfigError(f"a warm start needs two tiles at least, and {len(rows)} are given.")
    if size < num_devices:
        raise ConfigError(
            f"a step of {size} tiles cannot be shared by {num_devices} devices; set "
            f"num_devices={size} or fewer."
        )
    size -= size % num_devices  # each device gets the same number
    num_steps = max(1, settings.epochs * len(rows) // size)
    rng = host_rng(settings.seed, 0, Use.BATCHES)
    drawn = rows[draw_image_batches(rng, len(rows), num_steps=num_steps, batch_size=size)]
    task = _Task(backbone, settings.method, settings.learning_rate, settings.strength, num_steps)
    heads_key, noise_key = (device_key(settings.seed, 0, use) for use in (Use.PROJECTOR, Use.NOISE))
    everywhere = NamedSharding(feed.mesh, PartitionSpec())
    state = jax.jit(task.initial, out_shardings=everywhere)(variables, heads_key)
    losses, spread = [], jnp.zeros(())
    with tqdm(feed.blocks(drawn), settings.method, total=num_steps, leave=False, disable=None) as progress:
        for step, tiles in enumerate(progress):
            state, (loss, spread) = _step(task, state, tiles, jax.random.fold_in(noise_key, step))
            if losses:
                jax.block_until_ready(losses[-1])  # one step ahead, so that not all tiles are loaded
                if not progress.disable:
                    progress.set_postfix(loss=f"{float(losses[-1]):.3f}")
            losses.append(loss)
    result = WarmStart(state.params["backbone"] | state.statistics, np.stack(losses), float(spread))
    if not np.isfinite(result.losses[-1]):
        raise ConfigError(
            f"the warm start diverged: its loss is {result.losses[-1]} at the learning rate "
            f"{settings.learning_rate:g}; set a smaller one."
        )
    return result


class _State(NamedTuple):
    """What a step changes: what is learnt, batch norm's statistics, the optimiser."""

    params: Any
    statistics: Any
    optimiser: optax.OptState


@dataclasses.dataclass(frozen=True)
class _Task:
    """What is learnt; hashable, since a compiled step is kept by it."""

    backbone: Backbone
    method: Method
    learning_rate: float
    strength: Strength
    num_steps: int

    @property
    def optimiser(self) -> optax.GradientTransformation:
        warm_up = max(1, round(_WARM_UP_SHARE * self.num_steps))
        rates = optax.warmup_cosine_decay_schedule(
            0.0, self.learning_rate, warm_up, max(warm_up + 1, self.num_steps)
        )
        return optax.adamw(rates, weight_decay=_WEIGHT_DECAY)

    @property
    def projector(self) -> Projector:
        return Projector(self.method == "simsiam")

    def initial(self, variables: Params, key: jax.Array) -> _State:
        """Return the state before the first step."""
        feature = jnp.zeros((2, self.backbone.feature_dim))
        with jax.numpy_rank_promotion("allow"):
            heads = [
                head.init(head_key, rows)["params"]
                for head, head_key, rows in zip(
                    (self.projector, Predictor()),
                    jax.random.split(key),
                    (feature, jnp.zeros((2, _WIDTH))),
                    strict=True,
                )
            ]
        params = {"backbone": {"params": variables["params"]}, "heads": heads}
        statistics = {name: values for name, values in variables.items() if name != "params"}
        return _State(params, statistics, self.optimiser.init(params))

    def loss(self, params: Any, statistics: Any, tiles: jax.Array, key: jax.Array) -> tuple[jax.Array, Any]:
        # Each picture has draws of its own, the second of a tile as much as the first.
        both = jnp.concatenate([tiles, tiles])
        pictures = another_picture(key, both, self.strength, is_rgb=self.backbone.is_rgb)
        variables = params["backbone"] | statistics
        if statistics:
            is_tile = jnp.ones(len(pictures), bool)
            features, variables = self.backbone.apply_live(variables, pictures, is_tile)
        else:
            features = self.backbone.apply(variables, pictures)
        projector, predictor = params["heads"]
        projections = _normed_by_batch(self.projector, projector, features)
        pairs = projections.reshape(2, len(tiles), -1)
        if self.method == "vicreg":
            loss = vicreg_loss(pairs)
        else:
            predictions = _normed_by_batch(Predictor(), predictor, projections)
            loss = simsiam_loss(unit_norm(predictions.reshape(pairs.shape)), unit_norm(pairs))
        moved = {name: values for name, values in variables.items() if name != "params"}
        return loss, (moved, _spread(features))


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _step(
    task: _Task, state: _State, tiles: jax.Array, key: jax.Array
) -> tuple[_State, tuple[jax.Array, jax.Array]]:
    differentiated = jax.value_and_grad(task.loss, has_aux=True)
    (loss, (statistics, spread)), gradients = differentiated(state.params, state.statistics, tiles, key)
    with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer's power
        updates, optimiser = task.optimiser.update(gradients, state.optimiser, state.params)
    return _State(optax.apply_updates(state.params, updates), statistics, optimiser), (loss, spread)


def _batch_norm(*, has_affine: bool = True) -> nn.BatchNorm:
    return nn.BatchNorm(use_running_average=False, use_scale=has_affine, use_bias=has_affine)


def _normed_by_batch(head: nn.Module, params: Any, rows: jax.Array) -> jax.Array:
    """Apply a head whose batch norm knows no other statistics than the batch's."""
    with jax.numpy_rank_promotion("allow"):  # Flax lays the channels against all axes
        outputs, _ = head.apply({"params": params}, rows, mutable=["batch_stats"])
    return jnp.asarray(outputs)


def _spread(features: jax.Array) -> jax.Array:
    unit = unit_norm(features)
    deviations = unit - jnp.mean(unit, axis=0, keepdims=True)
    return jnp.mean(jnp.linalg.norm(deviations, axis=1))
