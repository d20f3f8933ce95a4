"""Retrieval metrics on host arrays: rank an archive, mark what is relevant, measure.

A metric takes `relevant` bool[Q, k], the first k ranks of each query, and `num_relevant` int[Q],
the number R of relevant images in the whole archive; cut `relevant[:, :5]` to measure at 5. It returns one
value per query, so that two systems can be compared query by query; `mean_over_queries` averages them.

A query with nothing relevant in the archive (R = 0) has the value nan, and the mean leaves it out.
`(num_relevant == 0).sum()` counts such queries.
"""

from typing import Literal

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ArchiveError, unknown_name
from anneal_jax.evaluation.ranking import count_relevant, rank_archive, relevance

__all__ = [
    "Denominator",
    "average_precision",
    "average_precision_at_k",
    "count_relevant",
    "mean_average_precision_at_k",
    "mean_over_queries",
    "ndcg_at_k",
    "normalised_modified_retrieval_rank",
    "precision_at_k",
    "r_precision",
    "rank_archive",
    "recall_at_k",
    "relevance",
]

Denominator = Literal["min(k,R)", "retrieved", "R"]
"""The divisor of the sum of precisions in average precision at k; state it with every result."""

Values = npt.NDArray[np.float64]
"""float64[Q], nan for a query with nothing relevant."""


def average_precision_at_k(
    relevant: npt.ArrayLike, num_relevant: npt.ArrayLike, *, denominator: Denominator = "min(k,R)"
) -> Values:
    """Average the precisions at the ranks with a relevant image, over the first k ranks.

    sum over ranks i <= k of [rank i is relevant] * precision@i, divided by the denominator:
    `min(k,R)`, the largest possible number; `retrieved`, the number found (0 / 0 counts as 0);
    `R`, all relevant images of the archive. The literature uses all three under one name.

    Args:
      relevant: bool[Q, k].
      num_relevant: int[Q], R.
      denominator: one of `min(k,R)`, `retrieved`, `R`.

    Returns:
      float64[Q] in [0, 1]; nan if R = 0.

    Raises:
      ConfigError: the denominator is unknown.
      ValueError: the shapes do not match, or more images are retrieved than exist.

    >>> hits = [[True, False, True, False, False]]
    >>> [round(float(average_precision_at_k(hits, [100], denominator=d)[0]), 3)
    ...  for d in ("min(k,R)", "retrieved", "R")]
    [0.333, 0.833, 0.017]
    """
    relevant, num_relevant = _checked(relevant, num_relevant)
    hits = np.cumsum(relevant, axis=1)
    precisions = hits / np.arange(1, relevant.shape[1] + 1)
    most = {
        "min(k,R)": np.minimum(relevant.shape[1], num_relevant),
        "retrieved": np.maximum(hits[:, -1], 1),
        "R": num_relevant,
    }
    if denominator not in most:
        raise unknown_name("denominator", denominator, most)
    return _ratio((precisions * relevant).sum(axis=1), most[denominator], num_relevant)


def average_precision(relevant: npt.ArrayLike, num_relevant: npt.ArrayLike) -> Values:
    """Average precision of the whole ranking: its mean over queries is mAP.

    The divisor is R, because the ranking contains all R images. Equal to scikit-learn's
    average_precision_score if no cosines tie; ties count here in the order in which they are ranked.

    Args:
      relevant: bool[Q, k], k large enough to include every relevant image, such as the whole archive.
      num_relevant: int[Q], R.

    Returns:
      float64[Q] in [0, 1]; nan if R = 0.

    Raises:
      ValueError: the shapes do not match, or a ranking stops before its last relevant image.
    """
    relevant, num_relevant = _checked(relevant, num_relevant)
    _require_reach(relevant, num_relevant, reach=None)
    return average_precision_at_k(relevant, num_relevant, denominator="R")


def precision_at_k(relevant: npt.ArrayLike, num_relevant: npt.ArrayLike) -> Values:
    """Share of relevant images in the first k ranks; always below 1 if R < k.

    Args:
      relevant: bool[Q, k].
      num_relevant: int[Q], R.

    Returns:
      float64[Q] in [0, 1]; nan if R = 0.

    >>> precision_at_k([[True, False, True, False]], [100]).tolist()
    [0.5]
    """
    relevant, num_relevant = _checked(relevant, num_relevant)
    return _ratio(relevant.sum(axis=1), relevant.shape[1], num_relevant)


def recall_at_k(relevant: npt.ArrayLike, num_relevant: npt.ArrayLike) -> Values:
    """Share of all relevant images that the first k ranks contain; always below 1 if R > k.

    In deep metric learning, "recall at k" is often the share of queries with at least one hit among k; that
    is `relevant.any(axis=1)`, not this metric.

    Args:
      relevant: bool[Q, k].
      num_relevant: int[Q], R.

    Returns:
      float64[Q] in [0, 1]; nan if R = 0.

    >>> recall_at_k([[True, False, True, False]], [8]).tolist()
    [0.25]
    """
    relevant, num_relevant = _checked(relevant, num_relevant)
    return _ratio(relevant.sum(axis=1), num_relevant, num_relevant)


def r_precision(relevant: npt.ArrayLike, num_relevant: npt.ArrayLike) -> Values:
    """Precision at R, each query's own number of relevant images; equal to recall at R.

    Args:
      relevant: bool[Q, k], k at least the largest R (or including every relevant image).
      num_relevant: int[Q], R.

    Returns:
      float64[Q] in [0, 1]; nan if R = 0.

    Raises:
      ValueError: the shapes do not match, or a ranking stops before R.

    >>> r_precision([[True, False, True, False]], [2]).tolist()
    [0.5]
    """
    relevant, num_relevant = _checked(relevant, num_relevant)
    _require_reach(relevant, num_relevant, reach=num_relevant)
    within = np.arange(relevant.shape[1]) < num_relevant[:, None]
    return _ratio((relevant & within).sum(axis=1), num_relevant, num_relevant)


def ndcg_at_k(relevant: npt.ArrayLike, num_relevant: npt.ArrayLike) -> Values:
    """Normalised discounted cumulative gain of the first k ranks, with gains of 0 and 1.

    sum over relevant ranks i <= k of 1 / log2(i + 1), divided by the same sum over the ranks 1 to
    min(k, R). Equal to scikit-learn's ndcg_score if no cosines tie; that averages over the orders of ties,
    while here they count as ranked.

    Args:
      relevant: bool[Q, k].
      num_relevant: int[Q], R.

    Returns:
      float64[Q] in [0, 1]; nan if R = 0.

    Source: jarvelin2002cumulated, in the form with a discount from rank 2 on.
    """
    relevant, num_relevant = _checked(relevant, num_relevant)
    k = relevant.shape[1]
    discounts = 1 / np.log2(np.arange(k) + 2)
    best = np.append(0.0, np.cumsum(discounts))[np.minimum(k, num_relevant)]
    return _ratio(relevant @ discounts, best, num_relevant)


def normalised_modified_retrieval_rank(relevant: npt.ArrayLike, num_relevant: npt.ArrayLike) -> Values:
    """How late the relevant images are ranked: 0 if all come first, 1 if none is near. Its mean is ANMRR.

    With R relevant images and K = min(4 R, 2 max R over the queries), a relevant image at rank i
    counts i, or 1.25 K beyond rank K; with A their average,
    (A - 0.5 (1 + R)) / (1.25 K - 0.5 (1 + R)). A smaller value is better.

    Args:
      relevant: bool[Q, k], k at least the largest K (or including every relevant image).
      num_relevant: int[Q], R.

    Returns:
      float64[Q] in [0, 1]; nan if R = 0.

    Raises:
      ValueError: the shapes do not match, or a ranking stops before K.

    Source: manjunath2001color (MPEG-7).
    """
    relevant, num_relevant = _checked(relevant, num_relevant)
    reach = np.minimum(4 * num_relevant, 2 * num_relevant.max(initial=0))
    _require_reach(relevant, num_relevant, reach=reach)
    ranks = np.arange(1, relevant.shape[1] + 1)
    in_sight = relevant & (ranks <= reach[:, None])
    missed = num_relevant - in_sight.sum(axis=1)
    rank_sums = in_sight @ ranks + 1.25 * reach * missed
    best_sums = 0.5 * (1 + num_relevant) * num_relevant
    worst_sums = 1.25 * reach * num_relevant
    return _ratio(rank_sums - best_sums, worst_sums - best_sums, num_relevant)


def mean_over_queries(values: npt.ArrayLike) -> float:
    """Average a metric over the queries with something relevant in the archive.

    Args:
      values: float64[Q], from a metric of this module.

    Returns:
      The mean of all values except nan.

    Raises:
      ArchiveError: no query has a value.

    >>> mean_over_queries([1.0, float("nan"), 0.5])
    0.75
    """
    values = np.asarray(values, np.float64)
    defined = values[~np.isnan(values)]
    if not defined.size:
        raise ArchiveError(
            f"None of the {values.size} queries has a relevant image in the archive, so nothing "
            "can be measured; check the labels, or draw a larger archive."
        )
    return float(defined.mean())


def mean_average_precision_at_k(
    relevant: npt.ArrayLike, num_relevant: npt.ArrayLike, *, denominator: Denominator = "min(k,R)"
) -> float:
    """Mean of `average_precision_at_k` over the queries with something relevant.

    Args:
      relevant: bool[Q, k].
      num_relevant: int[Q], R.
      denominator: one of `min(k,R)`, `retrieved`, `R`.

    Returns:
      A value in [0, 1].

    Raises:
      ArchiveError: no query has anything relevant.
      ConfigError: the denominator is unknown.
      ValueError: shapes do not fit, or more is retrieved than is said to exist.
    """
    return mean_over_queries(average_precision_at_k(relevant, num_relevant, denominator=denominator))


def _checked(
    relevant: npt.ArrayLike, num_relevant: npt.ArrayLike
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64]]:
    hits, counts = np.asarray(relevant, bool), np.asarray(num_relevant, np.int64)
    if hits.ndim != 2 or not hits.shape[1] or counts.shape != hits.shape[:1]:
        raise ValueError(
            f"Give relevant as [Q, k] with k >= 1 and num_relevant as [Q], "
            f"not {hits.shape} and {counts.shape}."
        )
    wrong = np.flatnonzero(hits.sum(axis=1) > counts)
    if wrong.size:
        raise ValueError(
            f"Query {wrong[0]} has more relevant images among its {hits.shape[1]} ranks than "
            f"num_relevant allows ({counts[wrong[0]]}); count them over the whole archive."
        )
    return hits, counts


def _require_reach(
    relevant: npt.NDArray[np.bool_],
    num_relevant: npt.NDArray[np.int64],
    reach: npt.NDArray[np.int64] | None,
) -> None:
    """Raise an error if a ranking stops before rank `reach` (None: any rank) with unseen images left."""
    unseen = relevant.sum(axis=1) < num_relevant
    short = np.flatnonzero(unseen if reach is None else unseen & (relevant.shape[1] < reach))
    if short.size:
        needed = "all its relevant images" if reach is None else f"rank {reach[short[0]]}"
        raise ValueError(
            f"The ranking of query {short[0]} stops at rank {relevant.shape[1]}, but must reach "
            f"{needed}; rank more of the archive."
        )


def _ratio(numerators: npt.ArrayLike, denominators: npt.ArrayLike, num_relevant: np.ndarray) -> Values:
    """Divide, with nan if nothing is relevant."""
    defined = num_relevant > 0
    safe = np.where(defined, denominators, 1)
    return np.where(defined, np.asarray(numerators, np.float64) / safe, np.nan)
