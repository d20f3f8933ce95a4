"""Beliefs about which tiles belong together, from answers about few pairs.

Tiles that were asked about are settled in groups, numbered as they are founded. From them belief spreads
along the graph of nearest tiles to all others: a walk from a tile ends in the first settled tile it
meets, or dies on the way. An answer weighs as much as people are right, and no more, so that a slip is
outweighed by what the neighbourhood says and is asked about again.

All of it runs on the host. One answer changes one row, and the next question waits for it.

Source: this project's. The walk is the harmonic function of Zhu et al. 2003, Semi-Supervised Learning
Using Gaussian Fields and Harmonic Functions, with a chance to die; the groups, the prices of errors and
the joining of groups are ours.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.neighbours import NeighbourGraph
from anneal_jax.types import Answer, FloatArray, IntArray

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
      most_new: largest chance that a tile belongs to no group found so far.
      most_checks: answers about one tile after which it is not doubted again.
      joining: chance before any answer that a group lies within the one that surrounds it.
      error_rate: expected share of wrong answers, before there is evidence.
      error_weight: answers that this expectation counts for.
      error_range: the estimate of that share never leaves it.
    """

    death: float = 0.05
    confidence: float = 0.9
    join_confidence: float = 0.99
    balance: float = 0.5
    least_answers: int = 4
    most_new: float = 0.5
    most_checks: int = 8
    joining: float = 0.5
    error_rate: float = 0.05
    error_weight: float = 50.0
    error_range: tuple[float, float] = (0.01, 0.05)


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
      asked: int64[A], sorted keys i M + j, i < j, of the pairs asked so far.
      subject: the tile whose group is being asked about, or OPEN.
      replies: (group, answer is yes) of the questions about the subject.
      wrong: expected number of wrong answers among those to settled questions.
      judged: number of those answers.
    """

    groups: IntArray
    seniority: IntArray
    is_aside: npt.NDArray[np.bool_]
    evidence: FloatArray
    num_answers: IntArray
    reached: FloatArray
    apart: FloatArray
    asked: npt.NDArray[np.int64]
    subject: int = OPEN
    replies: tuple[tuple[int, bool], ...] = ()
    wrong: float = 0.0
    judged: int = 0

    @property
    def num_groups(self) -> int:
        """G."""
        return self.evidence.shape[1]


def begin(graph: NeighbourGraph) -> Beliefs:
    """Return the beliefs before any answer: the best connected tile is the first group."""
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
        asked=np.empty(0, np.int64),
    )
    return spread(graph, _found(state, int(np.argmax(graph.smooth.sum(axis=1)))), BeliefSettings(), 30)


def error_rate(state: Beliefs, settings: BeliefSettings) -> float:
    """Return the estimated share of wrong answers, within `settings.error_range`."""
    expected = settings.error_rate * settings.error_weight + state.wrong
    return float(np.clip(expected / (settings.error_weight + state.judged), *settings.error_range))


def spread(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings, num_steps: int = 8) -> Beliefs:
    """Let belief spread from the settled tiles, going on from where it had come.

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


def membership(state: Beliefs, settings: BeliefSettings) -> FloatArray:
    """Return the chance float32[M, G] of each group, given that a tile belongs to one of them.

    Settled tiles have 1 for their own. Tiles that no walk leads away from have equal chances.
    """
    mass = np.maximum(state.reached.sum(axis=0), 1e-9) ** settings.balance
    chances = state.reached / mass[None]
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
    member = membership(state, settings)
    if state.groups[tile] == OPEN:
        prior, new = member[tile].astype(np.float64), _chance_of_new(state, tile, settings)
    else:
        prior, new = (graph.walk[[tile]] @ member)[0].astype(np.float64), 1e-6
    likelihood = np.exp(state.evidence[tile].astype(np.float64))
    joint = np.append(prior * (1 - new) * likelihood, new * _likelihood_of_new(state, tile, settings))
    return joint / joint.sum()


def absorb(
    graph: NeighbourGraph,
    state: Beliefs,
    first: int,
    second: int,
    answer: Answer,
    settings: BeliefSettings | None = None,
) -> Beliefs:
    """Learn from an answer about any two tiles, whoever chose them.

    Args:
      graph: of the tiles.
      state: before the answer.
      first: a tile, in [0, M).
      second: another one.
      answer: similar, dissimilar or unsure.
      settings: how answers are weighed.

    Returns:
      The beliefs after it. An unsure answer puts the tile aside that was asked about.
    """
    settings = settings or BeliefSettings()
    subject, other = _subject_first(state, first, second)
    if state.groups[other] == OPEN and answer != Answer.UNSURE:
        state = _found(state, other)
    state = _note_asked(state, first, second)
    if answer == Answer.UNSURE:
        aside = state.is_aside.copy()
        aside[subject] = True
        return state._replace(is_aside=aside, subject=OPEN, replies=())
    group, is_yes = int(state.groups[other]), answer == Answer.SIMILAR
    if state.groups[subject] != OPEN and state.subject != subject:
        return _absorb_between(graph, state, subject, other, is_yes, settings)
    replies = state.replies if state.subject == subject else ()
    state = _weigh(state, subject, group, is_yes, settings)
    state = state._replace(subject=subject, replies=(*replies, (group, is_yes)))
    return _settle(graph, state, settings)


def settled_groups(
    graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings | None = None
) -> tuple[IntArray, FloatArray]:
    """Return the likeliest group int32[M] of every tile, and the belief float32[M] in it.

    A settled tile keeps its group, and is believed as its neighbours and its answers together allow.
    The belief is 0 where no settled tile is near.
    """
    settings = settings or BeliefSettings()
    state = spread(graph, state, settings, 30)
    member = membership(state, settings)
    groups = np.argmax(member, axis=1).astype(np.int32)
    belief = np.where(state.reached.sum(axis=1) > 1e-6, member.max(axis=1), 0)
    settled = np.flatnonzero(state.groups != OPEN)
    groups[settled] = state.groups[settled]
    belief[settled] = own_beliefs(graph, state, member, settled)[1]
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


def _subject_first(state: Beliefs, first: int, second: int) -> tuple[int, int]:
    """Order a pair: the tile in question, then the one that stands for a group."""
    if second == state.subject or (first != state.subject and state.groups[second] == OPEN):
        return second, first
    return first, second


def _found(state: Beliefs, tile: int) -> Beliefs:
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


def _note_asked(state: Beliefs, first: int, second: int) -> Beliefs:
    low, high = sorted((first, second))
    key = low * len(state.groups) + high
    return state._replace(asked=np.insert(state.asked, np.searchsorted(state.asked, key), key))


def _log_odds(state: Beliefs, settings: BeliefSettings) -> float:
    rate = error_rate(state, settings)
    return float(np.log((1 - rate) / rate))


def _weigh(state: Beliefs, tile: int, group: int, is_yes: bool, settings: BeliefSettings) -> Beliefs:
    """Add an answer about a tile and a group to the tile's evidence."""
    evidence, num_answers = state.evidence.copy(), state.num_answers.copy()
    rate = error_rate(state, settings)
    others, own = (rate, 1 - rate) if is_yes else (1 - rate, rate)
    evidence[tile] += np.log(others)
    evidence[tile, group] += np.log(own) - np.log(others)
    num_answers[tile] += 1
    return state._replace(evidence=evidence, num_answers=num_answers)


def _likelihood_of_new(state: Beliefs, tile: int, settings: BeliefSettings) -> float:
    """A group that is not there yet explains every no, and no yes."""
    if tile != state.subject:
        return 1.0
    rate = error_rate(state, settings)
    return float(np.prod([rate if is_yes else 1 - rate for _, is_yes in state.replies]))


def _chance_of_new(state: Beliefs, tile: int, settings: BeliefSettings) -> float:
    """Good and Turing's chance of a new group, more where no settled tile is near.

    Of the tiles settled so far, the share that is alone in its group.
    """
    sizes = np.bincount(state.groups[state.groups != OPEN], minlength=state.num_groups)
    share = (np.sum(sizes == 1) + 0.5) / (sizes.sum() + 1)
    lost = unreached(state)
    typical = lost[state.groups == OPEN].mean()
    return float(np.clip(share * lost[tile] / max(typical, 1e-6), 1e-4, settings.most_new))


def _settle(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> Beliefs:
    """Close the questions about the subject where the answers suffice."""
    tile, believed = state.subject, chances(graph, state, state.subject, settings)
    best = int(np.argmax(believed))
    is_new = best == state.num_groups
    if is_new and state.groups[tile] != OPEN:
        return state._replace(subject=OPEN, replies=())
    may_be_new = len(state.replies) >= min(settings.least_answers, state.num_groups)
    if not (is_new and may_be_new) and believed[best] < settings.confidence:
        return state
    if is_new and not may_be_new:
        return state
    return settle_subject(graph, state, settings)


def settle_subject(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> Beliefs:
    """Settle the subject in its likeliest group, however likely that is, or in one of its own."""
    tile, believed = state.subject, chances(graph, state, state.subject, settings)
    best = int(np.argmax(believed))
    state = _judge_replies(state, believed)
    if best == state.num_groups:
        if state.groups[tile] != OPEN:
            return state._replace(subject=OPEN, replies=())
        state = _found(state, tile)
        evidence = state.evidence.copy()
        evidence[tile, -1] = np.max(evidence[tile]) + _log_odds(state, settings)
        state = state._replace(evidence=evidence)
    else:
        groups, seniority = state.groups.copy(), state.seniority.copy()
        is_sure = believed[best] >= settings.confidence
        groups[tile], seniority[tile] = best, seniority.max() + 1 if is_sure else 0
        state = _drop_empty(state._replace(groups=groups, seniority=seniority))
    state = _hold_apart(state, tile, settings)
    return spread(graph, state._replace(subject=OPEN, replies=()), settings)


def _judge_replies(state: Beliefs, believed: npt.NDArray[np.float64]) -> Beliefs:
    """Count how many of the subject's answers were wrong, by what is now believed."""
    wrong = sum(1 - believed[group] if is_yes else believed[group] for group, is_yes in state.replies)
    return state._replace(wrong=state.wrong + float(wrong), judged=state.judged + len(state.replies))


def _hold_apart(state: Beliefs, tile: int, settings: BeliefSettings) -> Beliefs:
    """A sure member's "no" to another group tells the two groups apart."""
    if not state.seniority[tile]:
        return state
    apart, group = state.apart.copy(), state.groups[tile]
    for refused, is_yes in state.replies:
        if not is_yes and refused != group and refused < state.num_groups:
            apart[group, refused] -= _log_odds(state, settings)
            apart[refused, group] = apart[group, refused]
    return state._replace(apart=apart)


def _absorb_between(
    graph: NeighbourGraph,
    state: Beliefs,
    first: int,
    second: int,
    is_yes: bool,
    settings: BeliefSettings,
) -> Beliefs:
    """Learn from an answer about two settled tiles: it speaks of both, and of their groups."""
    one, other = int(state.groups[first]), int(state.groups[second])
    state = _weigh(state, first, other, is_yes, settings)
    state = _weigh(state, second, one, is_yes, settings)
    if one == other:
        return state
    apart = state.apart.copy()
    apart[one, other] += _log_odds(state, settings) * (1 if is_yes else -1)
    apart[other, one] = apart[one, other]
    state = state._replace(apart=apart)
    if is_yes and joining_chances(graph, state, settings)[one, other] >= settings.join_confidence:
        return spread(graph, _join(state, min(one, other), max(one, other)), settings, 30)
    return state


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


def _join(state: Beliefs, kept: int, dropped: int) -> Beliefs:
    """Make two groups one."""
    evidence, apart, reached = state.evidence.copy(), state.apart.copy(), state.reached.copy()
    evidence[:, kept] = np.maximum(evidence[:, kept], evidence[:, dropped])
    reached[:, kept] += reached[:, dropped]
    apart[kept] = np.minimum(apart[kept], apart[dropped])
    apart[:, kept], apart[kept, kept] = apart[kept], 0
    groups = np.where(state.groups == dropped, kept, state.groups).astype(np.int32)
    state = state._replace(groups=groups, evidence=evidence, reached=reached, apart=apart)
    return _drop_empty(state)


def _drop_empty(state: Beliefs) -> Beliefs:
    """Number the groups anew where one has lost its last tile."""
    is_used = np.bincount(state.groups[state.groups != OPEN], minlength=state.num_groups) > 0
    if is_used.all():
        return state
    numbers = np.append(np.cumsum(is_used) - 1, OPEN).astype(np.int32)
    return state._replace(
        groups=numbers[state.groups],
        evidence=state.evidence[:, is_used],
        reached=state.reached[:, is_used],
        apart=state.apart[is_used][:, is_used],
        replies=tuple((int(numbers[group]), is_yes) for group, is_yes in state.replies if is_used[group]),
    )
