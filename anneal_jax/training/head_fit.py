"""The training loop of the frozen regime: Adam inside `lax.scan`, a chunk of steps per compiled call.

Batches come from the host with fixed shapes, so there is one compilation for any number of labelled pairs.
The progress bar moves between two calls.
"""

import functools
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from tqdm import tqdm

from anneal_jax.errors import ConfigError
from anneal_jax.training.optimiser import Schedule
from anneal_jax.types import FloatArray, Params


class Loss(Protocol):
    """What is minimised. Hashable by value, since a compiled chunk is kept by it."""

    def __call__(self, params: Any, constants: Any, batch: Any, key: jax.Array, /) -> jax.Array:
        """Return the loss float32[] of one batch.

        Args:
          params: what is learnt.
          constants: arrays that all batches share.
          batch: one row of each array of the batches.
          key: of this step's randomness.
        """
        ...


class Fit(NamedTuple):
    """A finished fit.

    Attributes:
      params: what was learnt.
      losses: float32[T], the loss of each step's batch before the step.
    """

    params: Params
    losses: FloatArray


def fit(
    loss: Loss,
    params: Params,
    constants: Any,
    batches: Any,
    key: jax.Array,
    *,
    schedule: Schedule,
    chunk_steps: int,
    use: str,
) -> Fit:
    """Minimise a loss with Adam.

    Args:
      loss: see `Loss`.
      params: where to start; left as they are.
      constants: pytree of arrays, copied to the device once.
      batches: pytree of host arrays [T, ...], one row per step. T is rounded up to a whole number of
        chunks by repeating the first rows.
      key: split into one key per step.
      schedule: of Adam's learning rate.
      chunk_steps: steps per compiled call.
      use: purpose of the fit, for the progress bar, which only appears on a terminal, and for errors.

    Returns:
      The parameters and the losses.

    Raises:
      ConfigError: the fit diverges: its last loss is not finite.
    """
    # A copy, because each call donates its input to the next.
    params = jax.tree.map(jnp.array, params)
    state = (params, optax.adam(schedule.learning_rate).init(params))
    constants = jax.device_put(constants)
    num_steps = len(jax.tree.leaves(batches)[0])
    num_taken = -(-num_steps // chunk_steps) * chunk_steps
    rates = schedule.rates(np.arange(num_taken) / num_taken).heads
    losses: list[jax.Array] = []
    with tqdm(
        range(0, num_steps, chunk_steps), use, unit_scale=chunk_steps, leave=False, disable=None
    ) as progress:
        for start in progress:
            steps = np.arange(start, start + chunk_steps)
            chunk, chunk_key = _rows(batches, steps % num_steps), jax.random.fold_in(key, start)
            state, chunk_losses = _run_chunk(loss, state, constants, chunk, rates[steps], chunk_key)
            if losses and not progress.disable:  # waits for the chunk before, so only on a terminal
                progress.set_postfix(loss=f"{float(losses[-1][-1]):.3f}")
            losses.append(chunk_losses)
    result = Fit(state[0], np.concatenate(losses))
    if not np.isfinite(result.losses[-1]):
        raise ConfigError(
            f"the fit for {use!r} diverged: its loss is {result.losses[-1]} at the learning rate "
            f"{schedule.learning_rate:g}; set a smaller one."
        )
    return result


@functools.partial(jax.jit, static_argnums=0, donate_argnums=1)
def _run_chunk(
    loss: Loss, state: Any, constants: Any, chunk: Any, rates: FloatArray, key: jax.Array
) -> tuple[Any, jax.Array]:
    def step(state: Any, inputs: Any) -> tuple[Any, jax.Array]:
        params, optimiser_state = state
        batch, rate, step_key = inputs
        value, gradients = jax.value_and_grad(loss)(params, constants, batch, step_key)
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer's power
            updates, optimiser_state = optax.adam(rate).update(gradients, optimiser_state)
        return (optax.apply_updates(params, updates), optimiser_state), value

    return jax.lax.scan(step, state, (chunk, rates, jax.random.split(key, len(rates))))


def _rows(batches: Any, rows: np.ndarray) -> Any:
    return jax.tree.map(lambda array: array[rows], batches)
