"""Convolution and pooling with gradients that are also fast on a CPU.

On a CPU, XLA's gradient of a kernel takes up to ten times as long as the forward pass, and that of a window
maximum three times as long as necessary. These versions compute the same with matrix products and maxima of
shifted copies. `python benchmarks/convolution.py` measures layers, and `benchmarks/training.py` an epoch.
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from anneal_jax.types import Params

_FEW_CHANNELS = 32
"""Number of channels below which products combine a whole kernel row, because thinner products are slow."""

_NHWC = ("NHWC", "HWIO", "NHWC")


def conv_general_dilated(
    inputs: jax.Array,
    kernel: jax.Array,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    **options: Any,
) -> jax.Array:
    """Convolve like `jax.lax`; on a CPU the kernel's gradient is a sum of matrix products.

    For `flax.linen.Conv` with its default options: no dilation, no groups.

    Args:
      inputs: float[B, H, W, C].
      kernel: float[h, w, C, D], of the same dtype.
      window_strides: pixels between outputs, down and across.
      padding: zeros before and after, down and across; or a name, such as "SAME".
      **options: passed to `jax.lax.conv_general_dilated` if JAX's default backend, when this is traced, is
        not a CPU.

    Returns:
      float[B, H', W', D].
    """
    if jax.default_backend() != "cpu":
        return jax.lax.conv_general_dilated(inputs, kernel, window_strides, padding, **options)
    if isinstance(padding, str):
        padding = jax.lax.padtype_to_pads(inputs.shape[1:3], kernel.shape[:2], window_strides, padding)
    down, across = padding
    return _conv(inputs, kernel, tuple(window_strides), (tuple(down), tuple(across)))


def max_pool(inputs: jax.Array) -> jax.Array:
    """Take the maximum over 3x3 windows at every second pixel; the border counts as -inf.

    On a CPU, equal maxima of a window share the gradient; elsewhere the first one gets all of it.

    Args:
      inputs: float[B, H, W, C].

    Returns:
      float[B, ceil(H / 2), ceil(W / 2), C].
    """
    padded = jnp.pad(inputs, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-jnp.inf)
    if jax.default_backend() != "cpu":
        window, strides = (1, 3, 3, 1), (1, 2, 2, 1)
        return jax.lax.reduce_window(padded, -jnp.inf, jax.lax.max, window, strides, "VALID")
    height, width = ((side + 1) // 2 for side in inputs.shape[1:3])
    shifted = [_every(padded, y, x, (2, 2), (height, width)) for y in range(3) for x in range(3)]
    return functools.reduce(jnp.maximum, shifted)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv(inputs: jax.Array, kernel: jax.Array, strides: Any, padding: Any) -> jax.Array:
    return jax.lax.conv_general_dilated(inputs, kernel, strides, padding, dimension_numbers=_NHWC)


def _forward(inputs: jax.Array, kernel: jax.Array, strides: Any, padding: Any) -> tuple[jax.Array, Params]:
    return _conv(inputs, kernel, strides, padding), (inputs, kernel)


def _backward(strides: Any, padding: Any, kept: Params, outer: jax.Array) -> tuple[jax.Array, jax.Array]:
    inputs, kernel = kept
    _, pull = jax.vjp(
        lambda inputs: jax.lax.conv_general_dilated(
            inputs, kernel, strides, padding, dimension_numbers=_NHWC
        ),
        inputs,
    )
    return pull(outer)[0], _kernel_gradient(inputs, outer, kernel.shape, strides, padding)


def _kernel_gradient(
    inputs: jax.Array, outer: jax.Array, shape: tuple[int, ...], strides: Any, padding: Any
) -> jax.Array:
    """Return float[h, w, C, D]: for each kernel position, the product of its inputs and the gradient."""
    rows, columns, channels, _ = shape
    height, width = outer.shape[1:3]
    padded = jnp.pad(inputs, ((0, 0), *padding, (0, 0)))
    gradient = outer.reshape(-1, outer.shape[-1])

    def product(met: jax.Array) -> jax.Array:
        return met.reshape(-1, met.shape[-1]).T @ gradient

    if channels < _FEW_CHANNELS:
        met = [_every(padded, 0, x, (1, strides[1]), (padded.shape[1], width)) for x in range(columns)]
        beside = jnp.concatenate(met, axis=-1)
        products = [product(_every(beside, y, 0, (strides[0], 1), (height, width))) for y in range(rows)]
    else:
        products = [
            product(_every(padded, y, x, strides, (height, width)))
            for y in range(rows)
            for x in range(columns)
        ]
    return jnp.stack(products).reshape(shape)


_conv.defvjp(_forward, _backward)


def _every(images: jax.Array, y: int, x: int, strides: tuple[int, int], size: tuple[int, int]) -> jax.Array:
    """Return `size` pixels from (y, x), with a stride down and across."""
    ends = (
        start + step * (count - 1) + 1 for start, step, count in zip((y, x), strides, size, strict=True)
    )
    return jax.lax.slice(images, (0, y, x, 0), (images.shape[0], *ends, images.shape[-1]), (1, *strides, 1))
