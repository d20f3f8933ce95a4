"""The neighbour graph learnt from the answers, used instead of the features' if it separates groups better.

Features that separate classes badly join tiles of different groups, and no answer about a few tiles undoes
that. So each time a quarter more tiles are settled, the directions that separate the believed groups are
learnt, and every tile is joined to those that are near by both, among those near by the features.

A learnt graph may be worse, as long as the groups are wrong. So it is judged by the tiles that were settled
after it was learnt: it is used while it, without them, finds their groups more likely than the features do.

Source: the directions are those of fisher1936use with the covariance of chen2010shrinkage; judging a
prediction by what comes after it is dawid1984prequential.
"""

import numpy as np
import numpy.typing as npt
from scipy import linalg
from sklearn.covariance import oas

from anneal_jax.acquisition.beliefs.neighbours import NeighbourGraph, joined
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    Beliefs,
    BeliefSettings,
    Learnt,
    membership,
    settled_groups,
    spread,
)
from anneal_jax.types import MIN_NORM, FloatArray, IntArray

MIN_SETTLED, GROWTH = 40, 1.25
"""Settled tiles when a graph is first learnt, and how many times as many until the next."""

MIN_BELIEF, MIN_MEMBERS = 0.6, 3
"""Belief in their group of the tiles that are learnt from, and how many of them a group needs."""

LEARNT_SHARE = 0.5
"""Weight of the learnt directions in the cosine of two tiles, relative to the features."""

LEAST_CHANCE = 0.01
"""Chance of its group that a held-back tile counts for at least, so that one slip does not decide."""


def current_graph(graph: NeighbourGraph, state: Beliefs) -> NeighbourGraph:
    """Return the graph that beliefs spread along: the learnt one while it leads, else the features'."""
    learnt = state.learnt
    return learnt.graph if learnt is not None and learnt.lead > 0 else graph


def is_due(state: Beliefs) -> bool:
    """Return whether enough tiles were settled for the graph to be learnt again."""
    num_before = MIN_SETTLED / GROWTH if state.learnt is None else state.learnt.was_settled.sum()
    return bool(np.sum(state.groups != OPEN) >= GROWTH * num_before)


def learn_graph(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings | None = None) -> Beliefs:
    """Learn the graph again if enough tiles were settled since the last time.

    Args:
      graph: by the features.
      state: after an answer.
      settings: how answers are weighed.

    Returns:
      The beliefs, spread along the graph to use from now on; the same ones if it is too early. If fewer
      than two groups can be learnt from, the graph learnt before stays, or that by features; it is learnt
      again when it is next due.
    """
    settings = settings or BeliefSettings()
    if not is_due(state):
        return state
    before, settled, lead = state.learnt, state.groups != OPEN, 0.0
    if before is not None:
        held_back = np.flatnonzero(settled & ~before.was_settled)
        of_learnt, of_features = (
            _log_likelihood(one, state, held_back, settings) for one in (before.graph, graph)
        )
        lead = before.lead + of_learnt - of_features
    learnt = _learnt_graph(graph, state, settings) or (graph if before is None else before.graph)
    state = state._replace(learnt=Learnt(learnt, settled, lead), reached=np.zeros_like(state.reached))
    return spread(current_graph(graph, state), state, settings, 30)


def discriminants(directions: FloatArray, groups: IntArray, kept: npt.NDArray[np.bool_]) -> FloatArray:
    """Return float32[M, D] in which groups lie apart, at most one direction fewer than there are groups.

    Args:
      directions: float32[M, F], of all tiles.
      groups: int32[M].
      kept: bool[M], the tiles to learn from, of two groups at least.
    """
    _, numbers = np.unique(groups[kept], return_inverse=True)
    tiles = directions[kept].astype(np.float64)
    counts = np.bincount(numbers)
    means = np.zeros((len(counts), tiles.shape[1]))
    np.add.at(means, numbers, tiles)
    means /= counts[:, None]
    within, _ = oas(tiles - means[numbers], assume_centered=True)
    centre = tiles.mean(axis=0)
    between = (means - centre).T @ (means - centre)
    within += 1e-9 * np.trace(within + between) * np.eye(len(within))  # groups of equal tiles
    count = min(len(counts) - 1, tiles.shape[1])
    most = [len(within) - count, len(within) - 1]
    _, vectors = linalg.eigh(between, within, subset_by_index=most)
    return ((directions - centre) @ vectors).astype(np.float32)


def _learnt_graph(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> NeighbourGraph | None:
    """Return the graph by features and discriminants; None if fewer than two groups can be learnt from."""
    groups, belief = settled_groups(current_graph(graph, state), state, settings)
    kept = belief >= MIN_BELIEF
    kept &= np.bincount(groups[kept], minlength=state.num_groups)[groups] >= MIN_MEMBERS
    if np.unique(groups[kept]).size < 2:
        return None
    learnt = discriminants(graph.directions, groups, kept)
    learnt /= np.maximum(np.linalg.norm(learnt, axis=1, keepdims=True), MIN_NORM)
    cosines = np.einsum("mkd,md->mk", learnt[graph.near], learnt)
    return joined(graph, (1 - LEARNT_SHARE) * graph.cosines + LEARNT_SHARE * cosines)


def _log_likelihood(
    graph: NeighbourGraph, state: Beliefs, tiles: npt.NDArray[np.intp], settings: BeliefSettings
) -> float:
    """Return how likely a graph finds the groups of some settled tiles, judged as if they were open."""
    groups = state.groups.copy()
    groups[tiles] = OPEN
    without = state._replace(groups=groups, reached=np.zeros_like(state.reached))
    member = membership(spread(graph, without, settings, 30), settings, tiles)
    own = member[np.arange(tiles.size), state.groups[tiles]]
    return float(np.log(np.maximum(own, LEAST_CHANCE), dtype=np.float64).sum())
