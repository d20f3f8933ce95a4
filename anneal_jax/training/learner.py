"""The interface of a model in both regimes: fit it, embed with it, score pairs with it."""

from typing import NamedTuple, Protocol, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from anneal_jax.models.heads import classifier_first_layer
from anneal_jax.training.blocks import map_blocks
from anneal_jax.training.head_steps import embed_features
from anneal_jax.types import ClassifierTables, FloatArray, IntArray, PairIndices, PairLabels, Params

_Array = TypeVar("_Array", FloatArray, jax.Array)


class TrainingPairs(NamedTuple):
    """Pairs to train on.

    Attributes:
      pair_indices: int32[P, 2], canonical indices into the archive.
      labels: int8[P], 1 similar, 0 dissimilar.
      num_answered: number of answered pairs, which come first; the others follow from them. None: all.
    """

    pair_indices: PairIndices
    labels: PairLabels
    num_answered: int | None = None


class Learner(Protocol):
    """A model that learns from pairs. Parameters are passed as arguments, never stored.

    Attributes:
      mean: float32[F], and
      scale: float32[F], of the features of the training images; part of every checkpoint.
      heads_only: trains only the heads, in seconds, on the features before the first round.
    """

    @property
    def mean(self) -> FloatArray: ...
    @property
    def scale(self) -> FloatArray: ...
    @property
    def heads_only(self) -> "Learner": ...

    def fit_pairs(
        self, pairs: TrainingPairs, round_index: int, previous: Params | None, *, use: str = ""
    ) -> Params:
        """Train on pairs.

        Args:
          pairs: all pairs known at this round.
          round_index: keys every draw.
          previous: parameters of the round before; the frozen regime does not use them.
          use: purpose of the fit, for the progress bar and errors.

        Raises:
          ConfigError: the fit diverges.
        """
        ...

    def fit_classes(
        self,
        images: IntArray,
        classes: IntArray,
        round_index: int = 0,
        *,
        weights: npt.NDArray[np.float64] | None = None,
        use: str = "",
    ) -> Params:
        """Train from scratch on the class labels, or other groups, int32[M] of tiles int32[M].

        `weights`, float64[M], determines how often each is drawn; by default all equally often.

        Raises:
          ConfigError: the fit diverges.
        """
        ...

    def beside_features(self, params: Params, share: float) -> Params:
        """Return parameters whose embeddings include a share of the features.

        Args:
          params: trained ones, or a template.
          share: weight of the features' cosine, in [0, 1].
        """
        ...

    def features(self, params: Params | None) -> FloatArray:
        """Return the backbone's features float32[N, F] of every tile; None uses the untrained network."""
        ...

    def embed(self, params: Params, features: FloatArray) -> FloatArray:
        """Return the embeddings float32[M, D], unit norm, of tiles with features float32[M, F]."""
        ...

    def classifier_tables(self, params: Params, features: FloatArray) -> ClassifierTables:
        """Return the pair classifier for the all-pairs scan over tiles with these features."""
        ...

    def template(self) -> Params:
        """Return parameters of the right shapes, into which a checkpoint is restored."""
        ...


class Model(NamedTuple):
    """A trained model with the features and embeddings of every tile, computed once.

    Attributes:
      params: the parameters.
      features: float32[N, F], from the backbone.
      embeddings: float32[N, D], unit norm.
    """

    params: Params
    features: FloatArray
    embeddings: FloatArray


def represent(learner: Learner, params: Params) -> Model:
    """Apply a model to every tile of the archive."""
    features = learner.features(params)
    return Model(params, features, learner.embed(params, features))


def checkpoint_state(learner: Learner, params: Params) -> dict[str, Params]:
    """Return the content of a checkpoint: everything that turns a tile into an embedding."""
    return {"params": params, "feature_mean": learner.mean, "feature_scale": learner.scale}


def standardise(features: _Array, mean: _Array, scale: _Array) -> _Array:
    """Shift and scale features float32[M, F] as the heads expect them."""
    return (features - mean[None]) / scale[None]  # pyrefly: ignore[bad-return]  # NumPy's stubs forget the dtype


def embed_standardised(
    similarity: Params, features: FloatArray, mean: FloatArray, scale: FloatArray
) -> FloatArray:
    """Standardise and embed, block by block, without another array of the features' size.

    Args:
      similarity: what `SimilarityNetwork().init` returned.
      features: float32[M, F], from the backbone.

      mean: float32[F].
      scale: float32[F].

    Returns:
      float32[M, D], unit norm.
    """
    return map_blocks(lambda block: embed_features(similarity, standardise(block, mean, scale)), features)


def tabulate_classifier(
    classifier: Params, features: FloatArray, mean: FloatArray, scale: FloatArray
) -> ClassifierTables:
    """Apply the classifier's first layer to each tile once: N products instead of N(N-1)/2.

    Args:
      classifier: what `PairClassifier().init` returned.
      features: float32[M, F], from the backbone, of the tiles to be paired.
      mean: float32[F].
      scale: float32[F].
    """

    def first_layer(block: FloatArray) -> tuple[jax.Array, jax.Array]:
        return classifier_first_layer(classifier, jnp.asarray(standardise(block, mean, scale)))

    # An accelerator's faster, coarser products would make questions depend on the machine.
    with jax.default_matmul_precision("float32"):
        as_first, as_second = map_blocks(first_layer, features)
    layers = classifier["params"]
    names = [f"dense_{i}" for i in range(1, len(layers) - 1)] + ["logit"]
    rest = [(np.asarray(layers[name]["kernel"]), np.asarray(layers[name]["bias"])) for name in names]
    return ClassifierTables(as_first, as_second, rest)


def centred(features: FloatArray, train_images: IntArray) -> FloatArray:
    """Subtract the mean of the training images, or cosines of non-negative features would all be high."""
    return features - np.mean(features[train_images], axis=0, dtype=np.float64).astype(np.float32)
