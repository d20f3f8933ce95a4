"""`belief_ask` in rounds: questions about groups, each chosen with all answers before it."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import (
    BeliefSession,
    add_answer,
    ask_next,
    beliefs_of_page,
    replay,
)
from anneal_jax.acquisition.beliefs.state import Beliefs, begin, settled_groups
from anneal_jax.answers.reading import Answered
from anneal_jax.answers.writing import Given
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.dataset import Dataset
from anneal_jax.experiments.method import Fitted, Method, Setup
from anneal_jax.experiments.pair_rounds import AskedRounds, in_batches, nothing_to_ask, opened_store
from anneal_jax.experiments.selection import draw_first_pairs
from anneal_jax.pairs.canonical import keys_within, pairs_of_keys
from anneal_jax.seeds import Use, host_rng
from anneal_jax.training.learner import Learner, Model, standardise
from anneal_jax.types import IntArray, Params

MIN_BELIEF = 0.6
"""Belief in its group from which on a tile is trained on."""

GROUP_SIZE_POWER = 0.5
"""Groups are drawn in proportion to this power of their size, so that small ones count, too."""


class TrainingGroups(NamedTuple):
    """Tiles to train on.

    Attributes:
      images: int32[M], indices into the archive.
      groups: int32[M], the group of each.
      weights: float64[M], how often each is drawn, relative to the others.
    """

    images: IntArray
    groups: IntArray
    weights: npt.NDArray[np.float64]


@contextmanager
def open_belief_rounds(setup: Setup) -> Iterator[Method]:
    """Open the answers of a run, and lay out the tiles to ask about.

    Raises:
      AnnealError: as `opened_store`.
    """
    with opened_store(setup) as store:
        session = open_belief_session(setup.config, setup.dataset, setup.learner)
        yield BeliefRounds(setup, store, session, session.start)


@dataclasses.dataclass
class BeliefRounds(AskedRounds):
    """A `Method`: as many questions a round as `PairRounds` would ask, chosen one after another.

    Attributes:
      session: what questions are chosen from.
      beliefs: what follows from the first `num_added` answers of the store, kept since the next question
        follows from it; whenever the store has another number of them, they are replayed.
      num_added: how many.
    """

    session: BeliefSession
    beliefs: Beliefs
    num_added: int = 0

    def ask(self, round_index: int, model: Model | None) -> str:
        """Commit an empty round: its questions are chosen as they are answered."""
        del model
        if self.store.facts(round_index) is not None:
            return ""
        if round_index == 0 and ask_next(self.session, self.session.start)[1] is None:
            raise nothing_to_ask(self.setup.dataset)
        last = round_index - 1
        if round_index and len(self.store.answered(last).answers) < self._num_questions(last):
            return f"No question was left after round {last}: no tile's group is in doubt any more."
        self.store.add_round(round_index, np.empty((0, 2), np.int32), facts={"select_s": 0.0})
        return ""

    def answer(self, round_index: int) -> None:
        """Ask the round's questions one by one, each chosen with all answers before it."""
        self._catch_up(self.store.answered(round_index))
        given = self._converse(range(self._num_questions(round_index) - self.num_added), round_index)
        for batch in in_batches(given, self.setup.answers_per_commit):
            self.store.give(batch)

    def fit(self, round_index: int, previous: Params | None) -> Fitted:
        """Train on the groups that are believed in."""
        del previous
        self._catch_up(self.store.answered(round_index))
        learner, use = self.setup.learner, f"round {round_index}: train"
        params = fit_beliefs(self.session, self.beliefs, learner, round_index, use=use)
        return self.fitted(params, round_index, self.knowledge(round_index))

    def template(self) -> Params:
        """Return heads whose embeddings hold the features, too, in the frozen regime."""
        return self.setup.learner.beside_features(self.setup.learner.template(), 0.0)

    def _converse(self, questions: range, round_index: int) -> Iterator[Given]:
        for _ in tqdm(questions, f"round {round_index}: answers", leave=False, disable=None):
            beliefs, pair = ask_next(self.session, self.beliefs)
            if pair is None:
                return
            answer = self.setup.annotator(*pair)
            self.beliefs = add_answer(self.session, beliefs, *pair, answer)
            self.num_added += 1
            yield Given(*pair, answer, self.setup.annotator_name, kind="training")

    def _catch_up(self, answered: Answered) -> None:
        if self.num_added != len(answered.answers):
            self.beliefs = replay(self.session, answered)
            self.num_added = len(answered.answers)

    def _num_questions(self, round_index: int) -> int:
        """Return how many questions are put up to the end of a round: as many as pairs would cost."""
        first = len(draw_first_pairs(self.setup.config, self.setup.dataset))
        return first + round_index * self.questions_per_round


def open_belief_session(config: ExperimentConfig, dataset: Dataset, learner: Learner) -> BeliefSession:
    """Lay out the tiles to ask about; byte-identical ones are never compared."""
    tiles = dataset.split.train
    if len(tiles) > config.belief_tiles:
        rng = host_rng(config.seed, 0, Use.INITIAL_PAIRS)
        tiles = np.sort(rng.choice(tiles, config.belief_tiles, replace=False))
    features = learner.features(None)[tiles]
    graph = neighbour_graph(standardise(features, learner.mean, learner.scale))
    asked = keys_within(tiles, pairs_of_keys(dataset.identical, len(dataset.labels)))
    return BeliefSession(tiles, graph, begin(graph)._replace(asked=asked))


def fit_answers(
    config: ExperimentConfig, dataset: Dataset, learner: Learner, answered: Answered, round_index: int
) -> tuple[Params, float]:
    """Train on the groups that answers tell of, by whatever rule their questions were chosen.

    Args:
      config: the settings.
      dataset: the archive.
      learner: of the configured regime.
      answered: the answers that stand, in the order given.
      round_index: keys every draw.

    Returns:
      (params, doubt): the model, and the mean doubt about a tile's group, in [0, 1], behind it.
    """
    session = open_belief_session(config, dataset, learner)
    beliefs = beliefs_of_page(session, answered)
    params = fit_beliefs(session, beliefs, learner, round_index, use="train on the answers")
    return params, mean_doubt(session, beliefs)


def fit_beliefs(
    session: BeliefSession, beliefs: Beliefs, learner: Learner, round_index: int, *, use: str
) -> Params:
    """Train on what is believed; `round_index` keys every draw, `use` is named in errors.

    Where features are frozen, they keep as large a share of an embedding as there is doubt: while little is
    known, what was learnt from it is worse than they are.
    """
    images, groups, weights = training_groups(session, beliefs)
    params = learner.fit_classes(images, groups, round_index, weights=weights, use=use)
    return learner.beside_features(params, mean_doubt(session, beliefs))


def mean_doubt(session: BeliefSession, beliefs: Beliefs) -> float:
    """Return the mean over the tiles of 1 - the belief in their likeliest group, in [0, 1]."""
    _, belief = settled_groups(session.graph_of(beliefs), beliefs)
    return float(1 - np.mean(belief, dtype=np.float64))


def training_groups(session: BeliefSession, beliefs: Beliefs) -> TrainingGroups:
    """Return the tiles whose group is sure enough to train on, asked about or not.

    A tile weighs its squared belief, over the root of the sum of these in its group.
    """
    groups, belief = settled_groups(session.graph_of(beliefs), beliefs)
    kept = np.flatnonzero(belief >= MIN_BELIEF)
    if not kept.size:  # before anything is sure: the tiles that were asked about
        kept = np.flatnonzero(beliefs.groups >= 0)
    squares = np.maximum(belief[kept].astype(np.float64), 1e-3) ** 2
    sizes = np.bincount(groups[kept], weights=squares)[groups[kept]]
    return TrainingGroups(session.tiles[kept], groups[kept], squares / sizes ** (1 - GROUP_SIZE_POWER))
