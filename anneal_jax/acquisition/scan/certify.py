"""Ends a scan: orders the candidates by their float64 scores, and reports how certain the result is."""

import math
from typing import NamedTuple

import numpy as np

from anneal_jax.acquisition.scan.best_pairs import BestPairs, ScoredPairs
from anneal_jax.acquisition.scan.scorers import PairScorer
from anneal_jax.pairs.canonical import pairs_of_keys

_MIN_MEASURED = 4096  # pairs whose error is measured if no bound is proved
_SAFETY_FACTOR = 8.0  # times the largest measured error


class Settled(NamedTuple):
    """The best pairs and their certificate; see `ScanResult`."""

    pairs: ScoredPairs
    error_bound: float
    measured_error: float
    margin: float
    band_size: int
    band_is_complete: bool
    is_proved: bool


def settle(best: BestPairs, scorer: PairScorer, num_pairs: int, proved_bound: float) -> Settled:
    """Re-score the candidates that may be among the h best, and rank them.

    A candidate further from the boundary than the worst of h re-scored ones by more than eps cannot be
    among the h best, so most of the buffer is never re-scored.

    Args:
      best: the candidates with their tile distances.
      scorer: re-scores them.
      num_pairs: h, at least 1.
      proved_bound: eps; inf if none is proved. If it is inf, or a larger error is measured (on a device
        that does not add as the proof assumes), eight times the largest measured error replaces it. This
        is an estimate, not a proof; errors are measured on the 4,096 candidates nearest to the boundary,
        or more.
    """
    candidates = best.ranked()
    near = candidates.distances.astype(np.float64)
    exact = np.empty(0)
    is_proved = math.isfinite(proved_bound)
    num_needed = min(near.size, num_pairs if is_proved else max(num_pairs, _MIN_MEASURED))
    error_bound = measured_error = worst = 0.0
    while exact.size < num_needed:
        pairs = pairs_of_keys(candidates.keys[exact.size : num_needed], scorer.num_images)
        exact = np.append(exact, np.abs(scorer.rescore(pairs) - scorer.boundary))
        measured_error = float(np.max(np.abs(exact - near[: exact.size])))
        if is_proved and measured_error > proved_bound:
            is_proved, num_needed = False, max(num_needed, min(near.size, _MIN_MEASURED))
        error_bound = proved_bound if is_proved else _SAFETY_FACTOR * measured_error
        worst = float(np.partition(exact, min(num_pairs, exact.size) - 1)[:num_pairs].max())
        num_needed = max(num_needed, np.searchsorted(near, worst + error_bound, side="right"))
    ranked = best.rank(ScoredPairs(exact, candidates.keys[: exact.size]))
    edge = float(near[num_pairs - 1]) + 2.0 * error_bound if near.size >= num_pairs else math.inf
    first_left_out = near[exact.size] if exact.size < near.size else float(best.bound)
    return Settled(
        ScoredPairs(ranked.distances[:num_pairs], ranked.keys[:num_pairs]),
        error_bound,
        measured_error,
        float(first_left_out - worst),
        int(np.searchsorted(near, edge, side="right")),
        best.holds_all_within(edge),
        is_proved,
    )
