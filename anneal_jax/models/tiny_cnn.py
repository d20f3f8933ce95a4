"""A three-layer convolutional network, with which a whole run takes seconds."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from anneal_jax.models.convolution import conv_general_dilated

CHANNELS = (32, 64, 128)


class TinyCNN(nn.Module):
    """Three 3x3 convolutions, each of which after the first halves the tile, then the spatial mean.

    It has no normalisation layer: with He initialisation, such a shallow network trains well without one,
    and a tile's feature never depends on its batch. It is meant for tiles of 8 to 32 px.

    Attributes:
      dtype: dtype of the computation; parameters are float32.
    """

    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Map float32[B, H, W, 3], about -1 to 1, to float[B, 128]."""
        hidden = images
        for i, channels in enumerate(CHANNELS):
            hidden = nn.Conv(
                channels,
                kernel_size=(3, 3),
                strides=2 if i else 1,
                padding=1,
                kernel_init=nn.initializers.he_normal(),
                dtype=self.dtype,
                conv_general_dilated=conv_general_dilated,
                name=f"conv{i + 1}",
            )(hidden)
            hidden = nn.relu(hidden)
        return jnp.mean(hidden, axis=(1, 2))
