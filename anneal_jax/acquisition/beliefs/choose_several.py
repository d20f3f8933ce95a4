"""Several open questions of `belief_ask`, each a good one whatever the answers to the others.

A page needs the next questions before the current one is answered. One tile after another, they would
depend on that answer. Here several tiles from different parts of the archive are in question, with one
question each; the follow-up about a tile comes when its own answer is known.

The state is a function of the answers in order, whatever was proposed in the meantime.
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
"""Number of first questions that a page mixes, and one in how many of them is likely a yes."""


class Interleaved(NamedTuple):
    """The beliefs, and the replies about tiles whose questions are not finished.

    Attributes:
      beliefs: beliefs without a tile in question.
      pending: replies by tile, the most recent tile last.
      begun: tiles in the answers of a glance whose last answer is still missing.
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
      graph: graph of the tiles.
      state: state before the answer; not modified.
      first: one tile, in [0, M).
      second: the other tile.
      answer: similar, dissimilar or unsure.
      settings: how answers are weighed.
      miss_rate: as for `add_answer`.
      is_last: as for `add_answer`.
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
    """Settle the tiles in question that have no questions left, the most recent first.

    Their questions may have been answered elsewhere, or lost their value through answers about other tiles.

    Args:
      graph: graph of the tiles.
      state: state after all answers; not modified.
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
            waiting = list(pending)  # the beliefs about the others have changed
    return Interleaved(beliefs, pending)


def welcome_pair(graph: NeighbourGraph, state: Interleaved) -> tuple[int, int] | None:
    """Return a pair that is likely similar, if few of the first answers were yes; else None.

    Nearly all of the most informative first questions are answered "no", and a person who says no thirty
    times doubts the page. Therefore one in three of the first `NUM_MIXED` is likely a yes. It is about the
    group with the fewest tiles, and the tile nearest to its founder.

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
    """Propose pairs lazily, best first: one about each tile in question, then about other tiles.

    The other tiles are not neighbours of each other, while there are such tiles.

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
    """Return the beliefs with a tile in question, or with none if it is OPEN."""
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
    """Return the tile that a question was about, or OPEN if `add_answer` can find it."""
    groups, pending = state.beliefs.groups, state.pending
    for tile, other in ((first, second), (second, first)):
        if tile in pending and groups[other] != OPEN:
            return tile
    if groups[first] == OPEN and groups[second] == OPEN:
        return better_known(state.beliefs, first, second)
    if groups[first] == OPEN or groups[second] == OPEN or groups[first] == groups[second]:
        return OPEN
    # Both are settled: their groups were compared, or one of them is in doubt.
    if (min(first, second), max(first, second)) == joining_pair(graph, state.beliefs, settings):
        return OPEN
    tiles = np.array([first, second])
    own = own_beliefs(graph, state.beliefs, membership(state.beliefs, settings), tiles)[1]
    is_doubted = (own < 0.5) & (state.beliefs.num_answers[tiles] < settings.most_checks)
    return int(tiles[np.argmin(own)]) if is_doubted.any() else OPEN
