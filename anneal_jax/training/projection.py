"""Maps a tile's features to the space in which questions are chosen and tiles are searched."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from flax import traverse_util

from anneal_jax.training.learner import embed_standardised
from anneal_jax.types import MIN_NORM, FloatArray, Params

_PREFIX = "projection/"


class Projection(NamedTuple):
    """Turns features into embeddings in the same way as for the archive.

    Attributes:
      mean: float32[F], and
      scale: float32[F], by which features are standardised.
      similarity: parameters of the similarity network; None before there is a model: directions alone.
    """

    mean: FloatArray
    scale: FloatArray
    similarity: Params | None

    def __call__(self, features: FloatArray) -> FloatArray:
        """Return the embeddings float32[M, D], unit norm, of features float32[M, F]."""
        if self.similarity is not None:
            return embed_standardised(self.similarity, features, self.mean, self.scale)
        centred = (features - self.mean) / self.scale
        lengths = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.asarray(centred / np.maximum(lengths, np.float32(MIN_NORM)), np.float32)


def centring(features: FloatArray) -> Projection:
    """Return what `unit_directions` does to features float32[N, F], for features of other tiles."""
    mean = np.asarray(np.mean(features, axis=0, dtype=np.float64), np.float32)
    return Projection(mean, np.ones_like(mean), None)


def of_checkpoint(state: Mapping[str, Any]) -> Projection:
    """Return what a checkpoint of the frozen regime does to features; `checkpoint_state` made its state."""
    return Projection(state["feature_mean"], state["feature_scale"], state["params"]["similarity"])


def to_arrays(projection: Projection) -> dict[str, np.ndarray]:
    """Return a trained projection as named arrays, for a .npz file."""
    flat = traverse_util.flatten_dict(projection._asdict(), sep="/")
    return {_PREFIX + name: np.asarray(leaf) for name, leaf in flat.items()}


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Projection:
    """Return the projection from the arrays of `to_arrays`; other arrays are ignored."""
    flat = {name.removeprefix(_PREFIX): arrays[name] for name in arrays if name.startswith(_PREFIX)}
    return Projection(**traverse_util.unflatten_dict(flat, sep="/"))
