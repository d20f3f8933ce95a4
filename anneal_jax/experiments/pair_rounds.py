"""Active learning on pairs, in rounds: an acquisition chooses, and training uses all implied pairs."""

import dataclasses
import itertools
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import TypeVar

import numpy as np
from tqdm import tqdm

from anneal_jax.acquisition.beliefs.seconds import GlanceSeconds
from anneal_jax.acquisition.registry import get_acquisition
from anneal_jax.answers.store import AnswerStore
from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError, WorkdirError
from anneal_jax.experiments.dataset import Dataset
from anneal_jax.experiments.method import Fitted, Method, Setup
from anneal_jax.experiments.round_log import RoundRow, read_rounds
from anneal_jax.experiments.selection import (
    Knowledge,
    SelectedPairs,
    draw_first_pairs,
    fit_known,
    gather_knowledge,
    questions_per_round,
    score_first_answers,
    select_questions,
    with_features,
)
from anneal_jax.training.learner import Model
from anneal_jax.types import Answer, Params

_Item = TypeVar("_Item")


@contextmanager
def open_pair_rounds(setup: Setup) -> Iterator[Method]:
    """Open the answers of a run.

    Raises:
      AnnealError: as `opened_store`.
    """
    with opened_store(setup) as store:
        yield PairRounds(setup, store)


@contextmanager
def opened_store(setup: Setup) -> Iterator[AnswerStore]:
    """Open the answers of a run, and close them at the end.

    Raises:
      StoreError: the file is damaged, or belongs to another archive.
      WorkdirError: the log has a round that is not among the answers.
    """
    last_round = len(read_rounds(setup.log_path)) - 1
    with closing(AnswerStore(setup.workdir / "answers.sqlite", setup.dataset.archive.ids)) as store:
        if last_round >= 0 and store.facts(last_round) is None:
            raise WorkdirError(
                f"{setup.log_path} contains round {last_round}, but the answer store next to it does not: "
                "it was emptied or replaced. Restore answers.sqlite, or start in a new workdir."
            )
        yield store


@dataclasses.dataclass
class AskedRounds:
    """Base of the methods that ask an oracle or a person.

    Attributes:
      setup: setup of the run.
      store: its answers, from which everything else follows.
    """

    setup: Setup
    store: AnswerStore

    saves_every_round = True

    @property
    def num_rounds(self) -> int:
        """The first set of questions, plus the rounds in the settings."""
        return self.setup.config.rounds + 1

    @property
    def questions_per_round(self) -> int:
        """The number k in the settings."""
        return questions_per_round(self.setup.config, self.setup.dataset)

    def knowledge(self, round_index: int) -> Knowledge:
        """Return what is known after a round, without audits, whose pairs are never asked."""
        return gather_knowledge(
            self.store.answered(round_index),
            self.setup.dataset,
            transitive=self.setup.config.transitive,
            reserved=self.store.audited_pairs(),
        )

    def fitted(self, params: Params, round_index: int, knowledge: Knowledge) -> Fitted:
        """Return a trained model with the row of its round."""
        answered = self.store.answered(round_index)
        is_usable = (answered.round_indices == round_index) & (answered.answers != Answer.UNSURE)
        usable = answered.answers[is_usable]
        before, now = (self._seconds(last_round) for last_round in (round_index - 1, round_index))
        row = RoundRow(
            round_index=round_index,
            bits_spent=round(self.store.tally(round_index).bits_spent),
            seconds_spent=now,
            answer_s=round(now - before, 3),
            num_labelled_pairs=len(knowledge.labelled.labels),
            num_derived_pairs=len(knowledge.derived.pair_labels),
            num_contradictory_pairs=knowledge.derived.num_contradictory,
            yes_share=float(np.mean(usable == Answer.SIMILAR)) if usable.size else None,
            **(self.store.facts(round_index) or {}),
        )
        return Fitted(params, row, len(answered.answers))

    def _seconds(self, last_round: int) -> float:
        """Return the seconds that an average person takes for the answers of the rounds so far."""
        return round(GlanceSeconds().of_looks(self.store.looks(last_round)), 3)


class PairRounds(AskedRounds):
    """A `Method`: an acquisition chooses k pairs per round; training uses all that the answers imply."""

    def ask(self, round_index: int, model: Model | None) -> str:
        """Commit the round's pairs, chosen by the model of the previous round."""
        if self.store.facts(round_index) is not None:
            return ""
        start = time.perf_counter()
        selected = self._select(round_index, model)
        if not len(selected.pair_indices):
            if model is None:
                raise nothing_to_ask(self.setup.dataset)
            return (
                f"The pool was empty after round {round_index - 1}: every pair of training tiles is "
                "answered, or follows from answers."
            )
        facts = {**selected.facts, "select_s": time.perf_counter() - start}
        self.store.add_round(
            round_index, selected.pair_indices, similarities=selected.similarities, facts=facts
        )
        return ""

    def answer(self, round_index: int) -> None:
        """Get an answer to every open question of the round; a person's answer is on disk immediately."""
        questions = self.store.unanswered(round_index)
        answers = (
            (question.question_id, self.setup.annotator(question.first, question.second))
            for question in tqdm(questions, f"round {round_index}: answers", leave=False, disable=None)
        )
        for batch in in_batches(answers, self.setup.answers_per_commit):
            self.store.record_all(batch, annotator=self.setup.annotator_name)

    def fit(self, round_index: int, previous: Params | None) -> Fitted:
        """Train on the answered pairs and those that they imply."""
        knowledge, use = self.knowledge(round_index), f"round {round_index}: train"
        config, learner = self.setup.config, self.setup.learner
        params = fit_known(config, learner, knowledge.training_pairs, round_index, previous, use=use)
        return self.fitted(params, round_index, knowledge)

    def template(self) -> Params:
        """Return the learner's parameters for pairs."""
        learner = self.setup.learner
        return with_features(self.setup.config, learner, learner.template())

    def _select(self, round_index: int, model: Model | None) -> SelectedPairs:
        config, dataset, learner = self.setup.config, self.setup.dataset, self.setup.learner
        if model is None:
            return SelectedPairs(draw_first_pairs(config, dataset), None, {})
        last = round_index - 1
        answered = self.store.answered(last)
        if get_acquisition(config.acquisition).needs_threshold and config.threshold == "prequential":
            answered = score_first_answers(config, learner, self.store, answered, len(dataset.labels))
        return select_questions(
            config,
            dataset,
            learner,
            answered,
            self.knowledge(last),
            model,
            round_index,
            last_threshold=(self.store.facts(last) or {}).get("threshold"),
        )


def trains_classifier(config: ExperimentConfig) -> bool:
    """Return whether the pair classifier is trained too."""
    is_wanted = config.train_classifier == "always" or get_acquisition(config.acquisition).needs_classifier
    return config.supervision == "pairs" and is_wanted


def nothing_to_ask(dataset: Dataset) -> ConfigError:
    """Return the error for an archive without any pair to ask."""
    return ConfigError(
        f"the {len(dataset.split.train)} training tiles contain no pair to ask; raise train_fraction, "
        "or give an archive with more different tiles."
    )


def in_batches(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """Yield up to `size` items at a time; the next item is only taken after the last batch was used."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch
