"""Float64 scores of a few pairs in one fixed order of operations, and bounds of a device's errors.

The scan finds its candidates in the device's precision; their scores here decide the order. Each pair is
computed separately, so its score does not depend on the other pairs, and equal images get equal scores to
the last bit.
"""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from anneal_jax.files.threads import threaded
from anneal_jax.types import FloatArray, PairIndices

Layer = tuple[FloatArray, FloatArray]
"""(kernel float32[in, out], bias float32[out]) of a dense layer."""

FLOAT32_UNIT = 2.0**-24
"""Bound of the relative error of one operation in float32."""

_FLOAT32_TINY = 2.0**-126  # smallest normal number
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
        # NumPy sums a single column in another order, pairwise, so a single pair gets a companion.
        first, second = np.resize(here, (max(2, len(here)), 2)).T
        # Components come first: a sum over the first axis adds whole rows, one after another.
        terms = embeddings[first].T.astype(np.float64, order="C")
        terms *= embeddings[second].T
        products[start : start + len(here)] = np.add.reduce(terms, axis=0)[: len(here)]
    return products


def dot_product_error(
    dim: int, largest: float, unit: float = FLOAT32_UNIT, operand_error: float = 0.0, num_passes: int = 0
) -> float:
    """Return a bound of the error of a device's product of two vectors, for any order of summation.

    gamma_D M^2 with gamma_D = D u / (1 - D u), plus M^2 times the error of shortened operands, the error of
    float64, and that of numbers below float32's smallest normal number.

    Args:
      dim: D, components of a vector.
      largest: M^2, the largest squared norm.
      unit: u, bound of the relative error of one addition.
      operand_error: bound of the relative error of one product from shortened operands.
      num_passes: number of products per float32 product; 0 if it is computed as such.

    Source: higham2002accuracy, section 3.1 (eq. 3.5).

    >>> f"{dot_product_error(256, 1.0):.1e}"
    '1.5e-05'
    """
    num_terms = dim * max(1, num_passes)  # all passes may add to one sum
    summation = num_terms * unit / (1.0 - num_terms * unit) * (1.0 + operand_error)
    rescoring = dim * 2.0**-52  # of the float64 routine, generously
    # Devices may take subnormal operands, products and sums for zero.
    underflow = _FLOAT32_TINY * num_terms * (3.0 + 2.0 * math.sqrt(largest))
    return largest * (summation + operand_error + rescoring) + underflow


def rescore_logits(
    as_first: FloatArray, as_second: FloatArray, layers: Sequence[Layer], pair_indices: PairIndices
) -> npt.NDArray[np.float64]:
    """Return the classifier's logit of each pair, in the pair's own order.

    One vector-matrix product is computed per pair and layer. A product of many pairs at once would be
    faster, but its rounding would depend on the place of a pair in it. Blocks of pairs are computed in
    several threads, which changes no bit.

    Args:
      as_first: float32[N, H], contribution of each image to the first layer as the first of a pair.
      as_second: float32[N, H], its contribution as the second.
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
    """Return the input of the classifier's last layer, float64[P, H'], computed pair by pair.

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
