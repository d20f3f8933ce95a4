"""Features of tiles, by a backbone, in batches of one shape."""

import functools
from collections.abc import Iterable

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from anneal_jax.files.progress import progress_bar
from anneal_jax.models.backbones import Backbone
from anneal_jax.training.blocks import padded
from anneal_jax.training.feed import TileFeed, placed
from anneal_jax.training.prefetch import one_behind
from anneal_jax.types import FloatArray, IntArray, Params

_CPU_BATCH_SIZE, _ACCELERATOR_BATCH_SIZE = 8, 256


def default_batch_size() -> int:
    """Return the number of tiles per step: few on a CPU, so that feature maps nearly fit its cache."""
    return _CPU_BATCH_SIZE if jax.default_backend() == "cpu" else _ACCELERATOR_BATCH_SIZE


def encode(backbone: Backbone, variables: Params, images: np.ndarray) -> FloatArray:
    """Return the features float32[N, F] of tiles uint8[N, H, H, S] in memory.

    Args:
      backbone: the network.
      variables: its variables.
      images: the tiles.
    """
    size = default_batch_size()
    batches = (images[start : start + size] for start in range(0, len(images), size))
    return encode_batches(backbone, variables, batches, num_tiles=len(images), batch_size=size)


def encode_batches(
    backbone: Backbone,
    variables: Params,
    batches: Iterable[np.ndarray],
    *,
    num_tiles: int,
    batch_size: int,
) -> FloatArray:
    """Compute the features of tiles that come batch by batch.

    Args:
      backbone: the network.
      variables: its variables.
      batches: uint8[<= batch_size, H, H, S] each; at least one.
      num_tiles: N, total number of tiles.
      batch_size: size to which every batch is padded, so that there is one compilation.

    Returns:
      float32[N, F], in the order of the tiles.
    """
    variables = jax.device_put(variables)
    features = []
    with progress_bar(num_tiles, "features", "tile") as progress:
        under_way = (
            (len(tiles), _encode_batch(backbone, variables, padded(tiles, batch_size))) for tiles in batches
        )
        for count, encoded in one_behind(under_way):
            features.append(np.asarray(encoded)[:count])
            progress.update(count)
    return np.concatenate(features)


def encode_feed(
    backbone: Backbone, variables: Params, feed: TileFeed, tiles: IntArray | None = None
) -> FloatArray:
    """Return the features float32[M, F] of tiles of a feed; each of its devices encodes its part.

    Args:
      backbone: the network.
      variables: its variables.
      feed: provides the tiles.
      tiles: int32[M], rows of the feed, M >= 1; None: all.
    """
    tiles = np.arange(feed.num_tiles, dtype=np.int32) if tiles is None else tiles
    size = default_batch_size() * feed.mesh.size
    everywhere = NamedSharding(feed.mesh, PartitionSpec())
    variables = placed(variables, everywhere)
    rows = (np.take(tiles, np.arange(at, at + size), mode="wrap") for at in range(0, len(tiles), size))
    with progress_bar(len(tiles), "features", "tile") as progress:
        features = []
        blocks = feed.blocks(rows)
        for encoded in one_behind(
            _encode_block(backbone, everywhere, variables, block) for block in blocks
        ):
            features.append(np.asarray(encoded))
            progress.update(size)
    return np.concatenate(features)[: len(tiles)]


@functools.partial(jax.jit, static_argnums=(0, 1))
def _encode_block(
    backbone: Backbone, everywhere: NamedSharding, variables: Params, tiles: jax.Array
) -> jax.Array:
    # Gathered on every device: a process cannot read arrays on the devices of another.
    return jax.lax.with_sharding_constraint(_encode_batch(backbone, variables, tiles), everywhere)


@functools.partial(jax.jit, static_argnums=0)
def _encode_batch(backbone: Backbone, variables: Params, images: jax.typing.ArrayLike) -> jax.Array:
    # An accelerator's faster, coarser products would make features depend on the machine.
    with jax.default_matmul_precision("float32"):
        return backbone.apply(variables, images)
