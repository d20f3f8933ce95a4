"""How an answer changes what is believed: a tile is settled, a group founded, two groups joined."""

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.beliefs.neighbours import NeighbourGraph
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    Beliefs,
    BeliefSettings,
    Reply,
    chances,
    error_rate,
    found_group,
    joining_chances,
    likelihoods,
    refusals_of_new,
    spread,
)
from anneal_jax.types import Answer


def add_answer(
    graph: NeighbourGraph,
    state: Beliefs,
    first: int,
    second: int,
    answer: Answer,
    settings: BeliefSettings | None = None,
    *,
    miss_rate: float = 0.0,
    is_last: bool = True,
) -> Beliefs:
    """Learn from an answer about any two tiles, whoever chose them.

    Args:
      graph: of the tiles.
      state: before the answer.
      first: a tile, in [0, M).
      second: another one.
      answer: similar, dissimilar or unsure.
      settings: how answers are weighed.
      miss_rate: chance that a difference was overlooked, in [0, 1): a tile of a grid that nobody clicked.
      is_last: False if more answers of the same glance follow, before any of its tiles is settled.

    Returns:
      The beliefs after it. An unsure answer puts the tile aside that was asked about.
    """
    settings = settings or BeliefSettings()
    if answer != Answer.UNSURE:
        state = _settle_either(graph, state, first, second, settings)
    subject, other = _subject_first(state, first, second)
    state = _note_asked(state, first, second)
    if answer == Answer.UNSURE:
        aside = state.is_aside.copy()
        aside[subject] = True
        state = state._replace(is_aside=aside)
        return state._replace(subject=OPEN, replies=()) if subject == state.subject else state
    group, is_yes = int(state.groups[other]), answer == Answer.SIMILAR
    if state.groups[subject] != OPEN and state.subject != subject:
        return _add_answer_between(graph, state, subject, other, Reply(group, is_yes, miss_rate), settings)
    replies = state.replies if state.subject == subject else ()
    reply = Reply(group, is_yes, miss_rate if is_yes else 0.0)
    state = _weigh(state, subject, reply, settings)
    state = state._replace(subject=subject, replies=(*replies, reply))
    return settle_if_sure(graph, state, settings) if is_last else state


def better_known(state: Beliefs, first: int, second: int) -> int:
    """Return the tile of an open pair that more answers spoke of, or else the second."""
    return first if state.num_answers[first] > state.num_answers[second] else second


def _settle_either(
    graph: NeighbourGraph, state: Beliefs, first: int, second: int, settings: BeliefSettings
) -> Beliefs:
    """Settle one tile of a pair of open ones, since an answer says how a tile belongs to a group.

    Marks on search results are about such pairs: one tile and many others. Earlier answers about it still
    hold, so they all concern one group, which it represents.
    """
    if state.groups[first] != OPEN or state.groups[second] != OPEN:
        return state
    tile = better_known(state, first, second)
    state = state._replace(subject=tile, replies=state.replies if tile == state.subject else ())
    least = 0.5 if state.num_answers[tile] else settings.confidence
    if chances(graph, state, tile, settings)[:-1].max(initial=0) > least:
        return settle_subject(graph, state, settings)
    state = found_group(state, tile)
    evidence = state.evidence.copy()
    evidence[tile, -1] = np.max(evidence[tile]) + _log_odds(state, settings)
    state = state._replace(evidence=evidence, subject=OPEN, replies=())
    return spread(graph, state, settings, 30)


def _subject_first(state: Beliefs, first: int, second: int) -> tuple[int, int]:
    """Order a pair: the tile in question, then the one that stands for a group."""
    if second == state.subject or (first != state.subject and state.groups[second] == OPEN):
        return second, first
    return first, second


def _note_asked(state: Beliefs, first: int, second: int) -> Beliefs:
    low, high = sorted((first, second))
    key = low * len(state.groups) + high
    return state._replace(asked=np.union1d(state.asked, key))  # a pair may be answered twice


def _log_odds(state: Beliefs, settings: BeliefSettings) -> float:
    rate = error_rate(state, settings)
    return float(np.log((1 - rate) / rate))


def _weigh(state: Beliefs, tile: int, reply: Reply, settings: BeliefSettings) -> Beliefs:
    """Add an answer about a tile and a group to the tile's evidence."""
    evidence, num_answers = state.evidence.copy(), state.num_answers.copy()
    own, others = likelihoods(error_rate(state, settings), reply)
    evidence[tile] += np.log(others)
    evidence[tile, reply.about] += np.log(own) - np.log(others)
    num_answers[tile] += 1
    return state._replace(evidence=evidence, num_answers=num_answers)


def settle_if_sure(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> Beliefs:
    """Close the questions about the subject where the answers suffice."""
    tile, believed = state.subject, chances(graph, state, state.subject, settings)
    best = int(np.argmax(believed))
    is_new = best == state.num_groups
    if is_new and state.groups[tile] != OPEN:
        return state._replace(subject=OPEN, replies=())
    may_be_new = len(state.replies) >= refusals_of_new(graph, state, settings)
    suffices = may_be_new if is_new else believed[best] >= settings.confidence
    return settle_subject(graph, state, settings) if suffices else state


def settle_subject(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> Beliefs:
    """Settle the subject in its likeliest group, however likely that is, or in one of its own."""
    tile, believed = state.subject, chances(graph, state, state.subject, settings)
    best = int(np.argmax(believed))
    state = _judge_replies(state, believed)
    is_from_grid = state.is_from_grid.copy()
    is_from_grid[tile] = any(reply.miss_rate for reply in state.replies)
    state = state._replace(is_from_grid=is_from_grid)
    if best == state.num_groups:
        if state.groups[tile] != OPEN:
            return state._replace(subject=OPEN, replies=())
        state = found_group(state, tile)
        evidence = state.evidence.copy()
        evidence[tile, -1] = np.max(evidence[tile]) + _log_odds(state, settings)
        state = state._replace(evidence=evidence)
    else:
        groups, seniority = state.groups.copy(), state.seniority.copy()
        is_sure = believed[best] >= settings.confidence
        groups[tile], seniority[tile] = best, seniority.max() + 1 if is_sure else 0
        state = _drop_empty(state._replace(groups=groups, seniority=seniority))
    state = _hold_apart(state, tile, settings)._replace(subject=OPEN, replies=())
    whole = _split(state, int(state.groups[tile]), settings)
    return spread(graph, whole, settings, 8 if whole is state else 30)


def _judge_replies(state: Beliefs, believed: npt.NDArray[np.float64]) -> Beliefs:
    """Count how many of the subject's answers were wrong, by what is now believed.

    An odd tile that nobody clicked in a grid may have been overlooked, so it does not count.
    """
    judged = [reply for reply in state.replies if not reply.miss_rate]
    wrong = sum(abs(is_yes - believed[group]) for group, is_yes, _ in judged)
    return state._replace(wrong=state.wrong + float(wrong), judged=state.judged + len(judged))


def _hold_apart(state: Beliefs, tile: int, settings: BeliefSettings) -> Beliefs:
    """A sure member's "no" to another group separates the two groups, as much as one answer can.

    More of them add nothing. Were the two one, a tile would come to the second group only by a slip about
    the first, and every slip would be counted, none of the many answers that were right.
    """
    if not state.seniority[tile]:
        return state
    apart, group, weight = state.apart.copy(), state.groups[tile], _log_odds(state, settings)
    for refused, is_yes, _ in state.replies:
        if not is_yes and refused != group and refused < state.num_groups:
            before = apart[group, refused]
            apart[group, refused] = min(before, max(before - weight, -weight))
            apart[refused, group] = apart[group, refused]
    return state._replace(apart=apart)


def _split(state: Beliefs, group: int, settings: BeliefSettings) -> Beliefs:
    """Take out of a group the tiles that were denied by it, if they are more than slips explain.

    A slip about a kind's first tile lets that kind into a group of another one. The next tiles of that kind
    are denied by the founder, and let in by the first. They get a group of their own, and what denied them
    is forgotten. If the two are one after all, they are joined again, like any two that overlap.
    """
    members = np.flatnonzero(state.groups == group)
    rate, weight = error_rate(state, settings), _log_odds(state, settings)
    is_denied = state.evidence[members, group] < 0.5 * np.log(rate)
    denied = members[is_denied]
    least = max(settings.least_denied, settings.split_share * members.size)
    if denied.size < least or not state.seniority[members[~is_denied]].any():
        return state
    state = found_group(state, int(denied[np.argmax(state.seniority[denied])]))
    groups, evidence = state.groups.copy(), state.evidence.copy()
    groups[denied] = state.num_groups - 1
    evidence[denied, group], evidence[denied, -1] = 0, weight
    return state._replace(groups=groups, evidence=evidence)


def _add_answer_between(
    graph: NeighbourGraph,
    state: Beliefs,
    first: int,
    second: int,
    reply: Reply,
    settings: BeliefSettings,
) -> Beliefs:
    """Learn from an answer about two settled tiles: it speaks of both, and of their groups."""
    one, other = int(state.groups[first]), int(state.groups[second])
    state = _weigh(state, first, reply._replace(about=other), settings)
    state = _weigh(state, second, reply._replace(about=one), settings)
    if one == other:
        return state
    apart = state.apart.copy()
    own, others = likelihoods(error_rate(state, settings), reply)
    apart[one, other] += np.log(own) - np.log(others)
    apart[other, one] = apart[one, other]
    state = state._replace(apart=apart)
    if reply.is_yes and joining_chances(graph, state, settings)[one, other] >= settings.join_confidence:
        return spread(graph, _join(state, min(one, other), max(one, other)), settings, 30)
    return state


def _join(state: Beliefs, kept: int, dropped: int) -> Beliefs:
    """Make two groups one."""
    evidence, apart, reached = state.evidence.copy(), state.apart.copy(), state.reached.copy()
    evidence[:, kept] = np.maximum(evidence[:, kept], evidence[:, dropped])
    reached[:, kept] += reached[:, dropped]
    apart[kept] = np.minimum(apart[kept], apart[dropped])
    apart[:, kept], apart[kept, kept] = apart[kept], 0
    groups = np.where(state.groups == dropped, kept, state.groups).astype(np.int32)
    replies = tuple(
        reply._replace(about=kept) if reply.about == dropped else reply for reply in state.replies
    )
    state = state._replace(groups=groups, evidence=evidence, reached=reached, apart=apart, replies=replies)
    return _drop_empty(state)


def _drop_empty(state: Beliefs) -> Beliefs:
    """Renumber the groups if one has lost its last tile."""
    is_used = np.bincount(state.groups[state.groups != OPEN], minlength=state.num_groups) > 0
    if is_used.all():
        return state
    numbers = np.append(np.cumsum(is_used) - 1, OPEN).astype(np.int32)
    return state._replace(
        groups=numbers[state.groups],
        evidence=state.evidence[:, is_used],
        reached=state.reached[:, is_used],
        apart=state.apart[is_used][:, is_used],
        replies=tuple(
            reply._replace(about=int(numbers[reply.about]))
            for reply in state.replies
            if is_used[reply.about]
        ),
    )
