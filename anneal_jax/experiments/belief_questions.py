"""What `belief_ask` asks in a run, each question chosen from all answers: pairs alone, or the page's mix.

The beliefs are a function of the answers in order: after a kill they are replayed from the answer store.
"""

import dataclasses
import secrets
from typing import Protocol

from anneal_jax.acquisition.beliefs.choose_several import Interleaved
from anneal_jax.acquisition.beliefs.glance_oracle import GlanceOracle
from anneal_jax.acquisition.beliefs.glances import MISS_RATE, Glance
from anneal_jax.acquisition.beliefs.session import (
    BeliefSession,
    add_answer,
    add_interleaved_answer,
    ask_next,
    propose_glances,
    replay,
    state_of_page,
)
from anneal_jax.acquisition.beliefs.state import Beliefs
from anneal_jax.answers import writing
from anneal_jax.answers.glances import AnsweredGlance
from anneal_jax.answers.reading import Answered
from anneal_jax.answers.writing import Given
from anneal_jax.experiments.method import ORACLE, Setup


class BeliefQuestions(Protocol):
    """Chooses questions one at a time, and learns from their answers."""

    @property
    def beliefs(self) -> Beliefs:
        """The beliefs after all answers so far."""
        ...

    def is_done(self) -> bool:
        """Return whether nothing is left to ask."""
        ...

    def ask(self) -> list[Given]:
        """Ask the next question and learn from it; return its answers to store, none if nothing is left."""
        ...

    def replay(self, answered: Answered) -> None:
        """Set the beliefs to those after answers of the store."""
        ...


@dataclasses.dataclass
class PairQuestions:
    """`BeliefQuestions` about pairs alone, each about one tile until it is settled.

    Attributes:
      setup: setup of the run.
      session: the tiles from which questions are chosen.
      beliefs: after all answers so far.
    """

    setup: Setup
    session: BeliefSession
    beliefs: Beliefs

    def is_done(self) -> bool:
        """See `BeliefQuestions`."""
        return ask_next(self.session, self.beliefs)[1] is None

    def ask(self) -> list[Given]:
        """See `BeliefQuestions`."""
        beliefs, pair = ask_next(self.session, self.beliefs)
        if pair is None:
            return []
        answer = self.setup.annotator(*pair)
        self.beliefs = add_answer(self.session, beliefs, *pair, answer)
        return [Given(*pair, answer, self.setup.annotator_name, kind="training")]

    def replay(self, answered: Answered) -> None:
        """See `BeliefQuestions`."""
        self.beliefs = replay(self.session, answered)


@dataclasses.dataclass
class MixedQuestions:
    """`BeliefQuestions` by pairs, choices and grids, whichever is expected to gain most per second.

    They are stored and learnt from as on the page, and a `GlanceOracle` looks at them. An annotator who is
    not simulated overlooks nothing.

    Attributes:
      setup: setup of the run.
      session: the tiles from which questions are chosen.
      state: after all answers so far.
    """

    setup: Setup
    session: BeliefSession
    state: Interleaved

    @property
    def beliefs(self) -> Beliefs:
        """See `BeliefQuestions`."""
        return self.state.beliefs

    def is_done(self) -> bool:
        """See `BeliefQuestions`."""
        return self._next() is None

    def ask(self) -> list[Given]:
        """See `BeliefQuestions`."""
        glance = self._next()
        if glance is None:
            return []
        given = self._answers(glance)
        for one in given:
            first, second = sorted((one.first, one.second))  # the order in which they are replayed
            self.state = add_interleaved_answer(
                self.session,
                self.state,
                first,
                second,
                one.answer,
                miss_rate=MISS_RATE if one.glance and one.glance.is_weak(one.answer) else 0.0,
                is_last=one.glance is None or one.glance.is_last(first, second),
            )
        return given

    def replay(self, answered: Answered) -> None:
        """See `BeliefQuestions`."""
        self.state = state_of_page(self.session, answered)

    def _next(self) -> Glance | None:
        return next(propose_glances(self.session, self.state), None)

    def _answers(self, glance: Glance) -> list[Given]:
        kind, subject, others, _ = glance
        name = self.setup.annotator_name
        if kind == "pair":
            first, second = sorted((subject, others[0]))
            return [Given(first, second, self.setup.annotator(first, second), name, kind="training")]
        tiles, is_unsure = self._oracle.look(glance)
        picked = tuple(place for place, other in enumerate(others) if other in tiles)
        key = secrets.token_hex(16)
        answered = AnsweredGlance(key, kind, subject, others, None if is_unsure else picked)
        return writing.answers_of(answered, name, "training", {})

    @property
    def _oracle(self) -> GlanceOracle:
        setup, miss_rate = self.setup, MISS_RATE if self.setup.annotator_name == ORACLE else 0.0
        return GlanceOracle(setup.annotator, len(setup.dataset.labels), setup.config.seed, miss_rate)
