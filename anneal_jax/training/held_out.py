"""Answered pairs that a fit does not train on, used to decide when to stop."""

from typing import NamedTuple

import numpy as np

from anneal_jax.seeds import Use, host_rng
from anneal_jax.training.learner import TrainingPairs


class HeldOut(NamedTuple):
    """Pairs in two parts.

    Attributes:
      learnt: pairs to train on.
      held_out: answered pairs that are not trained on.
    """

    learnt: TrainingPairs
    held_out: TrainingPairs


def hold_out(pairs: TrainingPairs, share: float, *, num_tiles: int, seed: int) -> HeldOut:
    """Set a share of the answered pairs aside.

    A pair stays held out in all rounds, so that a later round, which continues from this round's
    parameters, has never trained on it. Each pair is decided by its own coin, except that no pair is held
    out before the first one to train on, because a fit needs one. Implied pairs are left out of both parts
    if they share a tile with a held-out pair, because one transitive step may imply them from it.

    Args:
      pairs: all known pairs; answers in the order asked, so that later rounds only append.
      share: approximate share of the answered pairs to hold out, in [0, 1); never all are.
      num_tiles: N, tiles of the archive.
      seed: determines which.
    """
    num_answered = len(pairs.labels) if pairs.num_answered is None else pairs.num_answered
    is_answered = np.arange(len(pairs.labels)) < num_answered
    places = host_rng(seed, 0, Use.HELD_OUT).random(num_tiles)
    # Modulo 1, the sum of two uniform numbers is uniform: a coin for each pair without a table of pairs.
    coins = places[pairs.pair_indices].sum(axis=1) % 1.0
    is_held_out = is_answered & (coins < share)
    is_held_out &= np.logical_or.accumulate(is_answered & ~is_held_out)
    touched = np.unique(pairs.pair_indices[is_held_out])
    may_follow = ~is_answered & np.isin(pairs.pair_indices, touched).any(axis=1)
    return HeldOut(_rows(pairs, ~is_held_out & ~may_follow), _rows(pairs, is_held_out))


def _rows(pairs: TrainingPairs, chosen: np.ndarray) -> TrainingPairs:
    return TrainingPairs(pairs.pair_indices[chosen], pairs.labels[chosen])
