"""A query moved by marks, in plain float64: one after the other, as recursive least squares do."""

import numpy as np


def refine(query, right, wrong, trust):
    """Return the direction that minimises trust |w - q|^2 + sum (w.x - y)^2, of unit length."""
    moved = np.asarray(query, np.float64)
    spread = np.eye(len(moved)) / trust  # the inverse of what the sum weighs so far
    for marks, wanted in ((right, 1.0), (wrong, 0.0)):
        for mark in np.asarray(marks, np.float64):
            gain = spread @ mark / (1.0 + mark @ spread @ mark)
            moved = moved + gain * (wanted - mark @ moved)
            spread = spread - np.outer(gain, mark @ spread)
    return moved / np.linalg.norm(moved)
