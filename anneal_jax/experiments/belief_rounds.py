"""`belief_ask` in rounds: questions about groups, each chosen from all previous answers."""

import dataclasses
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from anneal_jax.acquisition.beliefs.choose_several import Interleaved
from anneal_jax.acquisition.beliefs.judging import num_moved
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import BeliefSession, beliefs_along_page
from anneal_jax.acquisition.beliefs.state import Beliefs, begin, settled_groups
from anneal_jax.answers.reading import Answered
from anneal_jax.answers.writing import Given
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.belief_questions import BeliefQuestions, MixedQuestions, PairQuestions
from anneal_jax.experiments.dataset import Dataset
from anneal_jax.experiments.method import Fitted, Method, Setup
from anneal_jax.experiments.pair_rounds import AskedRounds, in_batches, nothing_to_ask, opened_store
from anneal_jax.experiments.selection import draw_first_pairs
from anneal_jax.pairs.canonical import keys_within, pairs_of_keys
from anneal_jax.seeds import Use, host_rng
from anneal_jax.training.learner import Learner, Model, standardise
from anneal_jax.types import IntArray, Params

MIN_BELIEF = 0.6
"""Minimum belief in its group for a tile to be trained on."""

GROUP_SIZE_POWER = 0.5
"""Groups are drawn in proportion to this power of their size, so that small groups count too."""


RECENT = 50
"""Last answers of which the page counts how many tiles they moved to another group."""


class Outlook(NamedTuple):
    """What the answers so far say about those to come.

    Attributes:
      doubt: mean over the tiles of 1 - the belief in their likeliest group, in [0, 1].
      num_moved: number of tiles that the last `RECENT` answers moved to another group; None with fewer.
      num_tiles: number of tiles.
    """

    doubt: float
    num_moved: int | None
    num_tiles: int


class TrainingGroups(NamedTuple):
    """Tiles to train on.

    Attributes:
      images: int32[M], indices into the archive.
      groups: int32[M], group of each image.
      weights: float64[M], relative frequency with which each image is drawn.
    """

    images: IntArray
    groups: IntArray
    weights: npt.NDArray[np.float64]


@contextmanager
def open_belief_rounds(setup: Setup) -> Iterator[Method]:
    """Open the answers of a run, and prepare the tiles to ask about.

    Raises:
      AnnealError: as `opened_store`.
    """
    with opened_store(setup) as store:
        session = open_belief_session(setup.config, setup.dataset, setup.learner)
        questions: BeliefQuestions = PairQuestions(setup, session, session.start)
        if setup.config.questions == "mixed":
            questions = MixedQuestions(setup, session, Interleaved(session.start, {}))
        yield BeliefRounds(setup, store, session, questions)


@dataclasses.dataclass
class BeliefRounds(AskedRounds):
    """A `Method`: as many answers per round as `PairRounds`, to questions chosen one at a time.

    A choice or a grid is answered and committed as a whole, so a round of mixed questions ends with the
    first question at or after its number of answers.

    Attributes:
      session: the tiles from which questions are chosen.
      questions: chooses them, after the first `num_added` answers of the store; if the store has a
        different number of answers, they are replayed.
      num_added: number of answers that `questions` has learnt from.
    """

    session: BeliefSession
    questions: BeliefQuestions
    num_added: int = 0

    def ask(self, round_index: int, model: Model | None) -> str:
        """Commit an empty round; its questions are chosen while answering."""
        del model
        if self.store.facts(round_index) is not None:
            return ""
        if round_index == 0 and self.questions.is_done():
            raise nothing_to_ask(self.setup.dataset)
        last = round_index - 1
        if round_index and self._num_left(last, self.store.answered(last)) > 0:
            return f"No question was left after round {last}: every tile's group is certain."
        self.store.add_round(round_index, np.empty((0, 2), np.int32), facts={"select_s": 0.0})
        return ""

    def answer(self, round_index: int) -> None:
        """Ask the round's questions one by one, each chosen from all previous answers."""
        answered = self.store.answered(round_index)
        self._catch_up(answered)
        asked = self._converse(self._num_left(round_index, answered), round_index)
        for batch in in_batches(asked, self.setup.answers_per_commit):
            self.store.give(list(itertools.chain(*batch)))

    def fit(self, round_index: int, previous: Params | None) -> Fitted:
        """Train on the groups that are sufficiently certain."""
        del previous
        self._catch_up(self.store.answered(round_index))
        learner, use = self.setup.learner, f"round {round_index}: train"
        params = fit_beliefs(self.session, self.questions.beliefs, learner, round_index, use=use)
        return self.fitted(params, round_index, self.knowledge(round_index))

    def template(self) -> Params:
        """Return heads whose embeddings include the features in the frozen regime."""
        return self.setup.learner.beside_features(self.setup.learner.template(), 0.0)

    def _converse(self, num_left: int, round_index: int) -> Iterator[list[Given]]:
        """Yield the answers of each question until there are at least `num_left`, or nothing is left."""
        text = f"round {round_index}: answers"
        with tqdm(total=num_left, desc=text, leave=False, disable=None) as bar:
            while num_left > 0 and (given := self.questions.ask()):
                self.num_added += len(given)
                num_left -= len(given)
                bar.update(len(given))
                yield given

    def _catch_up(self, answered: Answered) -> None:
        if self.num_added != len(answered.answers):
            self.questions.replay(answered)
            self.num_added = len(answered.answers)

    def _num_left(self, round_index: int, answered: Answered) -> int:
        """Return the number of answers that a round lacks, of as many as for pairs."""
        first = len(draw_first_pairs(self.setup.config, self.setup.dataset))
        wanted = self.questions_per_round if round_index else first
        return wanted - int(np.count_nonzero(answered.round_indices == round_index))


def open_belief_session(config: ExperimentConfig, dataset: Dataset, learner: Learner) -> BeliefSession:
    """Prepare the tiles to ask about; byte-identical tiles are never compared."""
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
) -> tuple[Params, Outlook]:
    """Train on the groups that answers imply, whatever rule chose the questions.

    Args:
      config: the settings.
      dataset: the archive.
      learner: learner of the configured regime.
      answered: the standing answers, in the order given.
      round_index: key of every random draw.

    Returns:
      (params, outlook): the model, and what may be expected of more answers.
    """
    session = open_belief_session(config, dataset, learner)
    before, beliefs = beliefs_recently(session, answered)
    params = fit_beliefs(session, beliefs, learner, round_index, use="train on the answers")
    return params, outlook(session, before, beliefs)


def beliefs_recently(session: BeliefSession, answered: Answered) -> tuple[Beliefs | None, Beliefs]:
    """Return what a page believed `RECENT` answers ago, None with fewer, and what it believes now."""
    recently, beliefs = len(answered.answers) - RECENT, session.start
    before: Beliefs | None = None
    for count, beliefs in enumerate(beliefs_along_page(session, answered)):
        before = beliefs if count == recently else before
    return before, beliefs


def outlook(session: BeliefSession, before: Beliefs | None, beliefs: Beliefs) -> Outlook:
    """Compare what is believed with what was believed `RECENT` answers before, if there were so many."""
    num_tiles, doubt = len(session.tiles), mean_doubt(session, beliefs)
    if before is None:
        return Outlook(doubt, None, num_tiles)
    (was, _), (now, _) = (settled_groups(session.graph_of(one), one) for one in (before, beliefs))
    return Outlook(doubt, num_moved(was, now), num_tiles)


def fit_beliefs(
    session: BeliefSession, beliefs: Beliefs, learner: Learner, round_index: int, *, use: str
) -> Params:
    """Train on the beliefs; `round_index` keys every draw, and errors mention `use`.

    If features are frozen, their share of an embedding equals the doubt: while little is known, the learnt
    embedding is worse than the features.
    """
    images, groups, weights = training_groups(session, beliefs)
    params = learner.fit_classes(images, groups, round_index, weights=weights, use=use)
    return learner.beside_features(params, mean_doubt(session, beliefs))


def mean_doubt(session: BeliefSession, beliefs: Beliefs) -> float:
    """Return the mean over the tiles of 1 - the belief in their most likely group, in [0, 1]."""
    _, belief = settled_groups(session.graph_of(beliefs), beliefs)
    return float(1 - np.mean(belief, dtype=np.float64))


def training_groups(session: BeliefSession, beliefs: Beliefs) -> TrainingGroups:
    """Return the tiles whose group is certain enough to train on, asked about or not.

    The weight of a tile is its squared belief, divided by the root of the sum of these in its group.
    """
    groups, belief = settled_groups(session.graph_of(beliefs), beliefs)
    kept = np.flatnonzero(belief >= MIN_BELIEF)
    if not kept.size:  # before anything is certain, use the tiles that were asked about
        kept = np.flatnonzero(beliefs.groups >= 0)
    squares = np.maximum(belief[kept].astype(np.float64), 1e-3) ** 2
    sizes = np.bincount(groups[kept], weights=squares)[groups[kept]]
    return TrainingGroups(session.tiles[kept], groups[kept], squares / sizes ** (1 - GROUP_SIZE_POWER))
