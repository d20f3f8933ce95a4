"""Ask about the groups of an archive's tiles, one question after another or several at once.

The state is a function of the answers in order, so that an interrupted run, and a workdir with a person's
answers, continue from the store alone.
"""

from collections import deque
from collections.abc import Collection, Iterator
from typing import NamedTuple

import numpy as np

from anneal_jax.acquisition.beliefs import choose_several, update
from anneal_jax.acquisition.beliefs.choose import next_question
from anneal_jax.acquisition.beliefs.choose_several import (
    Interleaved,
    open_questions,
    settle_stuck,
)
from anneal_jax.acquisition.beliefs.glances import KINDS, MISS_RATE, Glance, GlanceSeconds, open_glances
from anneal_jax.acquisition.beliefs.learnt import current_graph, learn_graph
from anneal_jax.acquisition.beliefs.neighbours import NeighbourGraph
from anneal_jax.acquisition.beliefs.state import Beliefs
from anneal_jax.answers.store import Answered
from anneal_jax.pairs.canonical import keys_within
from anneal_jax.types import Answer, IntArray


class BeliefSession(NamedTuple):
    """The tiles from which questions are chosen.

    Attributes:
      tiles: int32[M], sorted indices into the archive: the training tiles, or a sample of them.
      graph: of their nearest neighbours by the features before any training.
      start: what is believed before any answer.
    """

    tiles: IntArray
    graph: NeighbourGraph
    start: Beliefs

    def graph_of(self, beliefs: Beliefs) -> NeighbourGraph:
        """Return the graph that beliefs spread along: the learnt one while it leads."""
        return current_graph(self.graph, beliefs)


def ask_next(session: BeliefSession, beliefs: Beliefs) -> tuple[Beliefs, tuple[int, int] | None]:
    """Choose the next question.

    Returns:
      (beliefs, pair): the state to learn the answer with, and indices (i, j) into the archive, i < j. Where
      nothing is left to ask, the state given, which follows from the answers alone, and None.
    """
    chosen, pair = next_question(session.graph_of(beliefs), beliefs)
    if pair is None:
        return beliefs, None
    return chosen, (int(session.tiles[pair[0]]), int(session.tiles[pair[1]]))


def add_answer(
    session: BeliefSession, beliefs: Beliefs, first: int, second: int, answer: Answer
) -> Beliefs:
    """Learn from the answer about two tiles of the archive; pairs with others teach nothing here."""
    pair = np.array([first, second])
    if not np.isin(pair, session.tiles).all():
        return beliefs
    places = np.searchsorted(session.tiles, pair)
    graph, first, second = session.graph_of(beliefs), int(places[0]), int(places[1])
    return learn_graph(session.graph, update.add_answer(graph, beliefs, first, second, answer))


def replay(session: BeliefSession, answered: Answered) -> Beliefs:
    """Add all answers again, in their order, as they were added when they were given.

    Args:
      session: what was asked about.
      answered: the answers that stand, from any source.
    """
    beliefs = session.start
    for (first, second), answer in zip(answered.pair_indices.tolist(), answered.answers, strict=True):
        chosen, pair = ask_next(session, beliefs)
        beliefs = chosen if pair == (first, second) else beliefs
        beliefs = add_answer(session, beliefs, first, second, Answer(int(answer)))
    return beliefs


def propose_several(
    session: BeliefSession, state: Interleaved, *, mixes_first: bool = False
) -> Iterator[tuple[int, int]]:
    """Propose pairs of the archive, each good whatever is answered to those before it, the best first."""
    for first, second in open_questions(session.graph_of(state.beliefs), state, mixes_first=mixes_first):
        yield int(session.tiles[first]), int(session.tiles[second])


def add_interleaved_answer(
    session: BeliefSession,
    state: Interleaved,
    first: int,
    second: int,
    answer: Answer,
    *,
    miss_rate: float = 0.0,
    is_last: bool = True,
    is_finished: bool = True,
) -> Interleaved:
    """Learn from an answer where several questions are open at once, as on a page; see `add_answer`.

    `miss_rate` and `is_last` are those of a glance's answers (`glances.answers_of`). Unless `is_finished`,
    the caller calls `finish` before the next answer or question: it takes seconds on a large archive.
    """
    places = np.searchsorted(session.tiles, (first, second))
    if not np.array_equal(session.tiles.take(places, mode="clip"), (first, second)):
        return state
    state = choose_several.add_interleaved_answer(
        session.graph_of(state.beliefs),
        state,
        int(places[0]),
        int(places[1]),
        answer,
        miss_rate=miss_rate,
        is_last=is_last,
    )
    return finish(session, state) if is_finished else state


def finish(session: BeliefSession, state: Interleaved) -> Interleaved:
    """Learn the graph again if that is due; a second call changes nothing."""
    return state._replace(beliefs=learn_graph(session.graph, state.beliefs))


def propose_glances(
    session: BeliefSession,
    state: Interleaved,
    seconds: GlanceSeconds | None = None,
    kinds: Collection[str] = KINDS,
    *,
    mixes_first: bool = False,
) -> Iterator[Glance]:
    """Propose glances at tiles of the archive, as `open_glances` does by their places."""
    for glance in open_glances(
        session.graph_of(state.beliefs), state, seconds, kinds, mixes_first=mixes_first
    ):
        subject, *others = session.tiles[[glance.subject, *glance.others]].tolist()
        yield glance._replace(subject=subject, others=tuple(others))


def keep_off(session: BeliefSession, state: Interleaved, first: int, second: int) -> Interleaved:
    """Never propose a pair, and learn nothing about it; a tile without any other question is settled."""
    keys = keys_within(session.tiles, np.array([(first, second)], np.int32))
    asked = np.union1d(state.beliefs.asked, keys)
    graph = session.graph_of(state.beliefs)
    return settle_stuck(graph, state._replace(beliefs=state.beliefs._replace(asked=asked)))


def states_along_page(session: BeliefSession, answered: Answered) -> Iterator[Interleaved]:
    """Yield the state of a page before any answer and after each of them, in the order given."""
    state = Interleaved(session.start, {})
    yield state
    for (first, second), answer, is_weak, is_last in zip(
        answered.pair_indices.tolist(),
        answered.answers.tolist(),
        answered.is_weak.tolist(),
        answered.is_last.tolist(),
        strict=True,
    ):
        miss_rate = MISS_RATE if is_weak else 0.0
        state = add_interleaved_answer(
            session, state, first, second, Answer(answer), miss_rate=miss_rate, is_last=is_last
        )
        yield state


def beliefs_along_page(session: BeliefSession, answered: Answered) -> Iterator[Beliefs]:
    """Yield what a page believes before any answer and after each of them, in the order given."""
    return (state.beliefs for state in states_along_page(session, answered))


def state_of_page(session: BeliefSession, answered: Answered) -> Interleaved:
    """Return the state of a page after answers, in the order given."""
    return deque(states_along_page(session, answered), maxlen=1)[0]


def beliefs_of_page(session: BeliefSession, answered: Answered) -> Beliefs:
    """Return what a page believes after answers, in the order given."""
    return state_of_page(session, answered).beliefs
