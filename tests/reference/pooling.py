"""Plain float64 twins of what pixel embeddings become, a pixel at a time."""

import math

import numpy as np


def dequantised(value, codes, scale=1.0):
    """Return the number that a stored one stands for."""
    if codes == "alphaearth":
        return math.copysign((value / 127.5) ** 2, value)
    return float(value) * (float(scale) if codes == "scales" else 1.0)


def pooled(values, row, column, side, codes, pool, scales=None, nodata=None):
    """Return the vector of a window of [S, H, W], and the share of its pixels that hold data."""
    pixels = []
    for y in range(row, row + side):
        for x in range(column, column + side):
            stored = [value.item() for value in values[:, y, x]]
            scale = 1.0 if scales is None else float(scales[y, x])
            if nodata in stored or not any(stored) or not all(map(math.isfinite, stored)):
                continue
            if not (math.isfinite(scale) and scale > 0.0):
                continue
            pixels.append([dequantised(value, codes, scale) for value in stored])
    if not pixels:
        return None, 0.0
    mean = [sum(numbers) / len(pixels) for numbers in zip(*pixels, strict=True)]
    spread = [
        math.sqrt(sum((number - m) ** 2 for number in numbers) / len(pixels))
        for m, numbers in zip(mean, zip(*pixels, strict=True), strict=True)
    ]
    return np.array(mean if pool == "mean" else mean + spread), len(pixels) / side**2
