"""The outcome of a run in memory, and the metrics of its rounds."""

import dataclasses

from anneal_jax.evaluation.retrieval_quality import Retrieval, evaluate_retrieval
from anneal_jax.experiments.dataset import Dataset
from anneal_jax.experiments.round_log import Row
from anneal_jax.training.learner import Model, centred


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of a finished run in memory; everything else is in its workdir.

    Attributes:
      dataset: the archive and its split.
      rows: one per round, as in `rounds.jsonl`.
      retrieval: the last round's five nearest tiles of each query.
      notes: sentences for the user, such as tiles left out, or why the run ended early.
      num_new_rounds: number of rounds that this call added; 0 if all existed.
    """

    dataset: Dataset
    rows: list[Row]
    retrieval: Retrieval
    notes: tuple[str, ...]
    num_new_rounds: int


def retrieve(dataset: Dataset, model: Model) -> Retrieval:
    """Search for every query with the embeddings of a model."""
    return evaluate_retrieval(model.embeddings, dataset.labels, dataset.split)


def measure(dataset: Dataset, model: Model) -> tuple[Retrieval, Row]:
    """Search for every query and measure the results, also those of the features alone."""
    found = retrieve(dataset, model)
    features = centred(model.features, dataset.split.train)
    by_features = evaluate_retrieval(features, dataset.labels, dataset.split)
    return found, {
        "mean_average_precision_at_5": found.mean_average_precision,
        "precision_at_5": found.precision,
        "mean_average_precision_at_5_features": by_features.mean_average_precision,
    }
