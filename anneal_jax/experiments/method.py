"""What a system does in a round; `run` is the loop around it, and `registry` has every one by name."""

import pathlib
from typing import NamedTuple, Protocol

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.dataset import Dataset
from anneal_jax.experiments.round_log import RoundRow
from anneal_jax.training.learner import Learner, Model
from anneal_jax.types import Annotator, Params

ORACLE, ANNOTATOR = "oracle", "annotator"

ORACLE_ANSWERS_PER_COMMIT = 64
"""An oracle answers faster than a disk flushes, and can be asked again; a person cannot."""


class Setup(NamedTuple):
    """What a method works on.

    Attributes:
      config: the settings.
      dataset: the archive and its split.
      learner: of the configured regime.
      workdir: an existing folder.
      annotator: who answers.
      annotator_name: `oracle` or `annotator`, kept with each answer.
    """

    config: ExperimentConfig
    dataset: Dataset
    learner: Learner
    workdir: pathlib.Path
    annotator: Annotator
    annotator_name: str

    @property
    def log_path(self) -> pathlib.Path:
        """Where the rounds are logged."""
        return self.workdir / "rounds.jsonl"

    @property
    def answers_per_commit(self) -> int:
        """How many answers may be lost to a kill."""
        return ORACLE_ANSWERS_PER_COMMIT if self.annotator_name == ORACLE else 1


class Fitted(NamedTuple):
    """What a round has learnt.

    Attributes:
      params: the trained model, in the shape that the learner embeds with.
      row: the round's line of the log, as far as no measurement is needed.
      num_answers: how many answers it was trained on.
    """

    params: Params
    row: RoundRow
    num_answers: int = 0


class Method(Protocol):
    """How a system spends bits, and what it trains on. Rounds are numbered from 0.

    What a method asks, is answered and trains on follows from the settings and from what it has committed,
    so that a killed run ends as an unbroken one.

    Attributes:
      num_rounds: how many rounds there are at most.
      saves_every_round: whether a killed run resumes after its last round. Otherwise it starts again, and
        only the last round is saved.
      questions_per_round: of a round after the first, while as many are left; 0 if nobody is asked.
    """

    @property
    def num_rounds(self) -> int: ...
    @property
    def saves_every_round(self) -> bool: ...
    @property
    def questions_per_round(self) -> int: ...

    def ask(self, round_index: int, model: Model | None) -> str:
        """Commit the questions of a round, unless they are there already.

        Args:
          round_index: the round.
          model: of the round before; None in round 0.

        Returns:
          Empty, or the sentence that says why nothing is left to ask.

        Raises:
          ConfigError: there is nothing to ask in round 0.
        """
        ...

    def answer(self, round_index: int) -> None:
        """Commit an answer to each question of the round that has none."""
        ...

    def fit(self, round_index: int, previous: Params | None) -> Fitted:
        """Train on all that is known after a round.

        Args:
          round_index: the round; keys every draw.
          previous: parameters of the round before; None in round 0.

        Raises:
          ConfigError: the fit diverges.
        """
        ...

    def template(self) -> Params:
        """Return parameters of the right shapes, into which a checkpoint is restored."""
        ...
