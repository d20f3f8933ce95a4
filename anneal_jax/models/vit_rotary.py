"""The vision transformer of DINOv3 (simeoni2025dinov3).

It differs from DINOv2 with registers (`anneal_jax.models.vit`) in three ways: patches of 16 px, layer norm
with epsilon 1e-5, and rotary positions in every block instead of position embeddings before the first. The
feature is the class token after the last layer norm, which transformers calls `pooler_output`. DINOv3's
keys have no bias: it is set to zero when weights are read, and only training changes it.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from anneal_jax.models.rotary import patch_rotation
from anneal_jax.models.vit_block import TransformerBlock, class_feature, embed_patches, join_tokens

PATCH_SIZE = 16
"""Side of a patch, in pixels."""

_EPSILON = 1e-5


class RotaryVisionTransformer(nn.Module):
    """A vision transformer without its classification layer.

    Attributes:
      width: D, values per token.
            depth: number of blocks.
      num_heads: number of attention heads; `width` is a multiple of 4 times this number.
      num_registers: number of register tokens, which have no patch and are not part of the feature.
      is_gated: whether the blocks have SwiGLU, as in the plus variants.
      dtype: dtype of the computation; parameters are float32.
    """

    width: int
    depth: int
    num_heads: int
    num_registers: int = 4
    is_gated: bool = False
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Map float32[B, H, W, S], standardised per band, to float[B, D].

        Raises:
          ConfigError: a side is not a multiple of 16 px.
        """
        patches = embed_patches(images, self.width, PATCH_SIZE, self.dtype)
        lone = [self._param("class_token", 1), self._param("register_tokens", self.num_registers)]
        tokens = join_tokens(lone, patches)
        rotation = patch_rotation(
            (patches.shape[1], patches.shape[2]),
            self.width // self.num_heads,
            num_lone=1 + self.num_registers,
        )
        for i in range(self.depth):
            block = TransformerBlock(
                self.num_heads, self.dtype, _EPSILON, self.is_gated, name=f"blocks_{i}"
            )
            tokens = block(tokens, rotation)
        return class_feature(tokens, _EPSILON)

    @nn.nowrap
    def _param(self, name: str, length: int) -> jax.Array:
        return self.param(name, nn.initializers.truncated_normal(0.02), (length, self.width), jnp.float32)
