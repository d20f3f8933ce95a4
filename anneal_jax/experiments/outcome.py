"""What a run leaves in memory, and the figures of its rounds."""

import dataclasses

from anneal_jax.evaluation.retrieval_quality import Retrieval, evaluate_retrieval
from anneal_jax.experiments.dataset import Dataset
from anneal_jax.experiments.round_log import Row
from anneal_jax.training.learner import Model, centred


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run leaves in memory; everything else lies in its workdir.

    Attributes:
      dataset: the archive and its split.
      rows: one per round, as in `rounds.jsonl`.
      retrieval: the last round's five nearest tiles of each query.
      notes: sentences for the user: tiles left out, why the run ended early.
      num_new_rounds: rounds that this call added; 0 where all were there.
    """

    dataset: Dataset
    rows: list[Row]
    retrieval: Retrieval
    notes: tuple[str, ...]
    num_new_rounds: int


def retrieve(dataset: Dataset, model: Model) -> Retrieval:
    """Answer the queries with the embeddings of a model."""
    return evaluate_retrieval(model.embeddings, dataset.labels, dataset.split)


def measure(dataset: Dataset, model: Model) -> tuple[Retrieval, Row]:
    """Answer the queries, and measure that, with what the features alone find beside it."""
    found = retrieve(dataset, model)
    features = centred(model.features, dataset.split.train)
    by_features = evaluate_retrieval(features, dataset.labels, dataset.split)
    return found, {
        "mean_average_precision_at_5": found.mean_average_precision,
        "precision_at_5": found.precision,
        "mean_average_precision_at_5_features": by_features.mean_average_precision,
    }
