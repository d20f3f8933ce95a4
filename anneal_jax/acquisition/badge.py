"""Chooses pairs that would change the classifier most, each in a different way: BADGE, for pairs."""

import numpy as np
import numpy.typing as npt
from scipy import special

from anneal_jax.acquisition.coreset import farthest_first
from anneal_jax.acquisition.pool_sample import sample_pool
from anneal_jax.acquisition.scan.rescoring import last_hidden
from anneal_jax.pairs.canonical import PairKeys
from anneal_jax.types import ClassifierTables, FloatArray, PairIndices

_SAMPLED_PAIRS = 16_384  # one in twenty is similar: a smaller sample would hardly contain uncertain ones
_BLOCK_PAIRS = 1_024


def rank_by_gradients(
    classifier: ClassifierTables, known: PairKeys, num_pairs: int, *, seed: int
) -> tuple[PairIndices, FloatArray]:
    """Choose pairs of large and different gradients.

    Each next pair is the one whose gradient, `gradient_embeddings`, is farthest from those chosen and from
    zero, the gradient of a pair that teaches nothing. BADGE draws the next one in proportion to the squared
    distance instead (k-means++); the farthest does not depend on the order of images. The pairs come from a
    uniform sample of the pool. The time is proportional to k times the size of the sample.

    Args:
      classifier: the pair classifier.
      known: int64[M], sorted keys of the pairs that must not be chosen.
      num_pairs: k.
      seed: seed of the sample.

    Returns:
      int32[P, 2], in the order chosen, and float32[P], non-increasing; P = min(k, size of the pool).

    Source: ash2020badge; on pairs, and without its draw, it is this project's.
    """
    pairs = sample_pool(len(classifier.as_first), known, num_pairs, seed=seed, least=_SAMPLED_PAIRS)
    gradients = gradient_embeddings(classifier, pairs)
    chosen, gaps = farthest_first(gradients, np.einsum("pf,pf->p", gradients, gradients), num_pairs)
    return pairs[chosen], gaps


def gradient_embeddings(classifier: ClassifierTables, pairs: PairIndices) -> npt.NDArray[np.float64]:
    """Return the gradient of each pair's BCE in the last layer, as if its more likely answer were true.

    (p - y) [a, 1], with a the input of the last layer, p the classifier's probability and y = 1 if p is
    above 1/2, else 0: long if the classifier is uncertain, zero if it is certain.

    Args:
      classifier: the pair classifier.
      pairs: int32[P, 2], scored in their own order.

    Returns:
      float64[P, H + 1].

    Source: ash2020badge, section 3.
    """
    *inner, (kernel, bias) = classifier.layers
    found = [np.empty((0, len(kernel) + 1))]
    for start in range(0, len(pairs), _BLOCK_PAIRS):
        block = pairs[start : start + _BLOCK_PAIRS]
        hidden = last_hidden(classifier.as_first, classifier.as_second, inner, block)
        logits = (hidden @ kernel.astype(np.float64) + bias)[:, 0]
        # |p - y| is the probability of the less likely answer, computed without cancellation.
        push = np.where(logits > 0, -1.0, 1.0) * special.expit(-np.abs(logits))
        found.append(push[:, None] * np.pad(hidden, [(0, 0), (0, 1)], constant_values=1.0))
    return np.concatenate(found)
