"""What a way to group an archive is given, and what it gives back."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.experiments.belief_rounds import GROUP_SIZE_POWER
from anneal_jax.types import Answer, FloatArray, IntArray


class Archive(NamedTuple):
    """What the methods may look at.

    Attributes:
      features: float32[M, F] of the training tiles, unit length.
      num_classes: C, for those that need it.
      session: the graph and the tiles, for belief_ask.
      seed: of every draw.
    """

    features: FloatArray
    num_classes: int
    session: BeliefSession
    seed: int


class Found(NamedTuple):
    """A partition.

    Attributes:
      bits: answers that it took.
      groups: int[M], the group of each training tile.
      is_settled: bool[M], the tiles whose answers name the groups; None: those asked about.
      weights: float64[M], how often a tile is drawn to train on; None: by the root of its group's size.
      doubt: share of the features beside what is learnt; None: the judge chooses.
    """

    bits: int
    groups: IntArray
    is_settled: npt.NDArray[np.bool_] | None = None
    weights: npt.NDArray[np.float64] | None = None
    doubt: float | None = None


Ask = Callable[[int, int], Answer]
"""Answers about two training tiles, by their places."""


def unit(rows):
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def root_weights(groups):
    """Return how often each tile is drawn: groups in proportion to the root of their size."""
    return np.bincount(groups)[groups] ** (GROUP_SIZE_POWER - 1)
