"""MGUE's threshold: where the cosine similarity of a pair stops meaning "similar".

No public text gives the papers' estimator, so all of these are this project's. After training, the
labelled pairs are usually separable, and any threshold in a wide interval is equally good on them; the
default therefore looks at similarities that a model gave to pairs before it was trained on them
(`prequential`), which still overlap.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Similarities = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]


class ThresholdEstimate(NamedTuple):
    """A threshold and the interval inside which it is equally good.

    Attributes:
      threshold: tau, a cosine similarity in [-1, 1].
      lower: lower end of the interval.
      upper: upper end of the interval; equal to `lower` for estimators that name one point.
    """

    threshold: float
    lower: float
    upper: float


def balanced_threshold(similarities: Similarities, labels: Labels) -> ThresholdEstimate:
    """Return the middle of the interval with the best balanced accuracy.

    A pair is called similar when its similarity is at or above tau. Balanced accuracy, the mean of the
    two classes' recalls, is constant between neighbouring similarities; of the best intervals the
    widest is taken, then the lowest.

    Args:
      similarities: float[P], cosine similarities, P >= 2.
      labels: int[P], 1 similar, 0 dissimilar, both present.

    Returns:
      The midpoint and the ends of the interval.

    >>> balanced_threshold(np.array([0.1, 0.2, 0.8]), np.array([0, 0, 1])).threshold
    0.5
    """
    order = np.argsort(similarities, kind="stable")
    values = similarities[order].astype(np.float64)
    is_similar = labels[order] == 1
    recall_dissimilar = np.cumsum(~is_similar) / np.sum(~is_similar)
    recall_similar = 1.0 - np.cumsum(is_similar) / np.sum(is_similar)
    # A cut after place p calls places 0..p dissimilar; equal values cannot be cut apart.
    can_cut = np.append(values[1:] > values[:-1], False)
    accuracy = np.where(can_cut, (recall_dissimilar + recall_similar) / 2.0, -1.0)
    if not can_cut.any():
        return ThresholdEstimate(float(values[0]), float(values[0]), float(values[0]))
    best = np.flatnonzero(accuracy >= accuracy.max() - 1e-12)
    cut = best[np.argmax(values[best + 1] - values[best])]
    lower, upper = float(values[cut]), float(values[cut + 1])
    return ThresholdEstimate((lower + upper) / 2.0, lower, upper)


def midpoint_threshold(similarities: Similarities, labels: Labels) -> ThresholdEstimate:
    """Return the mean of the two classes' mean similarities.

    Args:
      similarities: float[P], cosine similarities.
      labels: int[P], 1 similar, 0 dissimilar, both present.

    >>> midpoint_threshold(np.array([0.0, 0.2, 0.9]), np.array([0, 0, 1])).threshold
    0.5
    """
    middle = (_mean(similarities, labels, 0) + _mean(similarities, labels, 1)) / 2.0
    return ThresholdEstimate(middle, middle, middle)


def gaussian_threshold(similarities: Similarities, labels: Labels) -> ThresholdEstimate:
    """Return the point between the class means where two fitted normal densities are equal.

    The densities weigh the same, whatever the number of pairs in each class. Where no such point lies
    between the means, the midpoint of the means is returned.

    Args:
      similarities: float[P], cosine similarities.
      labels: int[P], 1 similar, 0 dissimilar, both present.
    """
    low, high = _mean(similarities, labels, 0), _mean(similarities, labels, 1)
    spread_low, spread_high = (
        max(float(np.std(similarities[labels == label], dtype=np.float64)), 1e-6) for label in (0, 1)
    )
    # log N(x; low) = log N(x; high) is a quadratic in x.
    a = 1.0 / spread_high**2 - 1.0 / spread_low**2
    b = 2.0 * (low / spread_low**2 - high / spread_high**2)
    c = high**2 / spread_high**2 - low**2 / spread_low**2 + 2.0 * np.log(spread_high / spread_low)
    roots = np.roots([a, b, c]) if abs(a) > 1e-12 else np.array([-c / b] if b else [])
    real = np.real(roots[np.isreal(roots)])
    between = real[(real >= min(low, high)) & (real <= max(low, high))]
    point = float(between[0]) if between.size else (low + high) / 2.0
    return ThresholdEstimate(point, point, point)


def initial_threshold(margin: float) -> float:
    """Return the threshold before any is known: halfway between the loss's two targets, 1 and m."""
    return (1.0 + margin) / 2.0


def _mean(similarities: Similarities, labels: Labels, label: int) -> float:
    return float(np.mean(similarities[labels == label], dtype=np.float64))


ESTIMATORS: Mapping[str, Callable[[Similarities, Labels], ThresholdEstimate]] = {
    "prequential": balanced_threshold,
    "balanced": balanced_threshold,
    "midpoint": midpoint_threshold,
    "gaussian": gaussian_threshold,
}
"""By name; `prequential` differs from `balanced` in the similarities it is given, out of sample."""


def estimate_threshold(
    estimator: str, similarities: Similarities, labels: Labels
) -> ThresholdEstimate | None:
    """Estimate tau, or return None where one class has no pair and nothing can be said.

    Args:
      estimator: a name in `ESTIMATORS`.
      similarities: float[P], cosine similarities; NaN rows are left out.
      labels: int[P], 1 similar, 0 dissimilar; other values are left out.
    """
    usable = np.isfinite(similarities) & ((labels == 0) | (labels == 1))
    similarities, labels = similarities[usable], labels[usable]
    if not (np.any(labels == 1) and np.any(labels == 0)):
        return None
    return ESTIMATORS[estimator](similarities, labels)
