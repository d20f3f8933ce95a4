"""Blind audits: estimate how many of a tile's five nearest a person calls similar, without class labels.

The same tiles and ranks are drawn for every model. An audit answered for one model therefore counts for the
next one too, as long as the neighbour stays the same, and models are compared on the same draws.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from anneal_jax.annotation.search_by_example import nearest_tiles
from anneal_jax.annotation.types import Known, Pair
from anneal_jax.evaluation.intervals import Z_95
from anneal_jax.types import FloatArray

NEIGHBOURS = 5
"""Number of ranks in precision@5."""

MAX_AUDITS = 400

_MAX_OPEN_SHARE = 0.2


class Precision(NamedTuple):
    """Precision@5 with its 95% interval.

    Attributes:
      share: share of audits answered yes; None before the first.
      lower: lower end of the interval.
      upper: upper end of the interval.
      num_audits: number of audits it is based on, whether asked or known without asking.
      is_stale: the neighbours have changed since, and some draws have yet to be asked again.
    """

    share: float | None
    lower: float
    upper: float
    num_audits: int
    is_stale: bool


class AuditDraws(NamedTuple):
    """Tiles to audit and their current neighbours.

    Attributes:
      pairs: canonical; the same position means the same tile and rank for every model.
    """

    pairs: tuple[Pair, ...]

    def open_pairs(self, known: Known) -> Iterator[Pair]:
        """Yield the audits that nobody has answered, in order."""
        return (pair for pair in self.pairs if known(*pair) is None)

    def precision(self, known: Known) -> Precision:
        """Return precision@5 from the audits answered without a gap, starting at the first.

        Known pairs count without being asked; unsure answers are ignored. A new model has different
        neighbours, which opens gaps; until these are asked, up to a fifth of the draws may be missing, and
        the figure is marked as stale.
        """
        labels = self._labels(known)
        is_open = np.array([label is None for label in labels], np.bool_)
        whole = int(np.argmax(is_open)) if is_open.any() else len(labels)
        within = np.flatnonzero(np.cumsum(is_open) <= _MAX_OPEN_SHARE * np.arange(1, len(labels) + 1))
        loose = int(within[-1]) + 1 if within.size else 0
        is_stale = loose > 2 * whole
        counted = [label for label in labels[: loose if is_stale else whole] if label in (0, 1)]
        share = sum(counted) / len(counted) if counted else None
        return Precision(share, *wilson(sum(counted), len(counted)), len(counted), is_stale)

    def _labels(self, known: Known) -> list[int | None]:
        """Return the known labels of the draws, until there are too many gaps."""
        labels: list[int | None] = []
        num_open = 0
        for pair in self.pairs:
            labels.append(label := known(*pair))
            num_open += label is None
            if num_open > _MAX_OPEN_SHARE * len(self.pairs):
                break
        return labels


def draw_audits(embeddings: FloatArray, *, seed: int) -> AuditDraws:
    """Draw tiles and one of the five nearest of each.

    Args:
      embeddings: float32[N, D], unit norm, N >= 2.
      seed: seed of the draws; they do not depend on the model.
    """
    num_tiles = len(embeddings)
    rng = np.random.default_rng([seed, 0xA0D17])
    tiles = rng.permutation(num_tiles)[:MAX_AUDITS]
    ranks = rng.integers(min(NEIGHBOURS, num_tiles - 1), size=num_tiles)[: len(tiles)]
    nearest = nearest_tiles(embeddings, tiles, min(NEIGHBOURS, num_tiles - 1))
    pairs = (
        sorted((int(tile), int(row[rank]))) for tile, row, rank in zip(tiles, nearest, ranks, strict=True)
    )
    return AuditDraws(tuple((first, second) for first, second in pairs))


def wilson(num_yes: int, num_all: int) -> tuple[float, float]:
    """Return the ends of the 95% confidence interval of a share.

    Source: wilson1927probable.

    >>> [round(end, 2) for end in wilson(80, 100)]
    [0.71, 0.87]
    >>> wilson(0, 0)
    (0.0, 1.0)
    """
    if not num_all:
        return 0.0, 1.0
    share, z2 = num_yes / num_all, Z_95**2
    middle = (share + z2 / (2 * num_all)) / (1 + z2 / num_all)
    half = Z_95 / (1 + z2 / num_all) * math.sqrt(share * (1 - share) / num_all + z2 / (4 * num_all**2))
    return max(0.0, middle - half), min(1.0, middle + half)
