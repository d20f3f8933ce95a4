"""Plain float64 NumPy twins of the networks: loops and formulas, nothing clever."""

import numpy as np


def _dense(layer, values):
    return values @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


def similarity_embedding(params, features):
    layers = params["params"]
    hidden = np.asarray(features, np.float64)
    for i in range(len(layers)):
        hidden = _dense(layers[f"dense_{i}"], np.maximum(hidden, 0) if i else hidden)
    return hidden / np.linalg.norm(hidden, axis=1, keepdims=True)


def pair_logits(params, first, second):
    layers = params["params"]
    hidden = np.concatenate([first, second], axis=1).astype(np.float64)
    for i in range(len(layers) - 1):
        hidden = np.maximum(_dense(layers[f"dense_{i}"], hidden), 0)
    return _dense(layers["logit"], hidden)[:, 0]
