"""Ask about the groups of an archive's tiles, one question after another or several at once.

The state is a function of the answers in their order, so that an interrupted run, and a workdir that a
person has answered, go on from the store alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from anneal_jax.acquisition.beliefs.choose import next_question
from anneal_jax.acquisition.beliefs.choose_several import (
    Interleaved,
    hear_interleaved,
    open_questions,
    settle_stuck,
)
from anneal_jax.acquisition.beliefs.neighbours import NeighbourGraph
from anneal_jax.acquisition.beliefs.state import Beliefs
from anneal_jax.acquisition.beliefs.update import absorb
from anneal_jax.answers.store import Answered
from anneal_jax.pairs.canonical import keys_within
from anneal_jax.types import Answer, IntArray


class Interview(NamedTuple):
    """What questions are chosen from.

    Attributes:
      tiles: int32[M], sorted indices into the archive: the training tiles, or a sample of them.
      graph: of their nearest neighbours by the features before any training.
      start: what is believed before any answer.
    """

    tiles: IntArray
    graph: NeighbourGraph
    start: Beliefs


def ask_next(interview: Interview, beliefs: Beliefs) -> tuple[Beliefs, tuple[int, int] | None]:
    """Choose the next question.

    Returns:
      (beliefs, pair): the state to learn the answer with, and indices (i, j) into the archive, i < j. Where
      nothing is left to ask, the state given, which follows from the answers alone, and None.
    """
    chosen, pair = next_question(interview.graph, beliefs)
    if pair is None:
        return beliefs, None
    return chosen, (int(interview.tiles[pair[0]]), int(interview.tiles[pair[1]]))


def hear(interview: Interview, beliefs: Beliefs, first: int, second: int, answer: Answer) -> Beliefs:
    """Learn from the answer about two tiles of the archive; pairs with others teach nothing here."""
    pair = np.array([first, second])
    if not np.isin(pair, interview.tiles).all():
        return beliefs
    places = np.searchsorted(interview.tiles, pair)
    return absorb(interview.graph, beliefs, int(places[0]), int(places[1]), answer)


def replay(interview: Interview, answered: Answered) -> Beliefs:
    """Hear all answers again, in their order, as they were heard when they were given.

    Args:
      interview: what was asked about.
      answered: the answers that stand, from any source.
    """
    beliefs = interview.start
    for (first, second), answer in zip(answered.pair_indices.tolist(), answered.answers, strict=True):
        chosen, pair = ask_next(interview, beliefs)
        beliefs = chosen if pair == (first, second) else beliefs
        beliefs = hear(interview, beliefs, first, second, Answer(int(answer)))
    return beliefs


def propose_several(interview: Interview, state: Interleaved) -> Iterator[tuple[int, int]]:
    """Propose pairs of the archive, each good whatever is answered to those before it, the best first."""
    for first, second in open_questions(interview.graph, state):
        yield int(interview.tiles[first]), int(interview.tiles[second])


def hear_several(
    interview: Interview, state: Interleaved, first: int, second: int, answer: Answer
) -> Interleaved:
    """Learn from an answer where several questions are open at once, as on a page; see `hear`."""
    places = np.searchsorted(interview.tiles, (first, second))
    if not np.array_equal(interview.tiles.take(places, mode="clip"), (first, second)):
        return state
    return hear_interleaved(interview.graph, state, int(places[0]), int(places[1]), answer)


def keep_off(interview: Interview, state: Interleaved, first: int, second: int) -> Interleaved:
    """Never propose a pair, and learn nothing about it; a tile without any other question is settled."""
    keys = keys_within(interview.tiles, np.array([(first, second)], np.int32))
    asked = np.union1d(state.beliefs.asked, keys)
    return settle_stuck(interview.graph, state._replace(beliefs=state.beliefs._replace(asked=asked)))


def hear_page(interview: Interview, answered: Answered) -> Beliefs:
    """Return what a page believes after answers, in the order given."""
    state = Interleaved(interview.start, {})
    for (first, second), answer in zip(answered.pair_indices.tolist(), answered.answers, strict=True):
        state = hear_several(interview, state, first, second, Answer(int(answer)))
    return state.beliefs
