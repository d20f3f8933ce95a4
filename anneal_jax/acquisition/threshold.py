"""MGUE's threshold: the cosine similarity from which a pair counts as similar.

No public text gives the papers' estimator, so all of these are this project's. After training, the
labelled pairs are usually separable, and any threshold in a wide interval is equally good on them. So the
default, `prequential`, uses similarities that a model gave to pairs before it was trained on them; these
still overlap.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ConfigError

Similarities = npt.NDArray[np.floating]
Labels = npt.NDArray[np.integer]

_MIN_SPREAD = 1e-6  # for a class whose similarities are all equal


class ThresholdEstimate(NamedTuple):
    """A threshold and the interval in which all thresholds are equally good.

    Attributes:
      threshold: tau, a cosine similarity in [-1, 1].
      lower: lower end of the interval.
      upper: upper end of the interval; equal to `lower` for estimators that return one point.
    """

    threshold: float
    lower: float
    upper: float


def balanced_threshold(similarities: Similarities, labels: Labels) -> ThresholdEstimate:
    """Return the middle of the interval with the best balanced accuracy.

    A pair is called similar if its similarity is at least tau. Balanced accuracy, the mean of the two
    classes' recalls, is constant between neighbouring similarities. Of the best intervals the widest is
    taken, and of equally wide ones the lowest.

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
    # A cut after place p makes places 0..p dissimilar; equal values cannot be separated.
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

    Both densities have the same weight, whatever the number of pairs in each class. If there is no such
    point between the means, their midpoint is returned.

    Args:
      similarities: float[P], cosine similarities.
      labels: int[P], 1 similar, 0 dissimilar, both present.
    """
    means = [_mean(similarities, labels, label) for label in (0, 1)]
    spreads = [
        max(float(np.std(similarities[labels == label], dtype=np.float64)), _MIN_SPREAD) for label in (0, 1)
    ]
    narrow, wide = (0, 1) if spreads[0] <= spreads[1] else (1, 0)
    gap = means[wide] - means[narrow]
    # With t the distance from the narrow density's mean towards the other's, the densities are equal
    # where a t^2 + b t = c; all three are at least 0, so this form of the root cancels nothing.
    a = (1.0 / spreads[narrow] ** 2 - 1.0 / spreads[wide] ** 2) / 2.0
    b = abs(gap) / spreads[wide] ** 2
    c = math.log(spreads[wide] / spreads[narrow]) + gap**2 / (2.0 * spreads[wide] ** 2)
    t = 2.0 * c / (b + math.sqrt(b**2 + 4.0 * a * c)) if c else 0.0
    is_between = t <= abs(gap)
    point = means[narrow] + math.copysign(t, gap) if is_between else (means[0] + means[1]) / 2.0
    return ThresholdEstimate(point, point, point)


def initial_threshold(margin: float) -> float:
    """Return the threshold to use before any is known: halfway between the loss's two targets, 1 and m."""
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
    """Estimate tau; return None if one class has no pair.

    Args:
      estimator: a name in `ESTIMATORS`.
      similarities: float[P], cosine similarities; NaN is left out.
      labels: int[P], 1 similar, 0 dissimilar; other values are left out.

    Raises:
      ConfigError: there is no estimator of that name.
    """
    if estimator not in ESTIMATORS:
        raise ConfigError(f"threshold={estimator!r} is not known; choose one of {sorted(ESTIMATORS)}.")
    usable = np.isfinite(similarities) & ((labels == 0) | (labels == 1))
    similarities, labels = similarities[usable], labels[usable]
    if not (np.any(labels == 1) and np.any(labels == 0)):
        return None
    return ESTIMATORS[estimator](similarities, labels)
