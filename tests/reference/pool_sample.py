"""Plain twins of core-set and typicality: loops over points in float64."""

import math


def distance(a, b):
    return math.sqrt(sum((float(x) - float(y)) ** 2 for x, y in zip(a, b, strict=True)))


def farthest_first(points, centres, count):
    """Return rows of points, each the farthest from all centres and rows before it."""
    chosen = []
    for _ in range(count):
        covered = [*centres, *(points[row] for row in chosen)]
        gaps = {
            row: min(distance(points[row], centre) for centre in covered)
            for row in range(len(points))
            if row not in chosen
        }
        chosen.append(max(gaps, key=gaps.__getitem__))
    return chosen


def mean_near_distance(points, row, num_near):
    """Return the mean distance of a point to its nearest others."""
    others = sorted(distance(points[row], points[other]) for other in range(len(points)) if other != row)
    return sum(others[:num_near]) / num_near
