"""Plain float64 twins of the losses that need no answer."""

import numpy as np


def simsiam(predictions, projections):
    costs = []
    for of, to in ((0, 1), (1, 0)):
        for p, z in zip(predictions[of], projections[to], strict=True):
            costs.append(-(p @ z) / np.sqrt((p @ p) * (z @ z)))
    return np.mean(costs)


def vicreg(first, second):
    num, dim = first.shape
    distance = sum((a - b) @ (a - b) for a, b in zip(first, second, strict=True)) / num / dim
    lack = shared = 0.0
    for z in (first, second):
        covariance = np.cov(z, rowvar=False)
        for i in range(dim):
            lack += max(0.0, 1 - np.sqrt(covariance[i, i] + 1e-4)) / dim / 2
            shared += sum(covariance[i, j] ** 2 for j in range(dim) if j != i) / dim
    return 25 * distance + 25 * lack + shared
