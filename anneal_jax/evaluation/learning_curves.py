"""Quality against cost: what the curve of one run says at a cost, on the whole, and when it is good enough.

Between two measured costs a curve is a straight line; after its last one it stays, since nobody must spend
more; before its first one there is no model, and hence no figure (NaN).
"""

import math

import numpy as np
import numpy.typing as npt


def quality_at(
    costs: npt.ArrayLike, qualities: npt.ArrayLike, at: npt.ArrayLike
) -> npt.NDArray[np.float64]:
    """Read a curve off at some costs.

    Args:
      costs: float[R], not falling, such as bits spent.
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
    """Return the least cost at which a curve reaches a quality; NaN where it never does.

    Args:
      costs: float[R], not falling.
      qualities: float[R].
      target: quality wanted.

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
      costs: float[R], not falling.
      qualities: float[R].
      low: where the area begins.
      high: where it ends, above `low`.

    Returns:
      The mean quality; NaN where the curve begins after `low`.

    >>> mean_quality([0, 100], [0.0, 1.0], 0, 200)
    0.75
    """
    x = np.asarray(costs, np.float64)
    inside = x[(x > low) & (x < high)]
    at = np.concatenate([[low], inside, [high]])
    return float(np.trapezoid(quality_at(x, qualities, at), at) / (high - low))
