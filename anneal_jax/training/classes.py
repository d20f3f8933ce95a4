"""A class classifier on frozen features: the model of the label baselines (TCAL)."""

import dataclasses
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from anneal_jax.losses.masking import masked_mean
from anneal_jax.models.heads import WIDTHS, SimilarityNetwork
from anneal_jax.seeds import Use, device_key
from anneal_jax.training.frozen import CHUNK_STEPS, FrozenLearner, FrozenLoss
from anneal_jax.training.head_fit import fit
from anneal_jax.training.head_steps import FitSettings, HeadParams, init_heads
from anneal_jax.training.optimiser import Schedule
from anneal_jax.types import FloatArray, IntArray, Params

LEARNING_RATE = 1e-3
"""Of Adam for class classifiers (henkel2023anneal, on TCAL)."""


class ClassHeads(NamedTuple):
    """Parameters of a class classifier.

    Attributes:
      similarity: three dense layers in the shape of the similarity network G, so that code which embeds
        with G can embed with them.
      softmax: the linear layer from the last of them, before unit norm, to the classes.
    """

    similarity: Params
    softmax: Params


@dataclasses.dataclass(frozen=True)
class ClassLearner:
    """Trains class classifiers on the features, batches and settings of a frozen learner.

    Attributes:
      frozen: has the features to classify.
      num_classes: C.
    """

    frozen: FrozenLearner
    num_classes: int

    def fit(self, images: IntArray, classes: IntArray, round_index: int) -> ClassHeads:
        """Train a new classifier with softmax cross-entropy.

        Args:
          images: int32[M], indices into the archive.
          classes: int32[M] in [0, C).
          round_index: keys every draw.
        """
        frozen = self.frozen
        batches = frozen.group_batches(images, classes, round_index)
        return fit(
            FrozenLoss(class_objective, frozen.settings),
            self._initial(round_index),
            frozen.standardised,
            tuple(batches),
            device_key(frozen.seed, round_index, Use.NOISE),
            schedule=Schedule("constant", LEARNING_RATE),
            chunk_steps=CHUNK_STEPS,
            use=f"round {round_index}: train",
        ).params

    def logits(self, heads: ClassHeads) -> FloatArray:
        """Return float32[N, C], the unscaled log-probabilities of every tile."""
        return np.asarray(_logits_of(heads, self.frozen.standardised))

    def _initial(self, round_index: int) -> ClassHeads:
        key_heads, key_softmax = jax.random.split(device_key(self.frozen.seed, round_index, Use.WEIGHTS))
        heads = init_heads(key_heads, len(self.frozen.mean), with_classifier=False)
        layer = jnp.zeros((1, WIDTHS[-1]), jnp.float32)
        return ClassHeads(heads.similarity, nn.Dense(self.num_classes).init(key_softmax, layer))


def as_head_params(heads: ClassHeads) -> HeadParams:
    """Return the part that embeds: the network without its softmax layer."""
    return HeadParams(heads.similarity, None)


def class_logits(heads: ClassHeads, features: jax.Array) -> jax.Array:
    """Classify features float32[B, F]; returns float32[B, C]."""
    layer = SimilarityNetwork().apply(heads.similarity, features, method="unscaled")
    softmax = heads.softmax["params"]
    return jnp.asarray(layer) @ softmax["kernel"] + softmax["bias"][None]


def class_objective(
    heads: ClassHeads, features: jax.Array, classes: jax.Array, settings: FitSettings
) -> jax.Array:
    """Return the mean cross-entropy of a batch of images; an `Objective`.

    Args:
      heads: the classifier.
      features: float32[B, F].
      classes: int32[B]; -1 leaves the image out.
      settings: not used.
    """
    del settings
    is_known = classes >= 0
    logits = class_logits(heads, features)
    costs = optax.softmax_cross_entropy_with_integer_labels(logits, jnp.maximum(classes, 0))
    return masked_mean(costs, is_known)


@jax.jit
def _logits_of(heads: ClassHeads, features: Any) -> jax.Array:
    # An accelerator's faster, coarser products would make labels asked depend on the machine.
    with jax.default_matmul_precision("float32"):
        return class_logits(heads, features)
