"""MobileNetV2 at width 1.0 (sandler2018mobilenetv2), with batch norm folded into its layers."""

import functools
from collections.abc import Iterator
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from anneal_jax.models.convolution import conv_general_dilated

DepthwiseForm = Literal["shifted_sums", "convolution"]

FOLDED_CLASSIFIER = "52_conv_s1_act0"
"""The one layer in a file of folded weights that the backbone does not use."""

_STEM_WIDTH, _HEAD_WIDTH = 32, 1280

# Per stage: expansion, width, blocks, stride of the first block (Table 2 of the paper).
_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def depthwise_conv(
    inputs: jax.Array, kernel: jax.Array, stride: int, form: DepthwiseForm | None = None
) -> jax.Array:
    """Filter every channel by itself, with TensorFlow's SAME padding.

    XLA's grouped convolution is slow on CPU. Written as a sum of shifted, scaled copies of the
    input, the same layer becomes one fused loop; `python benchmarks/extraction.py` measures both.

    Args:
      inputs: float[B, H, W, C].
      kernel: float[k, k, 1, C], of the same dtype.
      stride: pixels between outputs, in both directions.
      form: None takes `shifted_sums` where JAX's default backend is the CPU when this is traced,
        and `convolution` elsewhere.

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
        """Return what the kernel's value at (y, x) adds to every output."""
        end = (batch, height - rows + y + 1, width - columns + x + 1, channels)
        return jax.lax.slice(padded, (0, y, x, 0), end, strides) * kernel[None, None, y, x]

    return functools.reduce(jnp.add, [term(y, x) for y in range(rows) for x in range(columns)])


class DepthwiseConv(nn.Module):
    """A 3x3 depthwise convolution with bias."""

    stride: int
    dtype: Dtype
    form: DepthwiseForm | None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Map float[B, H, W, C] to float[B, ceil(H / stride), ceil(W / stride), C]."""
        channels = inputs.shape[-1]
        kernel = self.param("kernel", nn.initializers.he_normal(), (3, 3, 1, channels))
        bias = self.param("bias", nn.initializers.zeros_init(), (channels,))
        outputs = depthwise_conv(inputs, kernel.astype(self.dtype), self.stride, self.form)
        return outputs + bias.astype(self.dtype)[None, None, None]


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; a shortcut joins the narrow ends where shapes agree."""

    expansion: int
    width: int
    stride: int
    dtype: Dtype
    depthwise_form: DepthwiseForm | None

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Map float[B, H, W, C] to float[B, ceil(H / stride), ceil(W / stride), width]."""
        hidden = inputs
        if self.expansion > 1:
            wide = self.expansion * inputs.shape[-1]
            hidden = nn.relu6(_pointwise(wide, self.dtype, "expand")(hidden))
        depthwise = DepthwiseConv(self.stride, self.dtype, self.depthwise_form, name="depthwise")
        hidden = nn.relu6(depthwise(hidden))
        hidden = _pointwise(self.width, self.dtype, "project")(hidden)
        return hidden + inputs if hidden.shape == inputs.shape else hidden


class MobileNetV2(nn.Module):
    """MobileNetV2 1.0 without its classification layer.

    Attributes:
      dtype: of the computation; parameters are float32.
      depthwise_form: as in `depthwise_conv`.
    """

    dtype: Dtype = jnp.float32
    depthwise_form: DepthwiseForm | None = None

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Map float32[B, H, W, 3] in [-1, 1] to float[B, 1280]."""
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
        for name, expansion, width, stride in _blocks():
            sizes = (expansion, width, stride)
            hidden = InvertedResidual(*sizes, self.dtype, self.depthwise_form, name=name)(hidden)
        hidden = nn.relu6(_pointwise(_HEAD_WIDTH, self.dtype, "head")(hidden))
        return jnp.mean(hidden, axis=(1, 2))


def folded_layer_names() -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield (path inside the parameters, name in a file of folded weights) of every layer.

    The file numbers its layers in order and names each by kind, stride and activation, 3 for
    ReLU6 and 0 for none.

    >>> next(folded_layer_names())
    (('stem',), '00_conv_s2_act3')
    """
    for i, (path, kind_stride_activation) in enumerate(_layers_in_order()):
        yield path, f"{i:02d}_{kind_stride_activation}"


def _layers_in_order() -> Iterator[tuple[tuple[str, ...], str]]:
    yield ("stem",), "conv_s2_act3"
    for name, expansion, _, stride in _blocks():
        if expansion > 1:
            yield (name, "expand"), "conv_s1_act3"
        yield (name, "depthwise"), f"dwconv_s{stride}_act3"
        yield (name, "project"), "conv_s1_act0"
    yield ("head",), "conv_s1_act3"


def _blocks() -> Iterator[tuple[str, int, int, int]]:
    """Yield each block's name, expansion, width and stride."""
    for stage, (expansion, width, blocks, stride) in enumerate(_STAGES):
        for i in range(blocks):
            yield f"stage{stage}_{i}", expansion, width, 1 if i else stride


def _pointwise(width: int, dtype: Dtype, name: str) -> nn.Dense:
    """A 1x1 convolution, as the matrix product that it is: faster on CPU than a convolution."""
    init = nn.initializers.he_normal()
    return nn.Dense(width, kernel_init=init, dtype=dtype, name=name)
