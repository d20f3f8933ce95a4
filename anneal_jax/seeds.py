"""Named randomness: every draw is keyed by (seed, round, use), and no generator state is kept.

A resumed run therefore makes the same draws as an uninterrupted one, and methods with the same seed share
their split, first questions and first weights, so that differences between them are paired.
"""

from enum import IntEnum
from typing import Any

import numpy as np


class Use(IntEnum):
    """The purpose of a random draw; the numbers are part of the meaning of a seed and never change.

    WEIGHTS draws a random backbone and, in the frozen regime, the heads. HEADS draws the heads of the
    finetune regime, and PROJECTOR those of a warm start, which accompany a backbone of the same seed and
    round. ERRORS and OVERSIGHTS are a simulated person's, keyed by the pair instead of a round.
    """

    SPLIT = 0
    INITIAL_PAIRS = 1
    WEIGHTS = 2
    BATCHES = 3
    NOISE = 4
    SELECTION = 5
    FOLDS = 6
    ERRORS = 7
    HELD_OUT = 8
    HEADS = 9
    PROJECTOR = 10
    OVERSIGHTS = 11


def host_rng(seed: int, round_index: int, use: Use) -> np.random.Generator:
    """Return NumPy's generator for one use in one round."""
    return np.random.default_rng([seed, round_index, int(use)])


def host_seed(seed: int, round_index: int, use: Use) -> int:
    """Return a seed in [0, 2^31) for libraries that take a number."""
    return int(host_rng(seed, round_index, use).integers(2**31))


def device_key(seed: int, round_index: int, use: Use) -> Any:
    """Return JAX's key for one use in one round."""
    import jax

    key = jax.random.fold_in(jax.random.key(seed), round_index)
    return jax.random.fold_in(key, int(use))
