"""Thresholds by trying everything, in exact fractions or by bisection."""

import itertools
from fractions import Fraction

import numpy as np


def balanced(similarities, labels):
    """Try a cut in every gap; return the ends of the best gap: the widest, then the lowest."""
    values = sorted({float(s) for s in similarities})
    if len(values) == 1:
        return values[0], values[0]
    gaps = list(itertools.pairwise(values))
    return max(gaps, key=lambda gap: (_accuracy(similarities, labels, gap[1]), gap[1] - gap[0], -gap[0]))


def _accuracy(similarities, labels, cut):
    recalls = []
    for label in (0, 1):
        rows = [float(s) for s, y in zip(similarities, labels, strict=True) if y == label]
        right = sum((s >= cut) == (label == 1) for s in rows)
        recalls.append(Fraction(right, len(rows)))
    return sum(recalls)


def midpoint(similarities, labels):
    wide = np.asarray(similarities, np.float64)
    return sum(sum(wide[labels == y]) / sum(labels == y) for y in (0, 1)) / 2


def gaussian(similarities, labels):
    """Bisect the difference of log densities between the means; the midpoint where it has one sign."""
    wide = np.asarray(similarities, np.float64)
    (m0, s0), (m1, s1) = ((wide[labels == y].mean(), max(wide[labels == y].std(), 1e-6)) for y in (0, 1))

    def difference(x):
        return np.log(s1 / s0) + ((x - m1) / s1) ** 2 / 2 - ((x - m0) / s0) ** 2 / 2

    low, high = m0, m1
    if difference(low) * difference(high) > 0:
        return (m0 + m1) / 2
    for _ in range(200):
        middle = (low + high) / 2
        same_side = (difference(middle) > 0) == (difference(low) > 0)
        low, high = (middle, high) if same_side else (low, middle)
    return (low + high) / 2
