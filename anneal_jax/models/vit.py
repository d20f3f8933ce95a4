"""The vision transformer of DINOv2 (oquab2024dinov2), with or without registers (darcet2024vision).

Patches of 14 px, pre-norm blocks, a learned scale on each branch (LayerScale), exact GELU, layer norm
with epsilon 1e-6. The feature is the class token after the last layer norm.

If tiles have another size than in training, the position embeddings are resampled. The three sources of
these weights do this differently (`PositionResampling`). All three ways are reproduced, because their
results differ by much more than rounding.
"""

from typing import Literal, get_args

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.typing import Dtype

from anneal_jax.models.vit_block import TransformerBlock, class_feature, embed_patches, join_tokens

PATCH_SIZE = 14
"""Side of a patch, in pixels."""

POSITION_SIDE = 37
"""Patches along a side of 518 px, for which DINOv2 has position embeddings."""

PositionResampling = Literal["bicubic", "bicubic_antialiased", "bicubic_offset"]
"""How position embeddings are resampled to another grid.

`bicubic`: coefficient -0.75 as in PyTorch, without antialiasing; for Hugging Face's `Dinov2Model`.
`bicubic_antialiased`: coefficient -0.5; for timm, and for every variant with registers.
`bicubic_offset`: like `bicubic`, but with the scale (side + 0.1) / 37; for DINOv2's own code.
"""

POSITION_RESAMPLINGS: tuple[PositionResampling, ...] = get_args(PositionResampling)

_ORIGINAL_OFFSET = 0.1
_BICUBIC_COEFFICIENT = -0.75


class VisionTransformer(nn.Module):
    """A vision transformer without its classification layer.

    Attributes:
      width: D, values per token.
            depth: number of blocks.
      num_heads: number of attention heads; a divisor of `width`.
      num_registers: number of register tokens, which have no patch and are not part of the feature.
      position_side: number of patches along a side for which there are position embeddings.
      position_resampling: how these are resampled to another number.
      dtype: dtype of the computation; parameters are float32.
    """

    width: int
    depth: int
    num_heads: int
    num_registers: int = 0
    position_side: int = POSITION_SIDE
    position_resampling: PositionResampling = "bicubic_antialiased"
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Map float32[B, H, W, S], standardised per band, to float[B, D].

        Raises:
          ConfigError: a side is not a multiple of 14 px.
        """
        tokens = self._tokens(images)
        for i in range(self.depth):
            tokens = TransformerBlock(self.num_heads, self.dtype, name=f"blocks_{i}")(tokens)
        return class_feature(tokens)

    @nn.nowrap
    def _tokens(self, images: jax.Array) -> jax.Array:
        """Return [class token, registers, patches]; only the patches have positions.

        `class_token` includes the position embedding of the class token, which does not depend on the grid.
        """
        patches = embed_patches(images, self.width, PATCH_SIZE, self.dtype)
        positions = resample_positions(
            self._param("position_embedding", self.position_side, self.position_side),
            (patches.shape[1], patches.shape[2]),
            self.position_resampling,
        )
        patches = patches + positions.astype(self.dtype)[None]
        lone = [self._param("class_token", 1)]
        if self.num_registers:
            lone.append(self._param("register_tokens", self.num_registers))
        return join_tokens(lone, patches)

    @nn.nowrap
    def _param(self, name: str, *lengths: int) -> jax.Array:
        init = nn.initializers.truncated_normal(0.02)
        return self.param(name, init, (*lengths, self.width), jnp.float32)


def resample_positions(
    positions: jax.Array, grid: tuple[int, int], resampling: PositionResampling
) -> jax.Array:
    """Resample position embeddings to another grid of patches.

    Args:
      positions: float32[P, P, D].
      grid: (rows, columns) of the result.
      resampling: one of `POSITION_RESAMPLINGS`.

    Returns:
      float32[rows, columns, D]; `positions` itself if the grid is the same.

    Source: PyTorch's `interpolate(mode="bicubic", align_corners=False)`, with the arguments of each source.

    >>> resample_positions(jnp.ones((4, 4, 2)), (2, 3), "bicubic").shape
    (2, 3, 2)
    """
    side = positions.shape[0]
    if grid == (side, side):
        return positions
    if resampling == "bicubic_antialiased":
        return jax.image.resize(positions, (*grid, positions.shape[-1]), "cubic")
    offset = _ORIGINAL_OFFSET if resampling == "bicubic_offset" else 0.0
    rows, columns = (jnp.asarray(_bicubic_matrix(side, length, offset)) for length in grid)
    return jnp.einsum("rp,cq,pqd->rcd", rows, columns, positions)


def _bicubic_matrix(length: int, new_length: int, offset: float) -> np.ndarray:
    """Return float32[new_length, length], the weight of each old position in each new one."""
    step = length / (new_length + offset)
    centres = (np.arange(new_length) + 0.5) * step - 0.5
    matrix = np.zeros((new_length, length))
    for tap in range(-1, 3):
        places = np.floor(centres).astype(int) + tap
        clamped = np.clip(places, 0, length - 1)  # the border's value continues beyond it
        np.add.at(matrix, (np.arange(new_length), clamped), _cubic(np.abs(centres - places)))
    return matrix.astype(np.float32)


def _cubic(distance: np.ndarray) -> np.ndarray:
    """Return the weights of positions at these distances, in [0, 2) (keys1981cubic)."""
    a, d = _BICUBIC_COEFFICIENT, distance
    near = ((a + 2) * d - (a + 3)) * d**2 + 1
    far = ((d - 5) * d + 8) * d * a - 4 * a
    return np.where(d <= 1, near, far)
