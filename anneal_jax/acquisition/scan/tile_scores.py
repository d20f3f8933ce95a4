"""The compiled scoring of one tile on each device, and the copying of its scores to the host."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpy.typing as npt
from jax.sharding import Mesh, PartitionSpec

from anneal_jax.types import FloatArray

MESH_AXIS = "tiles"


class TileScores(NamedTuple):
    """Scores of one tile, still on their device.

    Attributes:
      scores: float32[1, T, T].
      nearest: float32[1, T T / strip], the smallest distance to the boundary in each strip, that is, in
        each run of `strip` neighbours within a row.
    """

    scores: jax.Array
    nearest: jax.Array


class TileLayout(NamedTuple):
    """What a compiled tile depends on, besides the shapes of its arrays.

    Attributes:
      score_tile: as in `PairScorer`.
      algorithm: of matrix products, an argument of `jax.lax.dot_general`.
      tile_size: T.
      strip: length of a strip; divides T.
      mesh: one axis of devices, one tile each.
    """

    score_tile: Callable[..., jax.Array]
    algorithm: Any
    tile_size: int
    strip: int
    mesh: Mesh


@functools.partial(jax.jit, static_argnames="layout")
def score_tiles(
    images: Any, params: Any, boundary: jax.Array, starts: jax.Array, *, layout: TileLayout
) -> TileScores:
    """Score one tile on each device.

    Args:
      images: pytree of float32[N, ...], a copy on every device.
      params: pytree of arrays that all tiles share, likewise.
      boundary: float32[], score from which distances are measured, likewise.
      starts: int32[devices, 2], first row and first column of each tile.
      layout: layout of the tiles.

    Returns:
      Scores and nearest distances, one tile on each device.
    """

    def one_tile(images: Any, params: Any, boundary: jax.Array, starts: jax.Array) -> TileScores:
        def block(start: jax.Array) -> Any:
            return jax.tree.map(
                lambda array: jax.lax.dynamic_slice_in_dim(array, start, layout.tile_size), images
            )

        rows, columns = block(starts[0, 0]), block(starts[0, 1])
        scores = layout.score_tile(rows, columns, params, layout.algorithm)
        strips = jnp.abs(scores - boundary).reshape(1, -1, layout.strip)
        return TileScores(scores[None], jnp.min(strips, axis=2))

    everywhere, split = PartitionSpec(), PartitionSpec(MESH_AXIS)
    specs = (everywhere, everywhere, everywhere, split)
    # A kernel does not declare how its results vary over the mesh.
    mapped = jax.shard_map(one_tile, mesh=layout.mesh, in_specs=specs, out_specs=split, check_vma=False)
    return mapped(images, params, boundary, starts)


@functools.partial(jax.jit, static_argnames="length")
def _take_strips(scores: jax.Array, strips: jax.Array, *, length: int) -> jax.Array:
    return jnp.take(scores.reshape(-1, length), strips, axis=0)


def fetch_strips(scores: jax.Array, strips: npt.NDArray[np.integer], length: int) -> FloatArray:
    """Copy some strips of a tile to the host; on a CPU directly from the tile's memory.

    Args:
      scores: float32[1, T, T] on one device.
      strips: int[S], at least one, numbered row by row.
      length: length of a strip.

    Returns:
      float32[S, length].
    """
    if next(iter(scores.devices())).platform == "cpu":
        return np.asarray(scores).reshape(-1, length)[strips]
    return take_strips(scores, strips, length)


def take_strips(scores: jax.Array, strips: npt.NDArray[np.integer], length: int) -> FloatArray:
    """Select strips on the device and copy only those, for devices that do not share the host's memory."""
    # Powers of two: a dozen compilations at most, not one per number of strips.
    padded = np.zeros(1 << (len(strips) - 1).bit_length(), np.int32)
    padded[: len(strips)] = strips
    return np.asarray(_take_strips(scores, padded, length=length))[: len(strips)]
