"""Confidence intervals for differences between two systems run on the same seeds."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from anneal_jax.errors import ConfigError

Z_95 = 1.959963984540054
"""Number of standard deviations around the mean that covers 95% of a normal distribution."""


class PairedDifference(NamedTuple):
    """A mean difference with its confidence interval.

    Attributes:
      mean: mean of a - b.
      lower: lower end of the interval.
      upper: upper end of the interval.
      num_pairs: number of pairs.
    """

    mean: float
    lower: float
    upper: float
    num_pairs: int

    @property
    def half_width(self) -> float:
        """Half the width of the interval: the number after "±"."""
        return (self.upper - self.lower) / 2


def paired_difference_interval(
    a: npt.ArrayLike, b: npt.ArrayLike, *, confidence: float = 0.95
) -> PairedDifference:
    """Student's t interval of the mean difference of paired results, such as one per seed.

    mean(a - b) +- t * sd(a - b) / sqrt(n), t the (1 + confidence) / 2 quantile with n - 1 degrees
    of freedom. It assumes independent, roughly normal differences, and applies to other seeds of the same
    archive, not to other archives. Equal differences give an interval of width 0.

    Args:
      a: float[n], results of one system, one per seed.
      b: float[n], results of the other on the same seeds, in the same order.
      confidence: in (0, 1).

    Returns:
      Mean, lower and upper end in the unit of the inputs, and n.

    Raises:
      ConfigError: `confidence` is not inside (0, 1).
      ValueError: there are fewer than two pairs, the lengths differ, or a value is not finite.

    Source: student1908probable.

    >>> interval = paired_difference_interval([0.9, 0.8, 0.7], [0.8, 0.7, 0.5])
    >>> [round(value, 3) for value in interval]
    [0.133, -0.01, 0.277, 3]
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not 0 < confidence < 1:
        raise ConfigError(f"confidence = {confidence} must lie between 0 and 1, such as 0.95.")
    if first.shape != second.shape or first.ndim != 1 or first.size < 2:
        raise ValueError(
            f"Give two equally long lists of at least two results, not {first.shape} and "
            f"{second.shape}; an interval needs two seeds or more."
        )
    if not np.isfinite([first, second]).all():
        raise ValueError("A result is NaN or infinite; leave that seed out of both lists.")
    differences = first - second
    num_pairs = differences.size
    quantile = special.stdtrit(num_pairs - 1, (1 + confidence) / 2)
    mean, spread = differences.mean(), differences.std(ddof=1) / np.sqrt(num_pairs)
    return PairedDifference(
        float(mean), float(mean - quantile * spread), float(mean + quantile * spread), num_pairs
    )
