"""One kernel for BCGUE on a GPU: all layers of the pair classifier, without hidden values in memory.

XLA writes the hidden layers of every pair to memory, kilobytes for each. Here a block of pairs goes
through all layers in registers, and only its logits are written. Operands are bfloat16, sums float32.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu


class LogitShape(NamedTuple):
    """Block sizes of the kernel; they only change its speed.

    Attributes:
      columns: pairs of one row that a program computes at a time; a power of two.
      rows: rows that it computes one after another.
      depth: inputs of the first layer read at a time, a power of two.
      num_warps: number of warps of a program.
      num_stages: number of its loads in flight at a time.
    """

    columns: int = 128
    rows: int = 1
    depth: int = 64
    num_warps: int = 8
    num_stages: int = 3


DEFAULT_SHAPE = LogitShape()
"""The fastest on an H200 of those in benchmarks/fused.py."""

_LARGEST_INDEX = 2**31  # the kernel counts logits in int32


def fits(as_first: jax.Array, as_second: jax.Array, layers: Any) -> bool:
    """Return whether the kernel can score a tile: two small hidden layers, and few enough logits."""
    widths = [kernel.shape[1] for kernel, _ in layers]
    num_logits = (len(as_first) + DEFAULT_SHAPE.rows) * (len(as_second) + DEFAULT_SHAPE.columns)
    return len(widths) == 3 and max(widths) <= 256 and num_logits < _LARGEST_INDEX


def fused_logits(
    as_first: jax.Array,
    as_second: jax.Array,
    layers: Any,
    *,
    shape: LogitShape = DEFAULT_SHAPE,
    interpret: bool = False,
) -> jax.Array:
    """Return the logit of every row with every column.

    Args:
      as_first: float32[R, H], contribution of the rows' images to the first layer, with the bias.
      as_second: float32[C, H], contribution of the columns' images.
      layers: (kernel, bias) of the two layers after the first and of the output, for which `fits` is true.
      shape: block sizes of the kernel.
      interpret: whether to run it step by step in JAX, as on a CPU.

    Returns:
      float32[R, C].
    """
    (inner, inner_bias), (last, last_bias), (output, output_bias) = layers
    num_rows, num_columns = len(as_first), len(as_second)
    inner_width, last_width = _power_of_two(inner.shape[1]), _power_of_two(last.shape[1])
    blocks = pl.cdiv(num_columns, shape.columns), pl.cdiv(num_rows, shape.rows)
    width = pl.cdiv(as_first.shape[1], shape.depth) * shape.depth
    # Zeros change no sum: relu(0 + 0) is 0, and so is the output of a hidden unit without weights.
    inputs = (
        _padded(as_first, blocks[1] * shape.rows, width).astype(jnp.bfloat16),
        _padded(as_second, blocks[0] * shape.columns, width).astype(jnp.bfloat16),
        _padded(inner, width, inner_width).astype(jnp.bfloat16),
        _padded(inner_bias[None], 1, inner_width)[0],
        _padded(last, inner_width, last_width).astype(jnp.bfloat16),
        _padded(last_bias[None], 1, last_width)[0],
        _padded(output.T, 1, last_width)[0],
        output_bias,
    )
    logits = pl.pallas_call(
        functools.partial(_logits_of_block, shape=shape),
        out_shape=jax.ShapeDtypeStruct((blocks[1] * shape.rows, blocks[0] * shape.columns), jnp.float32),
        grid=blocks,
        compiler_params=plgpu.CompilerParams(num_warps=shape.num_warps, num_stages=shape.num_stages),
        interpret=interpret,
        name="fused_logits",
    )(*inputs)
    return logits[:num_rows, :num_columns]


def _logits_of_block(
    first, second, inner, inner_bias, last, last_bias, output, output_bias, logits, *, shape
):
    columns = pl.ds(pl.program_id(0) * shape.columns, shape.columns)
    start = pl.program_id(1) * shape.rows

    def one_row(step: jax.Array, _: None) -> None:
        row = start + step

        def add_part(step: jax.Array, sums: jax.Array) -> jax.Array:
            part = pl.ds(step * shape.depth, shape.depth)
            values = plgpu.load(first.at[row, part])[None, :] + plgpu.load(second.at[columns, part])
            return sums + _product(jnp.maximum(values, jnp.bfloat16(0)), plgpu.load(inner.at[part, :]))

        sums = jnp.zeros((shape.columns, inner.shape[1]), jnp.float32)
        sums = jax.lax.fori_loop(0, first.shape[1] // shape.depth, add_part, sums)
        hidden = jnp.maximum(sums + inner_bias[...][None, :], 0.0).astype(jnp.bfloat16)
        sums = _product(hidden, last[...])
        hidden = jnp.maximum(sums + last_bias[...][None, :], 0.0)
        values = jnp.sum(hidden * output[...][None, :], axis=1) + output_bias[...]
        plgpu.store(logits.at[row, columns], values)

    jax.lax.fori_loop(0, shape.rows, one_row, None)


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.dot(left, right, preferred_element_type=jnp.float32)


def _padded(array: jax.Array, num_rows: int, num_columns: int) -> jax.Array:
    return jnp.pad(array, ((0, num_rows - array.shape[0]), (0, num_columns - array.shape[1])))


def _power_of_two(width: int) -> int:
    return max(16, 1 << (width - 1).bit_length())
