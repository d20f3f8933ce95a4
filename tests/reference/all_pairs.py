"""Plain float64 twins of the all-pairs scan: whole matrices, loops, and one sort."""

import numpy as np


def dot_product_matrix(embeddings):
    wide = np.asarray(embeddings, np.float64)
    total = np.zeros((len(wide), len(wide)))
    for component in wide.T:
        total += np.outer(component, component)
    return total


def logit_matrix(as_first, as_second, layers):
    logits = np.full((len(as_first), len(as_first)), np.nan)
    for i in range(len(as_first)):
        for j in range(len(as_first)):
            values = np.asarray(as_first[i], np.float64) + np.asarray(as_second[j], np.float64)
            for kernel, bias in layers:
                values = np.maximum(values, 0) @ np.asarray(kernel, np.float64) + bias
            logits[i, j] = values[0]
    return logits


def splitmix64(value):
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) % 2**64
    return value ^ (value >> 31)


def tie_hash(i, j, seed):
    return splitmix64((i * 2**32 + j) ^ splitmix64((seed + 0x9E3779B97F4A7C15) % 2**64))


def best_pairs(scores, boundary, num_pairs, known=(), seed=0):
    """Return [(i, j), ...] and their distances: sorted by distance, then hash, over a full matrix."""
    excluded = {(int(i), int(j)) for i, j in known}
    pool = [
        (abs(scores[i, j] - float(np.float32(boundary))), tie_hash(i, j, seed), i, j)
        for i in range(len(scores))
        for j in range(i + 1, len(scores))
        if (i, j) not in excluded
    ]
    best = sorted(pool)[:num_pairs]
    return [(i, j) for _, _, i, j in best], [distance for distance, *_ in best]
