"""The results of each query in a finished run, stored in a small file by tile name."""

import dataclasses
import json
import os
import pathlib

from anneal_jax.errors import WorkdirError
from anneal_jax.evaluation.retrieval_quality import Retrieval
from anneal_jax.experiments.dataset import Dataset
from anneal_jax.files import atomic


@dataclasses.dataclass(frozen=True)
class QueryResults:
    """The nearest tiles of each query.

    Attributes:
      query_ids: names of the Q queries.
      neighbour_ids: names of K tiles for each query, nearest first.
      relevant: whether each of these tiles has the query's class.
      num_relevant: R of each query, number of tiles of its class among those searched.
    """

    query_ids: list[str]
    neighbour_ids: list[list[str]]
    relevant: list[list[bool]]
    num_relevant: list[int]


def name_results(dataset: Dataset, retrieval: Retrieval) -> QueryResults:
    """Return a retrieval with tiles by name, so that it can be read without its archive."""
    ids = dataset.archive.ids
    return QueryResults(
        [ids[int(index)] for index in dataset.split.query],
        [[ids[int(index)] for index in row] for row in retrieval.neighbours],
        retrieval.relevant.tolist(),
        retrieval.num_relevant.tolist(),
    )


def write_results(path: str | os.PathLike[str], results: QueryResults) -> None:
    """Write results as JSON, atomically."""
    atomic.write_text(path, json.dumps(dataclasses.asdict(results)) + "\n")


def read_results(path: str | os.PathLike[str]) -> QueryResults:
    """Read what `write_results` wrote.

    Raises:
      WorkdirError: the file is missing, incomplete or malformed.
    """
    try:
        results = QueryResults(**json.loads(pathlib.Path(path).read_text(encoding="utf-8")))
        sizes = {len(values) for values in dataclasses.astuple(results)}
        if len(sizes) != 1:
            raise ValueError("its lists differ in length")
        return results
    except (OSError, ValueError, RecursionError, TypeError) as error:
        raise WorkdirError(f"cannot read {path} ({error}); remove it to have it written again.") from error
