"""One kernel for MGUE on a GPU: product, distance and bound in one pass; no score is stored.

XLA writes a tile's scores to memory and reads them again to compare them. Here they stay in registers, and
only the few pairs within the bound are appended to a list. `stored_pass` is the variant by XLA, for other
devices and for tests.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu


class FusedShape(NamedTuple):
    """Block sizes of the kernel; they only change its speed.

    Attributes:
      rows: rows of scores that one program computes, a power of two.
      columns: columns of scores, likewise.
      depth: components of the embeddings read at a time, likewise.
      num_warps: number of warps of a program.
      num_stages: number of its loads in flight at a time.
    """

    rows: int = 128
    columns: int = 128
    depth: int = 32
    num_warps: int = 4
    num_stages: int = 3


SHAPES = {3: FusedShape(), 1: FusedShape(depth=64, num_warps=8)}
"""By number of passes, the fastest on an H200 of those in benchmarks/fused.py."""

_MAJORS_WITH_ROOM = ("9", "10")


def has_room(device: Any) -> bool:
    """Return whether a device is an NVIDIA GPU with the 128 KiB of shared memory that our kernels need.

    GPUs of compute capability 9 and 10 have it; others have less, or were not checked.
    """
    version = str(getattr(device, "compute_capability", ""))
    return device.platform == "gpu" and version.split(".")[0] in _MAJORS_WITH_ROOM


class FoundPairs(NamedTuple):
    """Pairs within the bound, in no particular order.

    Attributes:
      num_found: int32[1], number of pairs; those beyond the capacity are counted but not listed.
      distances: float32[capacity], to the boundary; only the first `num_found` are set.
      first: int32[capacity], smaller image of each pair.
      second: int32[capacity], larger image.
    """

    num_found: jax.Array
    distances: jax.Array
    first: jax.Array
    second: jax.Array


def split_operands(embeddings: jax.Array, num_passes: int, shape: FusedShape) -> tuple[jax.Array, ...]:
    """Split float32 embeddings into bfloat16 terms, padded so that no block reads past the end.

    Args:
      embeddings: float32[N, D].
      num_passes: 3 adds a second term with what the first one loses; 1 does not.
      shape: block sizes of the kernel.

    Returns:
      One array or two, bfloat16[N + padding, D + padding]; the padding is zeros.
    """
    longest = max(shape.rows, shape.columns)
    padded = jnp.pad(embeddings, ((0, longest), (0, -embeddings.shape[1] % shape.depth)))
    # `reduce_precision`, because XLA may remove a conversion to bfloat16 and back.
    high = jax.lax.reduce_precision(padded, exponent_bits=8, mantissa_bits=7)
    terms = (high, padded - high)[: 2 if num_passes == 3 else 1]
    return tuple(term.astype(jnp.bfloat16) for term in terms)


def find_pairs(
    operands: tuple[jax.Array, ...],
    cells: jax.Array,
    boundary: jax.Array,
    bound: jax.Array,
    *,
    tile_size: int,
    capacity: int,
    shape: FusedShape,
    interpret: bool = False,
) -> FoundPairs:
    """List the pairs of some tiles whose score is within `bound` of the boundary.

    Args:
      operands: from `split_operands`: two for three passes, one for one pass.
      cells: int32[tiles, 4], for each tile the first row and column that it reads, and the first row and
        column that it is responsible for; all -1 for an unused place.
      boundary: float32[].
      bound: float32[].
      tile_size: T, images along a tile's side.
      capacity: maximum number of pairs to list.
      shape: block sizes of the kernel.
      interpret: whether to run it step by step in JAX, as on a CPU.
    """
    blocks = pl.cdiv(tile_size, shape.rows), pl.cdiv(tile_size, shape.columns)
    limits = jnp.stack([boundary, bound])
    inputs = (cells, limits, *operands, jnp.zeros(1, jnp.int32))
    listed = jax.ShapeDtypeStruct((capacity,), jnp.int32)
    return FoundPairs(
        *pl.pallas_call(
            functools.partial(
                _find_in_block, tile_size=tile_size, row_blocks=blocks[0], capacity=capacity, shape=shape
            ),
            out_shape=(
                jax.ShapeDtypeStruct((1,), jnp.int32),
                jax.ShapeDtypeStruct((capacity,), jnp.float32),
                listed,
                listed,
            ),
            grid=(blocks[0] * blocks[1], len(cells)),
            input_output_aliases={len(inputs) - 1: 0},
            compiler_params=plgpu.CompilerParams(num_warps=shape.num_warps, num_stages=shape.num_stages),
            interpret=interpret,
            name="find_pairs",
        )(*inputs)
    )


def _find_in_block(cells, limits, *refs, tile_size: int, row_blocks: int, capacity: int, shape: FusedShape):
    *operands, _, count, distances, first, second = refs
    tile, block = pl.program_id(1), pl.program_id(0)
    boundary, bound = limits[0], limits[1]
    first_row, first_column = cells[tile, 0], cells[tile, 1]
    # Neighbouring programs share their columns, which are then still in the cache.
    row = first_row + jax.lax.rem(block, row_blocks) * shape.rows
    column = first_column + jax.lax.div(block, row_blocks) * shape.columns

    @pl.when(first_row >= 0)
    def _() -> None:
        away = jnp.abs(_block_scores(operands, row, column, shape) - boundary)

        @pl.when(jnp.min(away) <= bound)
        def _() -> None:
            rows = row + jax.lax.broadcasted_iota(jnp.int32, away.shape, 0)
            columns = column + jax.lax.broadcasted_iota(jnp.int32, away.shape, 1)
            is_own = (rows >= cells[tile, 2]) & (columns >= cells[tile, 3]) & (rows < columns)
            in_tile = (rows < first_row + tile_size) & (columns < first_column + tile_size)
            is_found = (away <= bound) & is_own & in_tile
            place = _reserve(count, is_found)
            is_listed = is_found & (place < capacity)
            for array, values in ((distances, away), (first, rows), (second, columns)):
                plgpu.store(array.at[place], values, mask=is_listed)


def _reserve(count, is_found: jax.Array) -> jax.Array:
    """Reserve a place in the list for each pair found; return the places, int32 of the same shape."""
    found = is_found.astype(jnp.int32)
    in_row = jnp.sum(found, axis=1)
    before = (jnp.cumsum(in_row) - in_row)[:, None] + jnp.cumsum(found, axis=1) - found
    return plgpu.atomic_add(count, (np.int32(0),), jnp.sum(in_row)) + before


def _block_scores(operands, row, column, shape: FusedShape) -> jax.Array:
    dim = operands[0].shape[1]

    def add_part(step: jax.Array, scores: jax.Array) -> jax.Array:
        part = pl.ds(step * shape.depth, shape.depth)
        left = [plgpu.load(operand.at[pl.ds(row, shape.rows), part]) for operand in operands]
        right = [plgpu.load(operand.at[pl.ds(column, shape.columns), part]) for operand in operands]
        if len(operands) == 2:  # the product of both second terms is smaller than the rounding
            scores += _product(left[0], right[1])
            scores += _product(left[1], right[0])
        return scores + _product(left[0], right[0])

    nothing = jnp.zeros((shape.rows, shape.columns), jnp.float32)
    return jax.lax.fori_loop(0, dim // shape.depth, add_part, nothing)


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    return jax.lax.dot_general(left, right, (((1,), (1,)), ((), ())), preferred_element_type=jnp.float32)
