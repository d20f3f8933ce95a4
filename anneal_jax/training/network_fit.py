"""The training loop of the whole network: batches from a feed, over one device or many.

The same code runs on one device, on many, and in many processes: every device has the parameters and
encodes its part of a batch's tiles, and the compiler adds up the gradients. The randomness of a step
depends only on its number, so devices and chunks change nothing but rounding.
"""

import functools
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec
from tqdm import tqdm

from anneal_jax.errors import ConfigError
from anneal_jax.training.feed import TileFeed, placed
from anneal_jax.training.optimiser import Rates, Schedule, make_optimiser
from anneal_jax.training.prefetch import one_behind
from anneal_jax.training.tile_batches import TileBatch, Timed
from anneal_jax.types import FloatArray, Params

_ACCELERATOR_CHUNK_STEPS = 8


class NetworkParams(NamedTuple):
    """Parameters of the whole network.

    Attributes:
      backbone: variables of the backbone.
      heads: similarity network and, if its scores are used, pair classifier.
    """

    backbone: Params
    heads: Any


class TileLoss(Protocol):
    """What is minimised. Hashable by value, since a compiled chunk is kept by it."""

    def __call__(
        self, params: Any, constants: Any, tiles: jax.Array, batch: TileBatch, key: jax.Array, /
    ) -> tuple[jax.Array, Params]:
        """Return the loss float32[] of one batch, and the backbone's variables, their statistics moved.

        Args:
          params: `NetworkParams`.
          constants: arrays that all batches share.
          tiles: uint8[U, H, H, S], those of `batch.rows`.
          batch: one batch.
          key: of this step's randomness.
        """
        ...


class EarlyStop(NamedTuple):
    """When to stop a fit before its end.

    Attributes:
      loss: of the pairs held out.
      batches: of these pairs, in one shape; their losses are added up.
      patience: number of measurements in a row without a smaller loss after which a fit ends. There is one
        after each epoch, or after each call of the compiled function if a call takes longer. So at least
        this number of epochs has passed, and one measurement alone never ends a fit of few, long calls.
    """

    loss: TileLoss
    batches: list[TileBatch]
    patience: int


class Measurement(NamedTuple):
    """The loss of the pairs held out, once.

    Attributes:
      epoch: how many epochs were trained before it.
      loss: what was found.
    """

    epoch: float
    loss: float


class NetworkFit(NamedTuple):
    """A finished fit.

    Attributes:
      params: what was learnt, on the host; with an early stop, where the smallest loss was measured.
      losses: float32[T], the loss of each batch before its step.
      measurements: of the pairs held out, in their order; empty without an early stop.
    """

    params: NetworkParams
    losses: FloatArray
    measurements: list[Measurement]


class _Chunk(NamedTuple):
    """Steps of one compiled call, their arrays along a first axis of T.

    Attributes:
      batch: the batches.
      steps: int32[T], their numbers in the fit.
      epochs: float64[T], the epochs drawn before each; infinite for steps that only fill the chunk.
    """

    batch: TileBatch
    steps: np.ndarray
    epochs: np.ndarray


def fit_network(
    loss: TileLoss,
    start: NetworkParams,
    constants: Any,
    batches: Iterable[Timed],
    feed: TileFeed,
    key: jax.Array,
    *,
    schedule: Schedule,
    accumulation: int = 1,
    num_epochs: int,
    early_stop: EarlyStop | None = None,
    chunk_steps: int = 0,
    use: str,
) -> NetworkFit:
    """Minimise a loss over tiles.

    Args:
      loss: see `TileLoss`.
      start: parameters to begin with; left as they are.
      constants: pytree of host arrays.
      batches: of one shape, in the order of their times.
      feed: where their tiles come from; its mesh is what the fit runs on.
      key: of all randomness.
      schedule: the learning rates.
      accumulation: batches whose mean gradient makes one step.
      num_epochs: what the schedule runs over.
      early_stop: when to stop early; None trains to the end.
      chunk_steps: steps per call of the compiled function; 0 means 8 on an accelerator, and 1 on a CPU,
        where gradients of XLA's convolutions take twenty times as long or more inside a loop.
      use: purpose of the fit, for the progress bar, which only appears on a terminal, and for errors.

    Raises:
      ConfigError: the fit diverges: its last loss is not finite.
    """
    everywhere = NamedSharding(feed.mesh, PartitionSpec())
    host = jax.tree.map(np.array, start)
    state = placed((host, make_optimiser(accumulation, Rates(0.0, 0.0)).init(host)), everywhere)
    constants = placed(constants, everywhere)
    key_data = np.asarray(jax.random.key_data(key))
    chunk_steps = chunk_steps or (1 if jax.default_backend() == "cpu" else _ACCELERATOR_CHUNK_STEPS)
    watch = _Watch(early_stop, feed, constants)
    losses: list[jax.Array] = []
    chunks = _chunks(batches, chunk_steps, accumulation)
    with tqdm(total=num_epochs, desc=use, unit="epoch", leave=False, disable=None) as progress:
        for chunk, tiles in _with_tiles(chunks, feed):
            if watch.is_over(state, chunk.epochs[0]):
                break
            rates = schedule.rates(chunk.epochs / num_epochs)
            state, chunk_losses = _run_chunk(
                loss,
                accumulation,
                everywhere,
                state,
                constants,
                tiles,
                chunk.batch,
                chunk.steps,
                np.isfinite(chunk.epochs),
                rates,
                key_data,
            )
            if losses:
                losses[-1].block_until_ready()  # one chunk ahead, not a whole fit's tiles
            losses.append(chunk_losses)
            progress.n = round(float(chunk.epochs[0]), 1)
            progress.refresh()
        else:
            watch.is_over(state, num_epochs)
    all_losses = np.concatenate([np.asarray(values) for values in losses])
    if not np.isfinite(all_losses[-1]):
        raise ConfigError(
            f"the fit for {use!r} diverged: its loss is {all_losses[-1]} at the learning rate "
            f"{schedule.learning_rate:g}; set a smaller one."
        )
    return NetworkFit(watch.best or jax.tree.map(np.asarray, state[0]), all_losses, watch.measurements)


class _Watch:
    """Measures the held-out pairs after each complete epoch, and keeps the best parameters."""

    def __init__(self, early_stop: EarlyStop | None, feed: TileFeed, constants: Any):
        self.measurements: list[Measurement] = []
        self.best: NetworkParams | None = None
        self._least, self._num_in_vain = math.inf, 0
        self._early_stop, self._feed, self._constants = early_stop, feed, constants

    def is_over(self, state: Any, epoch: float) -> bool:
        """Measure after each completed epoch; return whether the last `patience` brought no improvement.

        One batch, or one chunk, may span many epochs. They give one measurement, which counts once.
        """
        last = self.measurements[-1].epoch if self.measurements else 0.0
        if self._early_stop is None or int(epoch) <= int(last):
            return False
        tiles = self._feed.blocks(batch.rows for batch in self._early_stop.batches)
        parts = (
            _loss_of(self._early_stop.loss, state[0], self._constants, block, batch)
            for block, batch in zip(tiles, self._early_stop.batches, strict=True)
        )
        found = sum(map(float, one_behind(parts)))
        self.measurements.append(Measurement(float(epoch), found))
        self._num_in_vain += 1
        if found < self._least:
            self.best, self._least, self._num_in_vain = jax.tree.map(np.array, state[0]), found, 0
        return self._num_in_vain >= self._early_stop.patience


@functools.partial(jax.jit, static_argnums=(0, 1, 2), donate_argnums=3)
def _run_chunk(
    loss: TileLoss,
    accumulation: int,
    everywhere: NamedSharding,
    state: Any,
    constants: Any,
    tiles: jax.Array,
    batches: TileBatch,
    steps: jax.Array,
    is_step: jax.Array,
    rates: Rates,
    key_data: jax.Array,
) -> tuple[Any, jax.Array]:
    key = jax.random.wrap_key_data(key_data)

    def step(state: Any, inputs: Any) -> tuple[Any, jax.Array]:
        params, optimiser_state = state
        tiles, batch, number, is_step, rates = inputs
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, backbone), gradients = gradient(
            params, constants, tiles, batch, jax.random.fold_in(key, number)
        )
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer's power
            updates, optimiser_state = make_optimiser(accumulation, rates).update(
                gradients, optimiser_state, params
            )
        # Steps that fill a chunk change nothing: Adam's rate is 0, and the statistics are kept.
        backbone = jax.tree.map(lambda new, old: jnp.where(is_step, new, old), backbone, params.backbone)
        params = optax.apply_updates(params._replace(backbone=backbone), updates)
        return jax.lax.with_sharding_constraint((params, optimiser_state), everywhere), value

    inputs = (tiles, batches, steps, is_step, rates)
    if len(steps) == 1:  # a loop to `scan` too, and a convolution's gradient in one is slow on a CPU
        state, value = step(state, jax.tree.map(lambda array: array[0], inputs))
        return state, value[None]
    return jax.lax.scan(step, state, inputs)


@functools.partial(jax.jit, static_argnums=0)
def _loss_of(loss: TileLoss, params: Any, constants: Any, tiles: jax.Array, batch: TileBatch) -> jax.Array:
    return loss(params, constants, tiles, batch, jax.random.key(0))[0]


def _with_tiles(chunks: Iterator[_Chunk], feed: TileFeed) -> Iterator[tuple[_Chunk, jax.Array]]:
    """Yield each chunk with its tiles; the feed may be ahead."""
    for_rows, for_steps = itertools.tee(chunks)
    tiles = feed.blocks(chunk.batch.rows for chunk in for_rows)
    return zip(for_steps, tiles, strict=True)


def _chunks(batches: Iterable[Timed], chunk_steps: int, accumulation: int) -> Iterator[_Chunk]:
    """Stack batches, in one shape: the last chunk is filled up with steps at a rate of 0."""
    timed, numbers = _whole_steps(batches, accumulation), itertools.count()
    while taken := list(itertools.islice(timed, chunk_steps)):
        taken += [Timed(taken[-1].batch, math.inf)] * (chunk_steps - len(taken))
        yield _Chunk(
            jax.tree.map(lambda *arrays: np.stack(arrays), *(batch for batch, _ in taken)),
            np.array(list(itertools.islice(numbers, chunk_steps)), np.int32),
            np.array([epoch for _, epoch in taken]),
        )


def _whole_steps(batches: Iterable[Timed], accumulation: int) -> Iterator[Timed]:
    """Yield all batches, and the last again, until `accumulation` divides their number."""
    num_batches, last = 0, None
    for last in batches:
        num_batches += 1
        yield last
    yield from itertools.repeat(last, -num_batches % accumulation) if last else ()
