"""Asks about groups by belief, the page's default: `belief_ask` with a person as the annotator."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from anneal_jax.acquisition.beliefs.choose_several import Interleaved
from anneal_jax.acquisition.beliefs.glances import Glance
from anneal_jax.acquisition.beliefs.learnt import is_due
from anneal_jax.acquisition.beliefs.seconds import GlanceSeconds
from anneal_jax.acquisition.beliefs.session import (
    BeliefSession,
    add_interleaved_answer,
    finish,
    keep_off,
    propose_glances,
    propose_several,
)
from anneal_jax.annotation.types import Known, Pair, Said


class BeliefQuestions(NamedTuple):
    """Asks about the tile whose group is most uncertain, group by group, starting from zero answers.

    A `QuestionSource`. Pairs proposed together are about different tiles, so each is a good question
    whatever the answers to the others. It learns from every answer that may be trained on; from audits and
    repeats it only learns not to ask about their pairs.

    Attributes:
      belief_session: the tiles, and the graph of their neighbours by the features before any training.
      mixes_first: whether to include, among the first questions, some that are likely answered "yes".
    """

    belief_session: BeliefSession
    mixes_first: bool = True

    def start(self) -> Interleaved:
        """Return the beliefs before any answer."""
        return Interleaved(self.belief_session.start, {})

    def add_answer(self, state: Interleaved, said: Said) -> Interleaved:
        """Learn from one more answer.

        The graph is only learnt after answers that may be trained on, as in `beliefs_along_page`.
        """
        if not said.is_trained:
            return keep_off(self.belief_session, state, said.first, said.second)
        return self.finish(self.take_answer(state, said))

    def take_answer(self, state: Interleaved, said: Said) -> Interleaved:
        """Learn from one more answer that may be trained on, but do not learn the graph yet."""
        return add_interleaved_answer(
            self.belief_session,
            state,
            said.first,
            said.second,
            said.answer,
            miss_rate=said.miss_rate,
            is_last=said.is_last,
            is_finished=False,
        )

    def finish(self, state: Interleaved) -> Interleaved:
        """Learn the graph again if that is due."""
        return finish(self.belief_session, state)

    def is_due(self, state: Interleaved) -> bool:
        """Return whether `finish` takes long."""
        return is_due(state.beliefs)

    def propose(self, state: Interleaved, known: Known) -> tuple[Interleaved, Iterator[Pair]]:
        """Propose pairs; the state depends on the answers alone and is not changed."""
        del known
        return state, propose_several(self.belief_session, state, mixes_first=self.mixes_first)

    def propose_glances(self, state: Interleaved, seconds: GlanceSeconds) -> Iterator[Glance]:
        """Propose pairs, choices and grids, each a good question whatever the answers to those before it.

        Args:
          state: after all answers.
          seconds: expected time of the person who answers.
        """
        return propose_glances(self.belief_session, state, seconds, mixes_first=self.mixes_first)

    def members(self, state: Interleaved, tile: int, *, beside: int, count: int) -> tuple[int, ...]:
        """Return further tiles of a settled tile's group, those most similar to another tile first.

        Args:
          state: after all answers.
          tile: a tile of the archive; one that is not settled has no group, and therefore no members.
          beside: the other tile.
          count: maximum number of tiles.
        """
        tiles, groups = self.belief_session.tiles, state.beliefs.groups
        places = np.searchsorted(tiles, (tile, beside))
        if not np.array_equal(tiles.take(places, mode="clip"), (tile, beside)) or groups[places[0]] < 0:
            return ()
        found = np.flatnonzero(groups == groups[places[0]])
        found = found[(found != places[0]) & (found != places[1])]
        features = self.belief_session.graph.features
        likeness = features[found] @ features[places[1]]
        return tuple(tiles[found[np.argsort(-likeness, kind="stable")[:count]]].tolist())
