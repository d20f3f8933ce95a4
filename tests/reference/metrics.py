"""Plain float64 twins of evaluation.ranking and evaluation.metrics, one query at a time."""

import math

import numpy as np


def rank(query, archive, own=None):
    """All of the archive by cosine, ties by index, without the position `own`."""
    query = np.asarray(query, np.float64)
    archive = np.asarray(archive, np.float64)
    norms = np.linalg.norm(archive, axis=1) * np.linalg.norm(query)
    cosines = [float(row @ query / n) if n else 0.0 for row, n in zip(archive, norms, strict=True)]
    order = sorted(range(len(archive)), key=lambda index: (-round(cosines[index], 12), index))
    return [index for index in order if index != own]


def average_precision_at_k(hits, num_relevant, denominator):
    total = sum(sum(hits[: i + 1]) / (i + 1) for i, hit in enumerate(hits) if hit)
    found = sum(hits)
    by = {"min(k,R)": min(len(hits), num_relevant), "retrieved": found or 1, "R": num_relevant}
    return total / by[denominator]


def r_precision(hits, num_relevant):
    return sum(hits[:num_relevant]) / num_relevant


def ndcg_at_k(hits, num_relevant):
    gain = sum(1 / math.log2(rank + 1) for rank, hit in enumerate(hits, start=1) if hit)
    ideal = [1 / math.log2(rank + 1) for rank in range(1, min(len(hits), num_relevant) + 1)]
    return gain / sum(ideal)


def nmrr(hits, num_relevant, largest_num_relevant):
    reach = min(4 * num_relevant, 2 * largest_num_relevant)
    ranks = [rank for rank, hit in enumerate(hits, start=1) if hit]
    ranks += [math.inf] * (num_relevant - len(ranks))
    average = sum(rank if rank <= reach else 1.25 * reach for rank in ranks) / num_relevant
    modified = average - 0.5 - num_relevant / 2
    return modified / (1.25 * reach - 0.5 * (1 + num_relevant))
