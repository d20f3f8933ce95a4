"""Several questions of `belief_ask` open at once, each good whatever is answered to the others.

A page holds the next questions before the present one is answered. Asked one tile after the other, they
would hang on that answer. Here several tiles are in question, in different places of the archive, a
question each; the follow-up about a tile comes when its own answer is known.

The state is a function of the answers in their order, whatever was proposed meanwhile.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from anneal_jax.acquisition.beliefs.choose import exemplars, joining_pair, partner, was_asked, worth_asking
from anneal_jax.acquisition.beliefs.neighbours import NeighbourGraph
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    Beliefs,
    BeliefSettings,
    Reply,
    membership,
    own_beliefs,
)
from anneal_jax.acquisition.beliefs.update import add_answer, better_known, settle_if_sure, settle_subject
from anneal_jax.types import Answer

Replies = tuple[Reply, ...]
"""To the questions about one tile, each about the tile it was compared with."""


NUM_MIXED, YES_EVERY = 20, 3
"""Of so many first answers, one in so many is a yes, on a page that mixes them."""


class Interleaved(NamedTuple):
    """What is believed, and what was said of tiles whose questions are not done.

    Attributes:
      beliefs: with no tile in question.
      pending: replies by tile, the one asked about last at the end.
      begun: tiles that the answers of a glance spoke of, as long as its last answer is not there.
    """

    beliefs: Beliefs
    pending: dict[int, Replies]
    begun: tuple[int, ...] = ()


def add_interleaved_answer(
    graph: NeighbourGraph,
    state: Interleaved,
    first: int,
    second: int,
    answer: Answer,
    settings: BeliefSettings | None = None,
    *,
    miss_rate: float = 0.0,
    is_last: bool = True,
) -> Interleaved:
    """Learn from an answer about any two tiles.

    Args:
      graph: of the tiles.
      state: before the answer; it stays as it is.
      first: a tile, in [0, M).
      second: another one.
      answer: similar, dissimilar or unsure.
      settings: how answers are weighed.
      miss_rate: as `add_answer`.
      is_last: as `add_answer`.
    """
    settings = settings or BeliefSettings()
    beliefs, pending = state.beliefs, dict(state.pending)
    subject = _subject(graph, state, first, second, settings)
    asking = asking_about(beliefs, subject, pending.get(subject, ()))
    beliefs = add_answer(
        graph, asking, first, second, answer, settings, miss_rate=miss_rate, is_last=is_last
    )
    replies = pending.pop(subject, ())
    if beliefs.subject != OPEN:
        other = second if beliefs.subject == first else first
        earlier = replies if beliefs.subject == subject else pending.pop(beliefs.subject, ())
        reply = beliefs.replies[-1]._replace(about=other)
        pending[beliefs.subject] = (*earlier, reply)
        beliefs = beliefs._replace(subject=OPEN, replies=())
    if not is_last:
        return Interleaved(beliefs, pending, (*state.begun, *list(pending)[-1:]))
    for tile in dict.fromkeys(state.begun):
        if tile in pending:
            beliefs = settle_if_sure(graph, asking_about(beliefs, tile, pending[tile]), settings)
            if beliefs.subject == OPEN:
                del pending[tile]
            beliefs = beliefs._replace(subject=OPEN, replies=())
    return settle_stuck(graph, Interleaved(beliefs, pending), settings)


def settle_stuck(
    graph: NeighbourGraph, state: Interleaved, settings: BeliefSettings | None = None
) -> Interleaved:
    """Settle the tiles in question about which nothing is left to ask, the one asked about last first.

    Their questions may have been answered otherwise, or lost their worth by what was said of other tiles.

    Args:
      graph: of the tiles.
      state: after all answers; it stays as it is.
      settings: how answers are weighed.
    """
    settings = settings or BeliefSettings()
    beliefs, pending = state.beliefs, dict(state.pending)
    waiting = list(pending)
    while waiting:
        tile = waiting.pop()
        asking = asking_about(beliefs, tile, pending[tile])
        if partner(graph, asking, settings) is None:
            beliefs = settle_subject(graph, asking, settings)
            del pending[tile]
            waiting = list(pending)  # what is believed of the others has changed
    return Interleaved(beliefs, pending)


def welcome_pair(graph: NeighbourGraph, state: Interleaved) -> tuple[int, int] | None:
    """Return a pair that is likely alike, while few of the first answers were yes; else None.

    The first questions that gain most are nearly all answered "no", and a person who says no thirty times
    doubts the page. So one in three of the first `NUM_MIXED` is a yes, from the first on. Asked is the
    group that has fewest tiles, and the tile nearest to the one that founded it.

    Args:
      graph: of the tiles.
      state: after all answers.
    """
    beliefs = state.beliefs
    waiting = [reply.is_yes for replies in state.pending.values() for reply in replies]
    num_answers = beliefs.judged + len(waiting)
    num_yes = np.count_nonzero(beliefs.groups != OPEN) - beliefs.num_groups + sum(waiting)
    if num_answers >= NUM_MIXED or YES_EVERY * num_yes > num_answers:
        return None
    is_free = (beliefs.groups == OPEN) & ~beliefs.is_aside
    is_free[list(state.pending)] = False
    sizes = np.bincount(beliefs.groups[beliefs.groups != OPEN])
    for group in np.argsort(sizes, kind="stable").tolist():
        for founder in exemplars(beliefs, group)[:1].tolist():
            edges = slice(graph.smooth.indptr[founder], graph.smooth.indptr[founder + 1])
            near = graph.smooth.indices[edges].astype(np.intp)
            near = near[is_free[near] & ~was_asked(beliefs, founder, near)]
            if near.size:
                tile = int(near[np.argmax(graph.features[near] @ graph.features[founder])])
                return min(tile, founder), max(tile, founder)
    return None


def open_questions(
    graph: NeighbourGraph,
    state: Interleaved,
    settings: BeliefSettings | None = None,
    *,
    mixes_first: bool = False,
) -> Iterator[tuple[int, int]]:
    """Propose pairs, the best first, lazily: one about each tile in question, then about other tiles.

    Those of other tiles are about tiles that are no neighbours of each other, as long as there are such.

    Args:
      graph: of the tiles.
      state: after all answers.
      settings: how answers are weighed.
      mixes_first: whether some of the first questions are likely answered "yes" (`welcome_pair`).
    """
    settings = settings or BeliefSettings()
    beliefs = state.beliefs
    if mixes_first and (pair := welcome_pair(graph, state)) is not None:
        yield pair
    for tile, replies in state.pending.items():
        yield from _question(graph, asking_about(beliefs, tile, replies), settings)
    if (pair := joining_pair(graph, beliefs, settings)) is not None:
        yield pair
    worth = worth_asking(graph, beliefs, settings)
    worth[list(state.pending)] = 0
    later = worth.copy()
    while worth.any():
        tile = int(np.argmax(worth))
        yield from _question(graph, beliefs._replace(subject=tile, replies=()), settings)
        row = slice(graph.smooth.indptr[tile], graph.smooth.indptr[tile + 1])
        worth[graph.smooth.indices[row]] = 0
        worth[tile] = later[tile] = 0
    for tile in np.argsort(-later, kind="stable")[: np.count_nonzero(later)].tolist():
        yield from _question(graph, beliefs._replace(subject=tile, replies=()), settings)


def asking_about(beliefs: Beliefs, tile: int, replies: Replies) -> Beliefs:
    """Return what is believed with a tile in question, or none where it is OPEN."""
    groups = tuple(reply._replace(about=int(beliefs.groups[reply.about])) for reply in replies)
    return beliefs._replace(subject=tile, replies=groups)


def _question(
    graph: NeighbourGraph, beliefs: Beliefs, settings: BeliefSettings
) -> Iterator[tuple[int, int]]:
    other = partner(graph, beliefs, settings)
    if other is not None:
        yield (min(beliefs.subject, other), max(beliefs.subject, other))


def _subject(
    graph: NeighbourGraph, state: Interleaved, first: int, second: int, settings: BeliefSettings
) -> int:
    """Return the tile that a question was about, or OPEN where `add_answer` can tell."""
    groups, pending = state.beliefs.groups, state.pending
    for tile, other in ((first, second), (second, first)):
        if tile in pending and groups[other] != OPEN:
            return tile
    if groups[first] == OPEN and groups[second] == OPEN:
        return better_known(state.beliefs, first, second)
    if groups[first] == OPEN or groups[second] == OPEN or groups[first] == groups[second]:
        return OPEN
    # Both are settled: their groups were compared, or one of them is doubted.
    if (min(first, second), max(first, second)) == joining_pair(graph, state.beliefs, settings):
        return OPEN
    tiles = np.array([first, second])
    own = own_beliefs(graph, state.beliefs, membership(state.beliefs, settings), tiles)[1]
    is_doubted = (own < 0.5) & (state.beliefs.num_answers[tiles] < settings.most_checks)
    return int(tiles[np.argmin(own)]) if is_doubted.any() else OPEN
