"""Retrieval quality of one round: how well the archive answers the queries."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.splits import Split
from anneal_jax.evaluation.metrics import (
    count_relevant,
    mean_average_precision_at_k,
    mean_over_queries,
    precision_at_k,
    rank_archive,
    relevance,
)
from anneal_jax.types import FloatArray, IntArray

CUT_OFF = 5
"""K of every metric, as in the papers."""

DENOMINATOR = "min(k,R)"
"""The divisor of average precision here; mAP@5 has no single definition."""


class Retrieval(NamedTuple):
    """The five nearest tiles of each query.

    Attributes:
      neighbours: int32[Q, K], indices into the archive, nearest first.
      relevant: bool[Q, K], whether each has the query's class.
      num_relevant: int64[Q], R, number of tiles of each query's class in the searched part. A query with
        none is left out of the metrics.
      mean_average_precision: mAP@5 with denominator min(k, R).
      precision: precision@5.
      vectors: float32[N, D], the vectors that were compared.
    """

    neighbours: IntArray
    relevant: npt.NDArray[np.bool_]
    num_relevant: npt.NDArray[np.int64]
    mean_average_precision: float
    precision: float
    vectors: FloatArray


def evaluate_retrieval(vectors: FloatArray, labels: IntArray, split: Split) -> Retrieval:
    """Search the held-out archive with every query, by cosine.

    Args:
      vectors: float32[N, D], embeddings or centred features of every tile.
      labels: int32[N], classes, which decide whether a neighbour is right.
      split: query and searched images; training images are not used.

    Raises:
      ArchiveError: no query has a tile of its class in the searched part.
    """
    cut_off = min(CUT_OFF, len(split.archive))
    ranking = rank_archive(vectors[split.query], vectors[split.archive], cut_off)
    query_labels, archive_labels = labels[split.query], labels[split.archive]
    relevant = relevance(query_labels, archive_labels, ranking)
    num_relevant = count_relevant(query_labels, archive_labels)
    return Retrieval(
        split.archive[ranking],
        relevant,
        num_relevant,
        mean_average_precision_at_k(relevant, num_relevant, denominator=DENOMINATOR),
        mean_over_queries(precision_at_k(relevant, num_relevant)),
        vectors,
    )
