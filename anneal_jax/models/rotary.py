"""Rotary positions of patches in two directions (su2024roformer), as DINOv3 has them (simeoni2025dinov3).

The values of a query or key form pairs, each turned in its plane by an angle that grows with the place of
the patch. Attention then sees how far two patches lie apart, down and across. Places are those of the
centres on a tile that reaches from -1 to 1, however many patches it has, so nothing is resampled.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BASE = 100.0
"""The shortest period of the turns is half a tile; all others are less than so many times as long."""


class Rotation(NamedTuple):
    """By how much each pair of values of each token is turned.

    Attributes:
      cosines: float32[T, C / 2], of the angles.
      sines: float32[T, C / 2].
    """

    cosines: np.ndarray
    sines: np.ndarray


def patch_rotation(grid: tuple[int, int], head_width: int, num_lone: int) -> Rotation:
    """Return the rotation of all tokens of a tile.

    Args:
      grid: rows and columns of patches.
      head_width: C, values per query of a head; a multiple of 4, for the first half of the pairs turns with
        the row and the second with the column.
      num_lone: tokens before those of the patches, which have no place and are not turned.

    Returns:
      The rotation, patches row by row.

    >>> patch_rotation((1, 2), 4, num_lone=1).cosines  # two patches beside each other
    array([[ 1.,  1.],
           [ 1., -1.],
           [ 1., -1.]], dtype=float32)
    """
    frequencies = BASE ** -np.arange(0, 1, 4 / head_width)
    places = [(np.arange(count) + 0.5) / count * 2 - 1 for count in grid]
    down_and_across = np.stack(np.meshgrid(*places, indexing="ij"), axis=-1).reshape(-1, 2, 1)
    angles = (2 * np.pi * down_and_across * frequencies).reshape(-1, head_width // 2)
    angles = np.concatenate([np.zeros((num_lone, head_width // 2)), angles])
    return Rotation(np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32))


def rotate(vectors: jax.Array, rotation: Rotation) -> jax.Array:
    """Turn queries or keys, in float32 whatever they are.

    Args:
      vectors: float[B, T, H, C]; value i makes a pair with value i + C / 2.
      rotation: of the T tokens.

    Returns:
      float[B, T, H, C] of the same dtype.
    """
    cosines, sines = (jnp.asarray(part)[None, :, None] for part in rotation)
    first, second = halves(vectors.astype(jnp.float32))
    turned = first * cosines - second * sines, second * cosines + first * sines
    return jnp.concatenate(turned, axis=-1).astype(vectors.dtype)


def halves(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the first and the second half of the last axis."""
    # Not by `jnp.split`, for which an export to ONNX has no rule.
    cut = values.shape[-1] // 2
    return (
        jax.lax.slice_in_dim(values, 0, cut, axis=-1),
        jax.lax.slice_in_dim(values, cut, None, axis=-1),
    )
