"""Plain float64 NumPy twins of the augmentations, a pixel at a time."""

import numpy as np


def crop(tile, box):
    """Look up each pixel of the enlarged part by bilinear interpolation; outside is as at the edge."""
    size, _, bands = tile.shape
    tile = np.asarray(tile, np.float64)
    top, left, height, width = np.asarray(box, np.float64)
    enlarged = np.zeros((size, size, bands))
    for i in range(size):
        for j in range(size):
            y = min(max((top + (i + 0.5) / size * height) * size - 0.5, 0), size - 1)
            x = min(max((left + (j + 0.5) / size * width) * size - 0.5, 0), size - 1)
            above, before = int(y), int(x)
            below, behind = min(above + 1, size - 1), min(before + 1, size - 1)
            down, right = y - above, x - before
            upper = (1 - right) * tile[above, before] + right * tile[above, behind]
            lower = (1 - right) * tile[below, before] + right * tile[below, behind]
            enlarged[i, j] = (1 - down) * upper + down * lower
    return enlarged


def recolour(tile, brightness, contrast, saturation, is_rgb):
    """Change one tile by its factors: one number each for RGB, else one per band."""
    picture = np.asarray(tile, np.float64) * brightness
    mean = picture.mean() if is_rgb else picture.mean(axis=(0, 1))
    picture = mean + contrast * (picture - mean)
    if is_rgb:
        grey = picture.sum(axis=2, keepdims=True) / 3
        picture = grey + saturation * (picture - grey)
    return np.minimum(np.maximum(picture, 0), 255)
