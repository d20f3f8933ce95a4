"""ResNet-18, -34 and -50 (he2016resnet), laid out as in torchvision.

Layers keep torchvision's names, with `_` for its `.` inside a stage: `layer1.0.conv1` is
`layer1_0/conv1`. Padding is explicit and symmetric, as in PyTorch; XLA's "SAME" pads a strided layer only
at the end, which would shift every feature map. Bottlenecks have their stride in the 3x3 layer (the "v1.5"
form).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import ones_init, zeros_init
from flax.typing import Dtype

from anneal_jax.models.convolution import conv_general_dilated, max_pool

_STAGE_WIDTHS = (64, 128, 256, 512)


_EPSILON, _ONES = 1e-5, ones_init()
_MOMENTUM = 0.9  # of the stored statistics, per batch; 0.1 in PyTorch's convention


class FrozenBatchNorm(nn.Module):
    """Batch norm with its stored statistics, which training never updates.

    Pairs make small, unusual batches, and a tile's feature must not depend on its batch. `scale` and `bias`
    are parameters and may be trained.

    Attributes:
      dtype: dtype of the output; the factors are computed in float32.
      scale_init: initial scale; zero for a block's last norm, so that the block starts as its shortcut.
        Without batch statistics, sums of random branches would grow with depth.
    """

    dtype: Dtype
    scale_init: nn.initializers.Initializer = ones_init()

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Normalise float[..., C] per channel."""
        shape = inputs.shape[-1:]
        scale = self.param("scale", self.scale_init, shape, jnp.float32)
        bias = self.param("bias", zeros_init(), shape, jnp.float32)
        mean = self.variable("batch_stats", "mean", jnp.zeros, shape, jnp.float32).value
        variance = self.variable("batch_stats", "var", jnp.ones, shape, jnp.float32).value
        factor = scale * jax.lax.rsqrt(variance + _EPSILON)
        factor, offset = (
            jnp.expand_dims(values.astype(self.dtype), range(inputs.ndim - 1))
            for values in (factor, bias - mean * factor)
        )
        return inputs * factor + offset


def normalise(
    inputs: jax.Array,
    is_tile: jax.Array | None,
    name: str,
    dtype: Dtype,
    scale_init: nn.initializers.Initializer = _ONES,
) -> jax.Array:
    """Apply batch norm with stored statistics or with those of the batch.

    Args:
      inputs: float[B, H, W, C].
      is_tile: None uses the stored statistics. Otherwise bool[B]: mean and variance are computed from the
        rows that are True, and move the stored ones a tenth of the way.
      name: name of the layer; both kinds have the same variables.
      dtype: dtype of the output.
      scale_init: see `FrozenBatchNorm`.
    """
    if is_tile is None:
        return FrozenBatchNorm(dtype, scale_init, name=name)(inputs)
    live = nn.BatchNorm(
        use_running_average=False,
        momentum=_MOMENTUM,
        epsilon=_EPSILON,
        dtype=dtype,
        scale_init=scale_init,
        name=name,
    )
    with jax.numpy_rank_promotion("allow"):  # Flax broadcasts the channels over all axes
        return live(inputs, mask=jnp.expand_dims(is_tile, (1, 2, 3)))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; ResNet-18 and -34."""

    width: int
    stride: int
    dtype: Dtype

    expansion = 1

    @nn.compact
    def __call__(self, inputs: jax.Array, is_tile: jax.Array | None) -> jax.Array:
        """Map float[B, H, W, C] to float[B, H / stride, W / stride, width]."""
        hidden = _conv(self.width, 3, self.stride, self.dtype, "conv1")(inputs)
        hidden = nn.relu(normalise(hidden, is_tile, "bn1", self.dtype))
        hidden = _conv(self.width, 3, 1, self.dtype, "conv2")(hidden)
        hidden = normalise(hidden, is_tile, "bn2", self.dtype, zeros_init())
        return nn.relu(hidden + _shortcut(inputs, is_tile, hidden.shape[-1], self.stride, self.dtype))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and a shortcut; ResNet-50."""

    width: int
    stride: int
    dtype: Dtype

    expansion = 4

    @nn.compact
    def __call__(self, inputs: jax.Array, is_tile: jax.Array | None) -> jax.Array:
        """Map float[B, H, W, C] to float[B, H / stride, W / stride, 4 * width]."""
        hidden = _conv(self.width, 1, 1, self.dtype, "conv1")(inputs)
        hidden = nn.relu(normalise(hidden, is_tile, "bn1", self.dtype))
        hidden = _conv(self.width, 3, self.stride, self.dtype, "conv2")(hidden)
        hidden = nn.relu(normalise(hidden, is_tile, "bn2", self.dtype))
        hidden = _conv(self.width * self.expansion, 1, 1, self.dtype, "conv3")(hidden)
        hidden = normalise(hidden, is_tile, "bn3", self.dtype, zeros_init())
        return nn.relu(hidden + _shortcut(inputs, is_tile, hidden.shape[-1], self.stride, self.dtype))


class ResNet(nn.Module):
    """A residual network without its classification layer.

    Attributes:
      block: `BasicBlock` or `Bottleneck`.
      stage_sizes: blocks in each of the four stages.
      dtype: dtype of the computation; parameters and statistics are float32.
    """

    block: type[BasicBlock] | type[Bottleneck]
    stage_sizes: tuple[int, int, int, int]
    dtype: Dtype = jnp.float32

    @nn.compact
    def __call__(self, images: jax.Array, is_tile: jax.Array | None = None) -> jax.Array:
        """Map float32[B, H, W, 3], standardised per band, to float[B, 512 * expansion].

        Args:
          images: the tiles.
          is_tile: bool[B] for live batch norm, see `normalise`; None keeps the stored statistics.
        """
        hidden = _conv(64, 7, 2, self.dtype, "conv1")(images)
        hidden = nn.relu(normalise(hidden, is_tile, "bn1", self.dtype))
        hidden = max_pool(hidden)
        for stage, (width, blocks) in enumerate(zip(_STAGE_WIDTHS, self.stage_sizes, strict=True)):
            for i in range(blocks):
                stride = 2 if stage and i == 0 else 1
                name = f"layer{stage + 1}_{i}"
                hidden = self.block(width, stride, self.dtype, name=name)(hidden, is_tile)
        return jnp.mean(hidden, axis=(1, 2))


def _conv(width: int, size: int, stride: int, dtype: Dtype, name: str) -> nn.Conv:
    return nn.Conv(
        width,
        kernel_size=(size, size),
        strides=stride,
        padding=size // 2,
        use_bias=False,
        kernel_init=nn.initializers.he_normal(),
        dtype=dtype,
        conv_general_dilated=conv_general_dilated,
        name=name,
    )


def _shortcut(
    inputs: jax.Array, is_tile: jax.Array | None, width: int, stride: int, dtype: Dtype
) -> jax.Array:
    if stride == 1 and inputs.shape[-1] == width:
        return inputs
    narrowed = _conv(width, 1, stride, dtype, "downsample_0")(inputs)
    return normalise(narrowed, is_tile, "downsample_1", dtype)
