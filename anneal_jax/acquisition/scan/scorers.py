"""Scores of pairs for the all-pairs scan: their distances to the boundary of similar and dissimilar.

A scorer consists of data and plain functions. Its arrays are arguments of the compiled tile function, not
constants in it, so another threshold or a retrained classifier of the same shapes needs no compilation.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.scan import fused_logits
from anneal_jax.acquisition.scan.fused_distances import has_room
from anneal_jax.acquisition.scan.rescoring import (
    FLOAT32_UNIT,
    Layer,
    dot_product_error,
    rescore_dot_products,
    rescore_logits,
)
from anneal_jax.errors import ConfigError
from anneal_jax.types import FloatArray, PairIndices

_TENSOR_CORE_UNIT = 2.0**-22  # tensor cores truncate their float32 sums
_HIDDEN_AT_ONCE = 1 << 18  # pairs whose hidden values XLA holds: half a gigabyte for 512 units
_LARGEST_FUSED = 1e30  # squared norm up to which no partial sum comes near the end of float32
_BFLOAT16_UNIT = 2.0**-7  # truncation, the worse of the two ways in which operands are cut


class Precision(NamedTuple):
    """How matrix products are computed, and with what accuracy.

    Attributes:
      algorithm: argument of `jax.lax.dot_general`.
      operand_error: bound of the relative error of one product x * y from shortened operands.
      unit: bound of the relative error of one addition.
      num_passes: number of products of bfloat16 terms per float32 product; 0 if it is computed as such.
    """

    algorithm: jax.lax.Precision | jax.lax.DotAlgorithmPreset
    operand_error: float
    unit: float
    num_passes: int


PRECISIONS: Mapping[str, Precision] = {
    "float32": Precision(jax.lax.Precision.HIGHEST, 0.0, FLOAT32_UNIT, 0),
    "bfloat16_3x": Precision(
        jax.lax.DotAlgorithmPreset.BF16_BF16_F32_X3, 3.0 * _BFLOAT16_UNIT**2, _TENSOR_CORE_UNIT, 3
    ),
    "bfloat16": Precision(
        jax.lax.DotAlgorithmPreset.BF16_BF16_F32,
        2.0 * _BFLOAT16_UNIT + _BFLOAT16_UNIT**2,
        _TENSOR_CORE_UNIT,
        1,
    ),
}
"""`float32`; `bfloat16_3x`, three passes, nearly as accurate; `bfloat16`, approximate. A backend without
such units (CPU) computes all three in float32."""


class PairScorer(NamedTuple):
    """Scores pairs by tiles; pairs with scores near `boundary` are the most useful.

    Attributes:
      images: pytree of float32[N, ...], the data of each image.
      params: pytree of arrays that all tiles share.
      boundary: the score between similar and dissimilar; a float32 number.
      score_tile: maps (rows of images, columns of images, params, algorithm) to float32[rows, columns].
        A module-level function, because it is the key of compiled tiles.
      rescore: maps int32[P, 2] to float64[P], the same scores by a fixed routine.
      error_bound: maps a precision to eps >= |distance by a tile - distance re-scored|, proved; inf if
        no useful bound is known, so that the scan estimates one.
      tile_size: images along a tile's side on CPU.
      tile_size_accelerator: the same on GPU and TPU.
      band_pairs: number of candidates near the boundary that are re-scored in about a second.
      is_dot_product: whether a score is the product of two rows of `images` and cannot overflow, so that
        `fused_distances` can find the pairs on a GPU.
    """

    images: Any
    params: Any
    boundary: float
    score_tile: Callable[[Any, Any, Any, Any], jax.Array]
    rescore: Callable[[PairIndices], npt.NDArray[np.float64]]
    error_bound: Callable[[Precision], float]
    tile_size: int
    tile_size_accelerator: int
    band_pairs: int
    is_dot_product: bool = False

    @property
    def num_images(self) -> int:
        """N."""
        return jax.tree.leaves(self.images)[0].shape[0]


def threshold_scorer(embeddings: npt.ArrayLike, threshold: float) -> PairScorer:
    """MGUE: score a pair by s = g_i . g_j; the boundary is the threshold tau.

    A tile's |s - tau| differs from its float64 value by at most eps, a proof for any order of summation:
    eps = d u / (1 - d u) M^2 + u (M^2 + |tau|), with d components (times the passes that the precision
    takes), unit u and M the largest norm, plus M^2 times the error of shortened operands, and that of
    numbers below float32's smallest normal number. For d = 256 and unit vectors that is 1.5e-5
    in `float32`, 3.7e-4 in `bfloat16_3x` and 0.016 in `bfloat16`; errors that occur are far smaller.
    (A TPU emulates float32 products; the scan takes no bound as proved there.)

    Args:
      embeddings: float32[N, D], unit norm for cosine similarity.
      threshold: tau, rounded to float32.

    Raises:
      ValueError: an embedding has NaN or infinity, the array is not [N, D], or the threshold is not a
        finite float32.

    Source: hoxha2024anneal (MGUE); the bound is of higham2002accuracy, section 3.1.
    """
    vectors = _checked(embeddings, "embeddings")
    with np.errstate(over="ignore"):
        boundary = float(np.float32(threshold))
    if not math.isfinite(boundary):
        raise ValueError(f"threshold={threshold} must be a finite float32, between -1 and 1 for cosines.")
    largest = _largest_squared_norm(vectors)
    return PairScorer(
        images=vectors,
        params=(),
        boundary=boundary,
        score_tile=_dot_product_tile,
        rescore=functools.partial(rescore_dot_products, vectors),
        error_bound=functools.partial(_dot_product_error, vectors.shape[1], largest, abs(boundary)),
        tile_size=2048,
        tile_size_accelerator=8192,
        band_pairs=1 << 19,
        is_dot_product=largest < _LARGEST_FUSED,
    )


def classifier_scorer(
    as_first: npt.ArrayLike,
    as_second: npt.ArrayLike,
    layers: Sequence[tuple[npt.ArrayLike, npt.ArrayLike]],
    *,
    two_order: bool = False,
) -> PairScorer:
    """BCGUE: score a pair by the pair classifier's logit; the boundary is 0.

    logit(i, j) = rest(relu(as_first[i] + as_second[j])), one pass in canonical order i < j. The
    proved error bound is thousands of times as large as the errors that occur, so it is not used: the
    scan estimates a bound from the pairs that it re-scores.

    Args:
      as_first: float32[N, H], contribution of an image to the first layer as the first of a pair, with
        the bias.
      as_second: float32[N, H], its contribution as the second.
      layers: (kernel [in, out], bias [out]) of each layer after the first, ReLU between them; one output.
      two_order: score by the mean logit of (i, j) and (j, i), at half the speed.

    Raises:
      ValueError: an array has NaN or infinity, or the shapes do not match.

    Source: henkel2023anneal, hoxha2024anneal (BCGUE).
    """
    images = _checked(as_first, "as_first"), _checked(as_second, "as_second")
    rest = tuple((_checked(kernel, "a kernel"), np.asarray(bias, np.float32)) for kernel, bias in layers)
    _check_chain(images, rest)
    return PairScorer(
        images=images,
        params=rest,
        boundary=0.0,
        score_tile=_logit_tile_both_orders if two_order else _logit_tile,
        rescore=functools.partial(_rescore_both_orders if two_order else rescore_logits, *images, rest),
        error_bound=_no_proved_error,
        tile_size=64,
        tile_size_accelerator=2048,
        band_pairs=4096,
    )


def precision_named(name: str) -> Precision:
    """Return a precision by name.

    Raises:
      ConfigError: there is none of that name.
    """
    if name not in PRECISIONS:
        raise ConfigError(f"precision={name!r} is not known; choose one of {sorted(PRECISIONS)}.")
    return PRECISIONS[name]


def _dot_product_tile(rows: jax.Array, columns: jax.Array, params: Any, algorithm: Any) -> jax.Array:
    del params
    return _product(rows, columns, 1, algorithm)


def _logit_tile(rows: Any, columns: Any, layers: Any, algorithm: Any) -> jax.Array:
    return _logits(rows[0], columns[1], layers, algorithm)


def _logit_tile_both_orders(rows: Any, columns: Any, layers: Any, algorithm: Any) -> jax.Array:
    forward = _logits(rows[0], columns[1], layers, algorithm)
    backward = _logits(columns[0], rows[1], layers, algorithm)
    return 0.5 * (forward + backward.T)


def _logits(as_first: jax.Array, as_second: jax.Array, layers: Any, algorithm: Any) -> jax.Array:
    is_shortened = algorithm == PRECISIONS["bfloat16"].algorithm
    if is_shortened and _on_known_gpu() and fused_logits.fits(as_first, as_second, layers):
        return jax.lax.platform_dependent(
            as_first,
            as_second,
            layers,
            cuda=fused_logits.fused_logits,
            default=functools.partial(logits_by_layers, algorithm=algorithm),
        )
    return logits_by_layers(as_first, as_second, layers, algorithm)


def _on_known_gpu() -> bool:
    return all(has_room(device) for device in jax.local_devices())


def logits_by_layers(as_first: jax.Array, as_second: jax.Array, layers: Any, algorithm: Any) -> jax.Array:
    """Return the logits float32[R, C] of a tile without the fused kernel.

    Some rows are scored at a time, because the hidden values of a whole tile may not fit into memory.

    Args:
      as_first: float32[R, H], as for `classifier_scorer`.
      as_second: float32[C, H], likewise.
      layers: likewise.
      algorithm: how matrix products are computed: the `algorithm` of a `Precision`.
    """
    num_rows, num_columns = len(as_first), len(as_second)
    at_once = max(1, _HIDDEN_AT_ONCE // num_columns)
    if at_once >= num_rows:
        return _logits_of_rows(as_first, as_second, layers, algorithm)
    padded = jnp.pad(as_first, ((0, -num_rows % at_once), (0, 0)))
    groups = padded.reshape(-1, at_once, as_first.shape[1])
    logits = jax.lax.map(lambda rows: _logits_of_rows(rows, as_second, layers, algorithm), groups)
    return logits.reshape(-1, num_columns)[:num_rows]


def _logits_of_rows(as_first: jax.Array, as_second: jax.Array, layers: Any, algorithm: Any) -> jax.Array:
    values = (as_first[:, None, :] + as_second[None, :, :]).reshape(-1, as_first.shape[1])
    for kernel, bias in layers:
        values = _product(jax.nn.relu(values), kernel, 0, algorithm) + bias[None, :]
    return values.reshape(len(as_first), len(as_second))


def _product(left: jax.Array, right: jax.Array, right_axis: int, algorithm: Any) -> jax.Array:
    dimensions = (((1,), (right_axis,)), ((), ()))
    return jax.lax.dot_general(
        left, right, dimensions, precision=algorithm, preferred_element_type=jnp.float32
    )


def _rescore_both_orders(
    as_first: FloatArray, as_second: FloatArray, layers: Sequence[Layer], pair_indices: PairIndices
) -> npt.NDArray[np.float64]:
    forward = rescore_logits(as_first, as_second, layers, pair_indices)
    return 0.5 * (forward + rescore_logits(as_first, as_second, layers, pair_indices[:, ::-1]))


def _no_proved_error(precision: Precision) -> float:
    del precision
    return math.inf


def _dot_product_error(dim: int, largest: float, boundary: float, precision: Precision) -> float:
    product = dot_product_error(dim, largest, precision.unit, precision.operand_error, precision.num_passes)
    return product + FLOAT32_UNIT * (largest + boundary)  # of the distance from the boundary


def _largest_squared_norm(vectors: FloatArray) -> float:
    """Return a bound of the largest squared norm, a few millionths above it."""
    with np.errstate(over="ignore"):
        largest = float(np.max(np.einsum("nd,nd->n", vectors, vectors), initial=0.0))
    if 1e-20 < largest < math.inf:  # hardly any underflow, no overflow
        return largest * (1.0 + 2.0 * (vectors.shape[1] + 1) * FLOAT32_UNIT)
    squared_norms = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    return float(np.max(squared_norms, initial=0.0))


def _checked(array: npt.ArrayLike, name: str) -> FloatArray:
    values = np.ascontiguousarray(array, np.float32)
    if values.ndim != 2:
        raise ValueError(f"{name} must have two axes, [N, D]; this array has shape {values.shape}.")
    with np.errstate(invalid="ignore", over="ignore"):
        if math.isfinite(np.max(np.einsum("nd,nd->n", values, values), initial=0.0)):
            return values  # five times faster than the next check, which separates large from infinite
        # A sum is finite if all terms are: float64 cannot overflow on float32 terms.
        broken = np.flatnonzero(~np.isfinite(np.sum(values, axis=1, dtype=np.float64)))
    if broken.size:
        raise ValueError(f"{name} holds NaN or infinity in row {broken[0]}; leave that image out.")
    return values


def _check_chain(images: tuple[FloatArray, FloatArray], layers: Sequence[Layer]) -> None:
    if images[0].shape != images[1].shape:
        raise ValueError(f"as_first {images[0].shape} and as_second {images[1].shape} differ in shape.")
    width = images[0].shape[1]
    for place, (kernel, bias) in enumerate(layers):
        if kernel.shape[0] != width or bias.shape != kernel.shape[1:]:
            raise ValueError(
                f"layer {place} of the classifier takes {width} values, but its kernel is {kernel.shape} "
                f"and its bias {bias.shape}."
            )
        width = kernel.shape[1]
    if width != 1 or not layers:
        raise ValueError(f"the classifier must end in one logit; its last layer has {width} outputs.")
