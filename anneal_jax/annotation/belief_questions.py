"""The default source of questions: groups by belief, each question chosen with all answers before it."""

from collections.abc import Iterator
from typing import NamedTuple

from anneal_jax.acquisition.beliefs import Beliefs
from anneal_jax.annotation.questions import Known, Pair, Said
from anneal_jax.interview import Interview, ask_next, hear
from anneal_jax.types import Answer

MOST_AHEAD = 3
"""Questions that are looked up in advance, each as if the one before were answered by the likelier word."""


class BeliefQuestions(NamedTuple):
    """Asks as `supervision=belief_ask` does; a `QuestionSource`.

    Attributes:
      interview: the tiles and their graph.
    """

    interview: Interview

    def start(self) -> Beliefs:
        """Return what is believed before any answer."""
        return self.interview.start

    def absorb(self, state: Beliefs, said: Said) -> Beliefs:
        """Hear one more answer, asked by whomever."""
        chosen, pair = ask_next(self.interview, state)
        state = chosen if pair == (said.first, said.second) else state
        return hear(self.interview, state, said.first, said.second, said.answer)

    def propose(self, state: Beliefs, known: Known) -> tuple[Beliefs, Iterator[Pair]]:
        """Propose the next question, and those that follow a yes to each before."""
        state, pair = self._first_unknown(state, known)
        return state, iter(()) if pair is None else self._ahead(state, pair, known)

    def _first_unknown(self, state: Beliefs, known: Known) -> tuple[Beliefs, Pair | None]:
        """Hear whatever follows from other answers, until something is to be asked."""
        while True:
            state, pair = ask_next(self.interview, state)
            if pair is None or (label := known(*pair)) is None:
                return state, pair
            state = hear(self.interview, state, *pair, Answer(label))

    def _ahead(self, state: Beliefs, pair: Pair, known: Known) -> Iterator[Pair]:
        for _ in range(MOST_AHEAD):
            yield pair
            state = hear(self.interview, state, *pair, Answer.SIMILAR)
            state, following = self._first_unknown(state, known)
            if following is None:
                return
            pair = following
