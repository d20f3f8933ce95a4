"""Beliefs about which tiles belong together, from answers about few pairs.

Tiles that were asked about are settled in groups, numbered as they are founded. From them belief spreads
along the graph of nearest tiles to all others: a walk from a tile ends in the first settled tile it
meets, or dies on the way. An answer weighs as much as people are right, and no more, so that a slip is
outweighed by what the neighbourhood says and is asked about again.

All of it runs on the host. One answer changes one row, and the next question waits for it.

Source: this project's. The walk is the harmonic function of zhu2003semi, with a chance to die; the
groups, the prices of errors and the joining of groups are ours.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.beliefs.neighbours import NeighbourGraph
from anneal_jax.types import FloatArray, IntArray

OPEN = -1
"""The group of a tile that is not settled; as a subject: no tile."""


class BeliefSettings(NamedTuple):
    """How answers are weighed.

    Attributes:
      death: chance per step that a walk ends without having met a settled tile.
      confidence: belief in a group at which a tile is settled.
      join_confidence: belief at which two groups are joined: one slip must not be enough.
      balance: 0 trusts the share of walks that end in a group as it is; 1 makes all groups equally large.
      least_answers: refusals after which a tile may found a group of its own.
      least_first_answers: the same, as long as the tiles to ask about first are not done.
      most_new: largest chance that a tile belongs to no group found so far.
      most_checks: answers about one tile after which it is not doubted again.
      joining: chance before any answer that a group lies within the one that surrounds it.
      least_joining: minimum probability that two groups are one for it to be asked.
      least_denied: minimum number of tiles denied by their own group for it to be split.
      split_share: minimum share of a group that these must be, too.
      error_rate: expected share of wrong answers, before there is evidence.
      error_weight: answers that this expectation counts for.
      error_range: the estimate of that share never leaves it.
    """

    death: float = 0.05
    confidence: float = 0.9
    join_confidence: float = 0.99
    balance: float = 0.5
    least_answers: int = 4
    least_first_answers: int = 2
    most_new: float = 0.5
    most_checks: int = 8
    joining: float = 0.5
    least_joining: float = 0.03
    least_denied: int = 4
    split_share: float = 0.3
    error_rate: float = 0.05
    error_weight: float = 50.0
    error_range: tuple[float, float] = (0.01, 0.05)


class Reply(NamedTuple):
    """What was said of a tile in question.

    Attributes:
      about: the group, or on a page the tile, that it was compared with.
      is_yes: the answer.
      miss_rate: chance that a difference was overlooked, in [0, 1); 0 for a pair that was looked at alone.
    """

    about: int
    is_yes: bool
    miss_rate: float = 0.0


class Learnt(NamedTuple):
    """A graph that was learnt from answers.

    Attributes:
      graph: over the same tiles as that of the features.
      was_settled: bool[M], tiles that were settled when it was learnt.
      lead: nats by which learnt graphs found the groups of later tiles likelier than the features did.
    """

    graph: NeighbourGraph
    was_settled: npt.NDArray[np.bool_]
    lead: float


class Beliefs(NamedTuple):
    """What the answers so far say about M tiles and the G groups found among them.

    Attributes:
      groups: int32[M], the group of each settled tile, OPEN elsewhere.
      seniority: int32[M], the order, from 1, in which tiles came to stand for their groups in questions;
        0 for tiles that are not sure enough to do so.
      is_aside: bool[M], tiles about which a person was unsure; they wait until all others are done.
      evidence: float32[M, G], log-likelihood of each tile's own answers under each group.
      num_answers: int32[M], sure answers that weighed on a tile.
      reached: float32[M, G], share of the walks from each tile that end in each group.
      apart: float32[G, G], log-odds from answers that two groups are one.
      is_from_grid: bool[M], tiles that a grid settled: shown as likely members, they are no fair sample of
        what groups there are.
      asked: int64[A], sorted keys i M + j, i < j, of the pairs asked so far.
      subject: the tile whose group is being asked about, or OPEN.
      replies: to the questions about the subject, each about a group.
      wrong: expected number of wrong answers among those to settled questions.
      judged: number of those answers.
      learnt: the graph learnt from the answers, once there are enough.
    """

    groups: IntArray
    seniority: IntArray
    is_aside: npt.NDArray[np.bool_]
    evidence: FloatArray
    num_answers: IntArray
    reached: FloatArray
    apart: FloatArray
    is_from_grid: npt.NDArray[np.bool_]
    asked: npt.NDArray[np.int64]
    subject: int = OPEN
    replies: tuple[Reply, ...] = ()
    wrong: float = 0.0
    judged: int = 0
    learnt: Learnt | None = None

    @property
    def num_groups(self) -> int:
        """G."""
        return self.evidence.shape[1]


def begin(graph: NeighbourGraph) -> Beliefs:
    """Return the beliefs before any answer: the first of the medoids is the first group."""
    num_tiles = len(graph.features)
    empty = np.zeros((num_tiles, 0), np.float32)
    state = Beliefs(
        groups=np.full(num_tiles, OPEN, np.int32),
        seniority=np.zeros(num_tiles, np.int32),
        is_aside=np.zeros(num_tiles, np.bool_),
        evidence=empty,
        num_answers=np.zeros(num_tiles, np.int32),
        reached=empty,
        apart=np.zeros((0, 0), np.float32),
        is_from_grid=np.zeros(num_tiles, np.bool_),
        asked=np.empty(0, np.int64),
    )
    return spread(graph, found_group(state, int(graph.medoids[0])), BeliefSettings(), 30)


def open_medoids(graph: NeighbourGraph, state: Beliefs) -> IntArray:
    """Return the tiles to ask about first that are not done, in their order."""
    return graph.medoids[(state.groups[graph.medoids] == OPEN) & ~state.is_aside[graph.medoids]]


def refusals_of_new(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> int:
    """Return the refusals after which the subject may found a group.

    Fewer while medoids are asked about: most stand for a group that is not found yet, and each group that
    is missing draws the tiles of its whole cluster to a wrong one.
    """
    is_first = open_medoids(graph, state).size > 0
    least = settings.least_first_answers if is_first else settings.least_answers
    return min(least, state.num_groups)


def error_rate(state: Beliefs, settings: BeliefSettings) -> float:
    """Return the estimated share of wrong answers, within `settings.error_range`."""
    expected = settings.error_rate * settings.error_weight + state.wrong
    return float(np.clip(expected / (settings.error_weight + state.judged), *settings.error_range))


def likelihoods(rate: float, reply: Reply) -> tuple[float, float]:
    """Return the chances of an answer if the two are alike and if they are not.

    A person errs about any pair at `rate`, and in a grid also overlooks some of the tiles that differ.

    >>> likelihoods(0.5, Reply(0, is_yes=True, miss_rate=0.5))
    (0.5, 0.75)
    >>> likelihoods(0.05, Reply(0, is_yes=False))
    (0.05, 0.95)
    """
    yes_if_different = rate + (1 - rate) * reply.miss_rate
    return (1 - rate, yes_if_different) if reply.is_yes else (rate, 1 - yes_if_different)


def spread(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings, num_steps: int = 8) -> Beliefs:
    """Spread belief from the settled tiles, starting from the current state.

    reached <- (1 - death) walk @ reached, the rows of settled tiles held at their groups.
    """
    settled = np.flatnonzero(state.groups != OPEN)
    held = np.eye(state.num_groups, dtype=np.float32)[state.groups[settled]]
    reached = state.reached.copy()
    reached[settled] = held
    for _ in range(num_steps):
        reached = (graph.walk @ reached) * np.float32(1 - settings.death)
        reached[settled] = held
    return state._replace(reached=reached)


def membership(
    state: Beliefs, settings: BeliefSettings, tiles: npt.NDArray[np.integer] | slice = slice(None)
) -> FloatArray:
    """Return the chance float32[M, G] of each group, given that a tile belongs to one of them.

    Settled tiles have 1 for their own. Tiles that no walk leads away from have equal chances. `tiles`
    names the rows to return, by default all.
    """
    mass = np.maximum(state.reached.sum(axis=0), 1e-9) ** settings.balance
    chances = state.reached[tiles] / mass[None]
    totals = chances.sum(axis=1, keepdims=True)
    return np.where(totals > 1e-12, chances / np.maximum(totals, 1e-12), 1 / max(1, state.num_groups))


def unreached(state: Beliefs) -> FloatArray:
    """Return the share float32[M] of walks from each tile that die before they meet a settled one."""
    return np.clip(1 - state.reached.sum(axis=1), 0, 1)


def chances(
    graph: NeighbourGraph, state: Beliefs, tile: int, settings: BeliefSettings
) -> npt.NDArray[np.float64]:
    """Return the chances float64[G + 1] of a tile's groups, the last a new one, by walks and answers.

    A settled tile is judged by its neighbours and its own answers, as if it were not settled.
    """
    if state.groups[tile] == OPEN:
        likelihood_of_new = _likelihood_of_new(state, tile, settings)
        return open_chances(state, np.array([tile]), settings, likelihood_of_new)[0]
    edges = slice(graph.walk.indptr[tile], graph.walk.indptr[tile + 1])
    member = membership(state, settings, np.asarray(graph.walk.indices[edges]))
    prior, new = (graph.walk.data[edges, None] * member).sum(axis=0).astype(np.float64), 1e-6
    likelihood = np.exp(state.evidence[tile].astype(np.float64))
    joint = np.append(prior * (1 - new) * likelihood, new * _likelihood_of_new(state, tile, settings))
    return joint / joint.sum()


def open_chances(
    state: Beliefs,
    tiles: npt.NDArray[np.integer],
    settings: BeliefSettings,
    likelihood_of_new: float = 1.0,
) -> npt.NDArray[np.float64]:
    """Return the chances float64[T, G + 1] of the groups of some open tiles, the last a new one."""
    prior = membership(state, settings, tiles).astype(np.float64)
    new = _chances_of_new(state, tiles, settings)[:, None]
    likelihood = np.exp(state.evidence[tiles].astype(np.float64))
    joint = np.hstack([prior * (1 - new) * likelihood, new * likelihood_of_new])
    return joint / joint.sum(axis=1, keepdims=True)


def settled_groups(
    graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings | None = None
) -> tuple[IntArray, FloatArray]:
    """Return the likeliest group int32[M] of every tile, and the belief float32[M] in it.

    A settled tile keeps its group, and is believed as its neighbours and its answers together allow; so is
    an open one that answers spoke of. The belief is 0 if no settled tile is near.
    """
    settings = settings or BeliefSettings()
    state = spread(graph, state, settings, 30)
    walked = membership(state, settings)
    member = walked * np.exp(state.evidence)
    member /= np.maximum(member.sum(axis=1, keepdims=True), 1e-20)
    groups = np.argmax(member, axis=1).astype(np.int32)
    belief = np.where(state.reached.sum(axis=1) > 1e-6, member.max(axis=1), 0)
    settled = np.flatnonzero(state.groups != OPEN)
    groups[settled] = state.groups[settled]
    belief[settled] = own_beliefs(graph, state, walked, settled)[1]
    return groups, belief.astype(np.float32)


def own_beliefs(
    graph: NeighbourGraph, state: Beliefs, member: FloatArray, settled: npt.NDArray[np.intp]
) -> tuple[FloatArray, FloatArray]:
    """Judge settled tiles by their neighbours and their own answers, as if they were not settled.

    Returns:
      (joint, own): float32[S, G], the chances of their groups; float32[S], those of their present ones.
    """
    joint = (graph.walk[settled] @ member) * np.exp(state.evidence[settled])
    joint /= np.maximum(joint.sum(axis=1, keepdims=True), 1e-20)
    return joint, joint[np.arange(settled.size), state.groups[settled]]


def found_group(state: Beliefs, tile: int) -> Beliefs:
    """Settle a tile in a new group of its own."""
    groups, seniority = state.groups.copy(), state.seniority.copy()
    groups[tile], seniority[tile] = state.num_groups, seniority.max() + 1
    column = [(0, 0), (0, 1)]
    return state._replace(
        groups=groups,
        seniority=seniority,
        evidence=np.pad(state.evidence, column),
        reached=np.pad(state.reached, column),
        apart=np.pad(state.apart, [(0, 1), (0, 1)]),
    )


def _likelihood_of_new(state: Beliefs, tile: int, settings: BeliefSettings) -> float:
    """A group that is not there yet explains every no, and no yes."""
    if tile != state.subject:
        return 1.0
    rate = error_rate(state, settings)
    return float(np.prod([likelihoods(rate, reply)[1] for reply in state.replies]))


def _chances_of_new(
    state: Beliefs, tiles: npt.NDArray[np.integer], settings: BeliefSettings
) -> npt.NDArray[np.float64]:
    """Good and Turing's chance float64[T] of a new group, more where no settled tile is near.

    Of the tiles settled so far by pairs and choices, the share that is alone in its group.
    """
    is_sampled = (state.groups != OPEN) & ~state.is_from_grid
    sizes = np.bincount(state.groups[is_sampled], minlength=state.num_groups)
    share = (np.sum(sizes == 1) + 0.5) / (sizes.sum() + 1)
    lost = unreached(state)
    typical = lost[state.groups == OPEN].mean()
    return np.clip(share * lost[tiles] / max(typical, 1e-6), 1e-4, settings.most_new).astype(np.float64)


def joining_chances(
    graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings
) -> npt.NDArray[np.float64]:
    """Return the chance float64[G, G] that two groups are one, by their neighbourhoods and the answers.

    Of the walks that leave a group's tiles for another group, the share that ends in each; the larger
    of both directions counts.
    """
    num_groups = state.num_groups
    settled = np.flatnonzero(state.groups != OPEN)
    leaving = graph.walk[settled] @ membership(state, settings)
    share = np.zeros((num_groups, num_groups))
    np.add.at(share, state.groups[settled], leaving)
    np.fill_diagonal(share, 0)
    share /= np.maximum(share.sum(axis=1, keepdims=True), 1e-9)
    prior = np.clip(np.maximum(share, share.T) * settings.joining, 1e-6, 1 - 1e-6)
    odds = np.log(prior / (1 - prior)) + state.apart
    chance = 1 / (1 + np.exp(-odds))
    np.fill_diagonal(chance, 0)
    return chance
