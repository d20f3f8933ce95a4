"""Rotary positions of patches in two directions (su2024roformer), as in DINOv3 (simeoni2025dinov3).

The values of a query or key form pairs. Each pair is rotated by an angle that grows with the position of
the patch, so attention depends on the distance of two patches, down and across. A position is the centre
of a patch on a tile from -1 to 1, whatever the number of patches, so nothing is resampled.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

BASE = 100.0
"""Bound of the ratio of the longest period of the rotations to the shortest, which is half a tile."""


class Rotation(NamedTuple):
    """The rotation of each pair of values of each token.

    Attributes:
      cosines: float32[T, C / 2], cosines of the angles.
      sines: float32[T, C / 2], their sines.
    """

    cosines: np.ndarray
    sines: np.ndarray


def patch_rotation(grid: tuple[int, int], head_width: int, num_lone: int) -> Rotation:
    """Return the rotation of all tokens of a tile.

    Args:
      grid: rows and columns of patches.
      head_width: C, values per query of a head; a multiple of 4, because the first half of the pairs
        rotates with the row and the second half with the column.
      num_lone: number of tokens before those of the patches; they have no position and are not rotated.

    Returns:
      The rotation, patches row by row.

    >>> patch_rotation((1, 2), 4, num_lone=1).cosines  # two patches next to each other
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
    """Rotate queries or keys; computed in float32, returned in their dtype.

    Args:
      vectors: float[B, T, H, C]; values i and i + C / 2 are a pair.
      rotation: the rotation of the T tokens.

    Returns:
      float[B, T, H, C] of the same dtype.
    """
    cosines, sines = (jnp.asarray(part)[None, :, None] for part in rotation)
    first, second = halves(vectors.astype(jnp.float32))
    turned = first * cosines - second * sines, second * cosines + first * sines
    return jnp.concatenate(turned, axis=-1).astype(vectors.dtype)


def halves(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return the first and the second half of the last axis."""
    # Not `jnp.split`, for which the export to ONNX has no rule.
    cut = values.shape[-1] // 2
    return (
        jax.lax.slice_in_dim(values, 0, cut, axis=-1),
        jax.lax.slice_in_dim(values, cut, None, axis=-1),
    )
