"""What a run needs of a model, whatever the regime: fit it, embed with it, score pairs with it."""

from typing import Any, NamedTuple, Protocol

import numpy as np

from anneal_jax.models.heads import classifier_first_layer
from anneal_jax.types import FloatArray, IntArray, PairIndices, PairLabels, Params


class TrainingPairs(NamedTuple):
    """Pairs to train on.

    Attributes:
      pair_indices: int32[P, 2], canonical indices into the archive.
      labels: int8[P], 1 similar, 0 dissimilar.
    """

    pair_indices: PairIndices
    labels: PairLabels


class Learner(Protocol):
    """A model that learns from pairs. Parameters are passed, never held.

    Attributes:
      mean: float32[F], and
      scale: float32[F], of the features of the training images; part of every checkpoint.
    """

    @property
    def mean(self) -> FloatArray: ...
    @property
    def scale(self) -> FloatArray: ...

    def fit_pairs(
        self, pairs: TrainingPairs, round_index: int, previous: Params | None, *, use: str = ""
    ) -> Params:
        """Train on pairs.

        Args:
          pairs: all pairs known at this round.
          round_index: keys every draw.
          previous: parameters of the round before; the frozen regime does not look at them.
          use: shown by the progress bar.
        """
        ...

    def fit_classes(self, images: IntArray, classes: IntArray) -> Params:
        """Train on the class labels int32[M] of tiles int32[M]: the upper bound."""
        ...

    def embed(self, params: Params) -> FloatArray:
        """Return the embeddings float32[N, D], unit norm, of every tile of the archive."""
        ...

    def features(self, params: Params) -> FloatArray:
        """Return the features float32[N, F] of every tile, centred on the training images."""
        ...

    def first_layer(self, params: Params, images: IntArray) -> tuple[Any, Any, Params]:
        """Return the classifier for the all-pairs scan over some tiles.

        Returns:
          What each tile adds to the first layer as first and as second of a pair, float32[M, H] each,
          and the parameters of the layers after it.
        """
        ...

    def template(self) -> Params:
        """Return parameters of the right shapes, into which a checkpoint is restored."""
        ...


def classifier_tables(classifier: Params, features: FloatArray) -> tuple[Any, Any, Params]:
    """Apply the classifier's first layer to each tile once; see `Learner.first_layer`."""
    as_first, as_second = classifier_first_layer(classifier, features)
    return as_first, as_second, classifier


def centred(features: FloatArray, train_images: IntArray) -> FloatArray:
    """Subtract the mean of the training images; cosine needs it, since features are not negative."""
    return features - np.mean(features[train_images], axis=0, dtype=np.float64).astype(np.float32)
