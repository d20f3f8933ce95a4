"""What a run leaves in memory, and the figures of its rounds."""

import dataclasses

from anneal_jax.evaluation.retrieval_quality import Retrieval, evaluate_retrieval
from anneal_jax.experiments.dataset import Problem
from anneal_jax.experiments.round_log import Row
from anneal_jax.training.learner import Model, centred


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run leaves in memory; everything else lies in its workdir.

    Attributes:
      problem: the archive and its split.
      rows: one per round, as in `rounds.jsonl`.
      retrieval: the last round's five nearest tiles of each query.
      notes: sentences for the user: tiles left out, why the run ended early.
      num_new_rounds: rounds that this call added; 0 where all were there.
    """

    problem: Problem
    rows: list[Row]
    retrieval: Retrieval
    notes: tuple[str, ...]
    num_new_rounds: int


def retrieve(problem: Problem, model: Model) -> Retrieval:
    """Answer the queries with the embeddings of a model."""
    return evaluate_retrieval(model.embeddings, problem.labels, problem.split)


def measure(problem: Problem, model: Model) -> tuple[Retrieval, Row]:
    """Answer the queries, and measure that, with what the features alone find beside it."""
    found = retrieve(problem, model)
    features = centred(model.features, problem.split.train)
    by_features = evaluate_retrieval(features, problem.labels, problem.split)
    return found, {
        "mean_average_precision_at_5": found.mean_average_precision,
        "precision_at_5": found.precision,
        "mean_average_precision_at_5_features": by_features.mean_average_precision,
    }
