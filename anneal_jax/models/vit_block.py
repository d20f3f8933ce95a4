"""The parts that the vision transformers share: patch embedding, transformer blocks, the feature.

Blocks are pre-norm, with a learned scale on each branch (LayerScale) and exact GELU, as in DINOv2
(oquab2024dinov2). DINOv3 rotates queries and keys; its plus variants have a gate instead of GELU.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from anneal_jax.errors import ConfigError
from anneal_jax.models.rotary import Rotation, halves, rotate


class TransformerBlock(nn.Module):
    """Attention, then two dense layers; both branches have a layer norm, a scale and a shortcut.

    Attributes:
      num_heads: number of attention heads; a divisor of D.
      dtype: dtype of the computation; parameters are float32.
      epsilon: epsilon of the layer norms.
      is_gated: whether the dense layers are SwiGLU (shazeer2020glu), a gate instead of GELU.
    """

    num_heads: int
    dtype: Dtype
    epsilon: float = 1e-6
    is_gated: bool = False

    @nn.compact
    def __call__(self, tokens: jax.Array, rotation: Rotation | None = None) -> jax.Array:
        """Map float[B, T, D] to float[B, T, D]; the rotation, if any, is applied to queries and keys."""
        batch, length, width = tokens.shape
        heads = (batch, length, 3, self.num_heads, width // self.num_heads)
        hidden = layer_norm(tokens, "norm1", self.epsilon)
        qkv = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(hidden).reshape(heads)
        # Not `qkv[:, :, 0]`, which becomes a gather if the batch size is symbolic, as in an export.
        parts = [jax.lax.index_in_dim(qkv, place, axis=2, keepdims=False) for place in range(3)]
        if rotation is not None:
            parts[:2] = [rotate(part, rotation) for part in parts[:2]]
        with jax.numpy_dtype_promotion("standard"):  # its softmax is in float32 for any dtype
            hidden = jax.nn.dot_product_attention(*parts)
        hidden = nn.Dense(width, dtype=self.dtype, name="proj")(hidden.reshape(tokens.shape))
        tokens = tokens + self._scaled(hidden, "scale1")
        hidden = self._widened(layer_norm(tokens, "norm2", self.epsilon))
        hidden = nn.Dense(width, dtype=self.dtype, name="fc2")(hidden)
        return tokens + self._scaled(hidden, "scale2")

    @nn.nowrap
    def _widened(self, hidden: jax.Array) -> jax.Array:
        """Map float[B, T, D] to float[B, T, 4 D]."""
        width = 4 * hidden.shape[-1]
        if not self.is_gated:
            hidden = nn.Dense(width, dtype=self.dtype, name="fc1")(hidden)
            return nn.gelu(hidden, approximate=False)
        gate, passed = halves(nn.Dense(2 * width, dtype=self.dtype, name="fc1")(hidden))
        return nn.silu(gate) * passed

    @nn.nowrap
    def _scaled(self, hidden: jax.Array, name: str) -> jax.Array:
        # Random weights start at scale 1. At DINOv2's own start, 1e-5, the class token would hardly
        # depend on the tile.
        scale = self.param(name, nn.initializers.ones_init(), hidden.shape[-1:], jnp.float32)
        return hidden * scale.astype(self.dtype)[None, None]


def embed_patches(images: jax.Array, width: int, patch_size: int, dtype: Dtype) -> jax.Array:
    """Map each patch to a token; call it inside a module's compact method.

    Args:
      images: float32[B, H, W, S].
      width: D, values per token.
      patch_size: side of a patch, in pixels.
      dtype: dtype of the computation.

    Returns:
      float[B, H / patch_size, W / patch_size, D].

    Raises:
      ConfigError: a side is not a multiple of the patch size.
    """
    for side in images.shape[1:3]:
        if side % patch_size or not side:
            below = max(side // patch_size, 1) * patch_size
            raise ConfigError(
                f"a network with patches of {patch_size} px takes tiles whose side is a multiple of that, "
                f"not {side} px; set image_size to {below} or {below + patch_size}"
            )
    size = (patch_size, patch_size)
    return nn.Conv(width, size, strides=size, padding="VALID", dtype=dtype, name="patch_embed")(images)


def join_tokens(lone: Sequence[jax.Array], patches: jax.Array) -> jax.Array:
    """Concatenate the tokens without a patch and those of the patches, row by row.

    Args:
      lone: float32[N, D] each, the same for all tiles: the class token and registers.
      patches: float[B, R, C, D].

    Returns:
      float[B, T, D] of the patches' dtype.
    """
    batch, rows, columns, width = patches.shape
    first = [jnp.broadcast_to(t.astype(patches.dtype)[None], (batch, *t.shape)) for t in lone]
    return jnp.concatenate([*first, patches.reshape(batch, rows * columns, width)], axis=1)


def layer_norm(tokens: jax.Array, name: str, epsilon: float = 1e-6) -> jax.Array:
    """Normalise each token; computed in float32, returned in the tokens' dtype."""
    # The fast variance, E[x^2] - E[x]^2, loses digits if a token has a large mean.
    norm = nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)
    return norm(tokens.astype(jnp.float32)).astype(tokens.dtype)


def class_feature(tokens: jax.Array, epsilon: float = 1e-6) -> jax.Array:
    """Return the feature float[B, D] of tokens float[B, T, D]: the first token, normalised."""
    # The norm treats each token separately, so only the first is normalised.
    return layer_norm(jax.lax.index_in_dim(tokens, 0, axis=1, keepdims=False), "norm", epsilon)
