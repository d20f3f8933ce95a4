"""What the vision transformers have in common: patches become tokens, and blocks mix them.

Pre-norm blocks with a learned scale on each branch (LayerScale) and exact GELU, as DINOv2 has them
(oquab2024dinov2). DINOv3 turns queries and keys in them; its plus variants have a gate instead of GELU.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from anneal_jax.errors import ConfigError
from anneal_jax.models.rotary import Rotation, halves, rotate


class TransformerBlock(nn.Module):
    """Attention, then two dense layers, each normalised before and scaled after, with shortcuts.

    Attributes:
      num_heads: attention heads; a divisor of D.
      dtype: of the computation; parameters are float32.
      epsilon: of the layer norms.
      is_gated: whether the dense layers are SwiGLU (shazeer2020glu), a gate instead of GELU.
    """

    num_heads: int
    dtype: Dtype
    epsilon: float = 1e-6
    is_gated: bool = False

    @nn.compact
    def __call__(self, tokens: jax.Array, rotation: Rotation | None = None) -> jax.Array:
        """Map float[B, T, D] to float[B, T, D]; queries and keys are turned by the rotation."""
        batch, length, width = tokens.shape
        heads = (batch, length, 3, self.num_heads, width // self.num_heads)
        hidden = layer_norm(tokens, "norm1", self.epsilon)
        qkv = nn.Dense(3 * width, dtype=self.dtype, name="qkv")(hidden).reshape(heads)
        # Not `qkv[:, :, 0]`, which becomes a gather where the size of the batch is open, as in an export.
        parts = [jax.lax.index_in_dim(qkv, place, axis=2, keepdims=False) for place in range(3)]
        if rotation is not None:
            parts[:2] = [rotate(part, rotation) for part in parts[:2]]
        with jax.numpy_dtype_promotion("standard"):  # its softmax is in float32 whatever the tokens are
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
        # From random weights the branches count fully; DINOv2's own start, 1e-5, would leave a class
        # token that hardly depends on the tile.
        scale = self.param(name, nn.initializers.ones_init(), hidden.shape[-1:], jnp.float32)
        return hidden * scale.astype(self.dtype)[None, None]


def embed_patches(images: jax.Array, width: int, patch_size: int, dtype: Dtype) -> jax.Array:
    """Make a token of each patch; inside a module's compact call.

    Args:
      images: float32[B, H, W, S].
      width: D, values per token.
      patch_size: of a side, pixels.
      dtype: of the computation.

    Returns:
      float[B, H / patch_size, W / patch_size, D].

    Raises:
      ConfigError: a side is no multiple of the patch size.
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
    """Put the tokens of no patch, float32[N, D] each, before those of the patches, float[B, R, C, D].

    Returns:
      float[B, T, D] of the patches' dtype, the patches row by row.
    """
    batch, rows, columns, width = patches.shape
    first = [jnp.broadcast_to(t.astype(patches.dtype)[None], (batch, *t.shape)) for t in lone]
    return jnp.concatenate([*first, patches.reshape(batch, rows * columns, width)], axis=1)


def layer_norm(tokens: jax.Array, name: str, epsilon: float = 1e-6) -> jax.Array:
    """Normalise each token, in float32 whatever the tokens are."""
    # The fast variance, E[x^2] - E[x]^2, loses digits where a token has a large mean.
    norm = nn.LayerNorm(epsilon=epsilon, use_fast_variance=False, name=name)
    return norm(tokens.astype(jnp.float32)).astype(tokens.dtype)


def class_feature(tokens: jax.Array, epsilon: float = 1e-6) -> jax.Array:
    """Return the feature float[B, D] of tokens float[B, T, D]: the first, after the layer norm `norm`."""
    # Each token is normalised by itself, so the others need not be.
    return layer_norm(jax.lax.index_in_dim(tokens, 0, axis=1, keepdims=False), "norm", epsilon)
