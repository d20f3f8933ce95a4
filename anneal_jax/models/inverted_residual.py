"""Networks of inverted residual blocks (sandler2018mobilenetv2), with batch norm folded into the layers.

A network is a stem that halves the tile, blocks in stages, a head of 1,280 channels, and a spatial mean.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from anneal_jax.models.convolution import conv_general_dilated

DepthwiseForm = Literal["shifted_sums", "convolution"]

FEATURE_DIM = 1280
_STEM_WIDTH = 32


class Stage(NamedTuple):
    """Blocks of one width.

    Attributes:
      expansion: ratio of the inner width of a block to its input width.
      width: output channels of each block.
      num_blocks: number of blocks.
      stride: stride of the first block; the others have 1.
      kernel_size: side of the depthwise kernels, in pixels.
    """

    expansion: int
    width: int
    num_blocks: int
    stride: int
    kernel_size: int = 3


class Block(NamedTuple):
    """One block of a stage.

    Attributes:
      name: name in the network's variables.
      expansion: as in `Stage`.
      width: output channels.
      stride: stride of this block.
      kernel_size: side of its depthwise kernel.
    """

    name: str
    expansion: int
    width: int
    stride: int
    kernel_size: int


def blocks_of(stages: Sequence[Stage]) -> Iterator[Block]:
    """Yield the blocks of all stages in the order of the forward pass.

    >>> [block.name for block in blocks_of([Stage(1, 16, 1, 1), Stage(6, 24, 2, 2)])]
    ['stage0_0', 'stage1_0', 'stage1_1']
    """
    for number, stage in enumerate(stages):
        for i in range(stage.num_blocks):
            stride = 1 if i else stage.stride
            yield Block(f"stage{number}_{i}", stage.expansion, stage.width, stride, stage.kernel_size)


def depthwise_conv(
    inputs: jax.Array, kernel: jax.Array, stride: int, form: DepthwiseForm | None = None
) -> jax.Array:
    """Filter every channel separately, with TensorFlow's SAME padding.

    XLA's grouped convolution is slow on a CPU. As a sum of shifted, scaled copies of the input, the
    same layer becomes one fused loop; `python benchmarks/extraction.py` measures both.

    Args:
      inputs: float[B, H, W, C].
      kernel: float[k, k, 1, C], of the same dtype.
      stride: pixels between outputs, in both directions.
      form: None uses `shifted_sums` if JAX's default backend is the CPU when this is traced, else
        `convolution`.

    Returns:
      float[B, ceil(H / stride), ceil(W / stride), C].
    """
    form = form or ("shifted_sums" if jax.default_backend() == "cpu" else "convolution")
    if form == "shifted_sums":
        return _shifted_sums(inputs, kernel, stride)
    return jax.lax.conv_general_dilated(
        inputs,
        kernel,
        window_strides=(stride, stride),
        padding="SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=inputs.shape[-1],
    )


def _shifted_sums(inputs: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    strides = (1, stride, stride, 1)
    rows, columns = kernel.shape[:2]
    pads = jax.lax.padtype_to_pads(inputs.shape, (1, rows, columns, 1), strides, "SAME")
    padded = jnp.pad(inputs, pads)
    batch, height, width, channels = padded.shape

    def term(y: int, x: int) -> jax.Array:
        """Return the contribution of the kernel's value at (y, x) to every output."""
        end = (batch, height - rows + y + 1, width - columns + x + 1, channels)
        return jax.lax.slice(padded, (0, y, x, 0), end, strides) * kernel[None, None, y, x]

    return functools.reduce(jnp.add, [term(y, x) for y in range(rows) for x in range(columns)])


class DepthwiseConv(nn.Module):
    """A depthwise convolution with bias."""

    kernel_size: int
    stride: int
    dtype: Dtype
    form: DepthwiseForm | None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Map float[B, H, W, C] to float[B, ceil(H / stride), ceil(W / stride), C]."""
        channels, side = inputs.shape[-1], self.kernel_size
        kernel = self.param("kernel", nn.initializers.he_normal(), (side, side, 1, channels))
        bias = self.param("bias", nn.initializers.zeros_init(), (channels,))
        outputs = depthwise_conv(inputs, kernel.astype(self.dtype), self.stride, self.form)
        return outputs + bias.astype(self.dtype)[None, None, None]


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; a shortcut joins the narrow ends if their shapes agree."""

    block: Block
    dtype: Dtype
    depthwise_form: DepthwiseForm | None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Map float[B, H, W, C] to float[B, ceil(H / stride), ceil(W / stride), width]."""
        block, hidden = self.block, inputs
        if block.expansion > 1:
            wide = block.expansion * inputs.shape[-1]
            hidden = nn.relu6(_pointwise(wide, self.dtype, "expand")(hidden))
        depthwise = DepthwiseConv(
            block.kernel_size, block.stride, self.dtype, self.depthwise_form, name="depthwise"
        )
        hidden = nn.relu6(depthwise(hidden))
        hidden = _pointwise(block.width, self.dtype, "project")(hidden)
        return hidden + inputs if hidden.shape == inputs.shape else hidden


class InvertedResidualNetwork(nn.Module):
    """A network of such blocks without a classification layer; a subclass defines the stages.

    Attributes:
      dtype: dtype of the computation; parameters are float32.
      depthwise_form: as in `depthwise_conv`.
    """

    stages: ClassVar[tuple[Stage, ...]]

    dtype: Dtype = jnp.float32
    depthwise_form: DepthwiseForm | None = None

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Map float32[B, H, W, 3], about -1 to 1, to float[B, 1280]."""
        stem = nn.Conv(
            _STEM_WIDTH,
            kernel_size=(3, 3),
            strides=2,
            padding="SAME",
            kernel_init=nn.initializers.he_normal(),
            dtype=self.dtype,
            conv_general_dilated=conv_general_dilated,
            name="stem",
        )
        hidden = nn.relu6(stem(images))
        for block in blocks_of(self.stages):
            hidden = InvertedResidual(block, self.dtype, self.depthwise_form, name=block.name)(hidden)
        hidden = nn.relu6(_pointwise(FEATURE_DIM, self.dtype, "head")(hidden))
        return jnp.mean(hidden, axis=(1, 2))


def _pointwise(width: int, dtype: Dtype, name: str) -> nn.Dense:
    """A 1x1 convolution as a matrix product, which is faster on a CPU."""
    init = nn.initializers.he_normal()
    return nn.Dense(width, kernel_init=init, dtype=dtype, name=name)
