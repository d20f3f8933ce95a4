"""The protocol of a method: what a system does in a round; `run` has the loop, `registry` the methods."""

import pathlib
from typing import NamedTuple, Protocol

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.dataset import Dataset
from anneal_jax.experiments.round_log import RoundRow
from anneal_jax.training.learner import Learner, Model
from anneal_jax.types import Annotator, Params

ORACLE, ANNOTATOR = "oracle", "annotator"

ORACLE_ANSWERS_PER_COMMIT = 64
"""Questions per commit of an oracle, which answers faster than a disk flushes and can be asked again; a
person cannot."""


class Setup(NamedTuple):
    """The inputs of a method.

    Attributes:
      config: the settings.
      dataset: the archive and its split.
      learner: learner of the configured regime.
      workdir: an existing folder.
      annotator: answers the questions.
      annotator_name: `oracle` or `annotator`, stored with each answer.
    """

    config: ExperimentConfig
    dataset: Dataset
    learner: Learner
    workdir: pathlib.Path
    annotator: Annotator
    annotator_name: str

    @property
    def log_path(self) -> pathlib.Path:
        """The log of rounds."""
        return self.workdir / "rounds.jsonl"

    @property
    def answers_per_commit(self) -> int:
        """Maximum number of answered questions that a kill may lose."""
        return ORACLE_ANSWERS_PER_COMMIT if self.annotator_name == ORACLE else 1


class Fitted(NamedTuple):
    """The result of training in a round.

    Attributes:
      params: the trained model, in the shape that the learner embeds with.
      row: the round's row of the log, without measurements.
      num_answers: number of answers trained on.
    """

    params: Params
    row: RoundRow
    num_answers: int = 0


class Method(Protocol):
    """Defines how a system spends bits and what it trains on. Rounds are numbered from 0.

    The questions, answers and training of a method follow from the settings and from what it has committed,
    so that a killed run ends like an uninterrupted one.

    Attributes:
      num_rounds: maximum number of rounds.
      saves_every_round: whether a killed run resumes after its last round. Otherwise it starts again, and
        only the last round is saved.
      questions_per_round: questions of each round after the first, while enough are left; 0 if nobody is
        asked.
    """

    @property
    def num_rounds(self) -> int: ...
    @property
    def saves_every_round(self) -> bool: ...
    @property
    def questions_per_round(self) -> int: ...

    def ask(self, round_index: int, model: Model | None) -> str:
        """Commit the questions of a round, unless they are already committed.

        Args:
          round_index: the round.
          model: model of the previous round; None in round 0.

        Returns:
          Empty, or a sentence that says why no questions are left.

        Raises:
          ConfigError: there are no questions in round 0.
        """
        ...

    def answer(self, round_index: int) -> None:
        """Commit an answer to each unanswered question of the round."""
        ...

    def fit(self, round_index: int, previous: Params | None) -> Fitted:
        """Train on everything known after a round.

        Args:
          round_index: the round; key of every random draw.
          previous: parameters of the previous round; None in round 0.

        Raises:
          ConfigError: the fit diverges.
        """
        ...

    def template(self) -> Params:
        """Return parameters with the right shapes for restoring a checkpoint."""
        ...
