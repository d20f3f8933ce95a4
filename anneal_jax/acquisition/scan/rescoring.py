"""Float64 scores of a few pairs by one fixed order of operations.

The scan picks its candidates in the device's precision and settles their order here. Each pair is
computed by itself, so its score does not depend on which other pairs are asked for, and equal images
get equal scores to the last bit.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anneal_jax.files.threads import threaded
from anneal_jax.types import FloatArray, PairIndices

Layer = tuple[FloatArray, FloatArray]
"""(kernel float32[in, out], bias float32[out]) of a dense layer."""

_PAIRS_AT_ONCE = 256  # keeps the temporaries of both routines in a core's own cache


def rescore_dot_products(embeddings: FloatArray, pair_indices: PairIndices) -> npt.NDArray[np.float64]:
    """Return the dot product of each pair, summed over the components in their order.

    Every step is one IEEE operation on float64, so every machine gives the same bits.

    Args:
      embeddings: float32[N, D].
      pair_indices: int32[P, 2].

    Returns:
      float64[P].
    """
    products = np.empty(len(pair_indices))
    for start in range(0, len(pair_indices), _PAIRS_AT_ONCE):
        here = pair_indices[start : start + _PAIRS_AT_ONCE]
        # NumPy sums a lone column pairwise, in another order: a lone pair gets a companion.
        first, second = np.resize(here, (max(2, len(here)), 2)).T
        # Components lead: a sum over the leading axis adds whole rows, one after another.
        terms = embeddings[first].T.astype(np.float64, order="C")
        terms *= embeddings[second].T
        products[start : start + len(here)] = np.add.reduce(terms, axis=0)[: len(here)]
    return products


def rescore_logits(
    as_first: FloatArray, as_second: FloatArray, layers: Sequence[Layer], pair_indices: PairIndices
) -> npt.NDArray[np.float64]:
    """Return the classifier's logit of each pair, in the pair's own order.

    One vector-matrix product per pair and layer: a product of many pairs at once would be faster, but
    its rounding would depend on the place of a pair in it. Blocks of pairs go to threads of their own,
    which for the same reason changes no bit.

    Args:
      as_first: float32[N, H], what each image adds to the first layer as first of a pair.
      as_second: float32[N, H], as second.
      layers: the layers after the first, ReLU between them; the last has one output.
      pair_indices: int32[P, 2].

    Returns:
      float64[P].
    """
    *inner, (kernel, bias) = layers
    kernel, bias = kernel.astype(np.float64), bias.astype(np.float64)

    def score(start: int) -> npt.NDArray[np.float64]:
        hidden = last_hidden(as_first, as_second, inner, pair_indices[start : start + _PAIRS_AT_ONCE])
        return (np.matmul(hidden[:, None, :], kernel)[:, 0] + bias)[:, 0]

    blocks = threaded(score, range(0, len(pair_indices), _PAIRS_AT_ONCE))
    return np.concatenate([np.empty(0), *blocks])


def last_hidden(
    as_first: FloatArray, as_second: FloatArray, layers: Sequence[Layer], pair_indices: PairIndices
) -> npt.NDArray[np.float64]:
    """Return what enters the classifier's last layer, float64[P, H'], computed pair by pair.

    Args:
      as_first: as in `rescore_logits`.
      as_second: likewise.
      layers: those between the first and the last.
      pair_indices: int32[P, 2], few: all are held at once.
    """
    first, second = pair_indices.T
    hidden = np.maximum(as_first[first].astype(np.float64) + as_second[second], 0.0)
    for kernel, bias in layers:
        hidden = np.maximum(np.matmul(hidden[:, None, :], kernel.astype(np.float64))[:, 0] + bias, 0.0)
    return hidden
