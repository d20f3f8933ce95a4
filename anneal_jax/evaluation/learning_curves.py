"""Quality against cost: the value of a run's curve at a cost, its mean, and the cost to reach a quality.

A curve is linear between two measured costs and constant after the last one, because nobody has to spend
more. Before the first one there is no model, so the value is NaN.
"""

import math

import numpy as np
import numpy.typing as npt


def quality_at(
    costs: npt.ArrayLike, qualities: npt.ArrayLike, at: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Return the value of a curve at some costs.

    Args:
      costs: float[R], non-decreasing, such as bits spent.
      qualities: float[R].
      at: float[M], costs to read the curve at.

    Returns:
      float64[M]; NaN before the first cost.

    >>> quality_at([100, 200], [0.5, 0.7], [50, 150, 400]).round(3).tolist()
    [nan, 0.6, 0.7]
    """
    x, y, wanted = (np.asarray(values, np.float64) for values in (costs, qualities, at))
    return np.interp(wanted, x, y, left=math.nan)


def cost_to_reach(costs: npt.ArrayLike, qualities: npt.ArrayLike, target: float) -> float:
    """Return the lowest cost at which a curve reaches a quality; NaN if it never does.

    Args:
      costs: float[R], non-decreasing.
      qualities: float[R].
      target: the quality to reach.

    >>> cost_to_reach([100, 200, 300], [0.5, 0.7, 0.6], 0.6)
    150.0
    """
    x, y = np.asarray(costs, np.float64), np.asarray(qualities, np.float64)
    reached = np.flatnonzero(y >= target)
    if not reached.size:
        return math.nan
    end = reached[0]
    if end == 0:
        return float(x[0])
    share = (target - y[end - 1]) / (y[end] - y[end - 1])
    return float(x[end - 1] + share * (x[end] - x[end - 1]))


def mean_quality(costs: npt.ArrayLike, qualities: npt.ArrayLike, low: float, high: float) -> float:
    """Return the area under a curve between two costs, divided by their difference.

    Args:
      costs: float[R], non-decreasing.
      qualities: float[R].
      low: start of the area.
      high: end of the area, above `low`.

    Returns:
      The mean quality; NaN if the curve starts after `low`.

    >>> mean_quality([0, 100], [0.0, 1.0], 0, 200)
    0.75
    """
    x = np.asarray(costs, np.float64)
    inside = x[(x > low) & (x < high)]
    at = np.concatenate([[low], inside, [high]])
    return float(np.trapezoid(quality_at(x, qualities, at), at) / (high - low))
