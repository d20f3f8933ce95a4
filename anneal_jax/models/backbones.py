"""Networks that map tiles to features, by name, with init and apply."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from anneal_jax.errors import ConfigError, unknown_name
from anneal_jax.models.efficientnet_lite import EfficientNetLite0
from anneal_jax.models.inverted_residual import FEATURE_DIM
from anneal_jax.models.mobilenet_v2 import MobileNetV2
from anneal_jax.models.resnet import BasicBlock, Bottleneck, ResNet
from anneal_jax.models.tiny_cnn import TinyCNN
from anneal_jax.models.vit import VisionTransformer
from anneal_jax.models.vit_rotary import RotaryVisionTransformer

_LARGEST_PIXELS_SIZE = 64

RgbBands = tuple[int, int, int] | None
"""Positions of red, green and blue among the bands of a tile; None if it has no visible bands."""


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network from tiles to features, including the scaling of its input.

    Attributes:
      name: its name for `get_backbone`.
      feature_dim: F, values per feature; for `pixels` at the default image size.
      default_image_size: side of the tiles that it was designed for, in pixels.
      network: the Flax module; takes images scaled by `mean` and `spread`.
      mean: value per band (S bands) subtracted from values in [0, 255].
      spread: value per band by which these are then divided.
      rgb_bands: positions of red, green and blue among the bands, whose pretrained filters are kept.
      resampling: Pillow filter for resizing tiles, such as `bilinear` or `bicubic`.

    >>> backbone = get_backbone("tiny_cnn")
    >>> variables = backbone.init(jax.random.key(0), image_size=16)
    >>> backbone.apply(variables, jnp.zeros((2, 16, 16, 3), jnp.uint8)).shape
    (2, 128)
    """

    name: str
    feature_dim: int
    default_image_size: int
    network: nn.Module
    mean: tuple[float, ...] = (127.5, 127.5, 127.5)
    spread: tuple[float, ...] = (127.5, 127.5, 127.5)
    rgb_bands: RgbBands = (0, 1, 2)
    resampling: str = "bilinear"

    @property
    def is_rgb(self) -> bool:
        """Whether the tiles are red, green and blue, and nothing else."""
        return len(self.mean) == 3 and self.rgb_bands is not None

    def init(self, key: jax.Array, image_size: int) -> Any:
        """Draw random variables: `params`, and `batch_stats` for a ResNet.

        Args:
          key: a PRNG key.
          image_size: side of the tiles, in pixels.
        """
        images = jnp.zeros((1, image_size, image_size, len(self.mean)), jnp.float32)
        return jax.jit(self.network.init)(key, images)

    def apply(self, variables: Any, images: jax.typing.ArrayLike) -> jax.Array:
        """Compute features; pure, differentiable in `variables`, and can be jitted.

        Args:
          variables: from `init` or `load_pretrained`.
          images: uint8 or float32[B, H, H, S] in [0, 255]; three bands are RGB.

        Returns:
          float32[B, F].

        Raises:
          ConfigError: `images` has another shape or dtype.
        """
        scaled = self._scale(_checked(jnp.asarray(images), len(self.mean)))
        return jnp.asarray(self.network.apply(variables, scaled)).astype(jnp.float32)

    def apply_live(
        self, variables: Any, images: jax.typing.ArrayLike, is_tile: jax.Array
    ) -> tuple[jax.Array, Any]:
        """Compute features with batch norm that uses the statistics of the batch.

        Args:
          variables: as in `apply`.
          images: as in `apply`.
          is_tile: bool[B], False for padding, which the statistics ignore.

        Returns:
          float32[B, F], and the variables with updated statistics (`models.resnet.normalise`).

        Raises:
          ConfigError: as for `apply`, or the network has no batch norm.
        """
        self.require_batch_norm()
        scaled = self._scale(_checked(jnp.asarray(images), len(self.mean)))
        features, moved = self.network.apply(variables, scaled, is_tile, mutable=["batch_stats"])
        return jnp.asarray(features).astype(jnp.float32), {**variables, **moved}

    def require_batch_norm(self) -> None:
        """Raise ConfigError if there is no batch norm with statistics to update."""
        if not isinstance(self.network, ResNet):
            raise ConfigError(
                f"batch_norm=live needs a network with batch norm; {self.name} has none, or has it folded "
                f"into its layers. Choose one of {', '.join(_RESNETS)}, or batch_norm=frozen."
            )

    def computing_in(self, dtype: Dtype) -> "Backbone":
        """Return the backbone with another dtype for computation; parameters stay float32."""
        is_fixed = isinstance(self.network, Pixels)  # nothing is computed
        network = self.network if is_fixed else self.network.clone(dtype=dtype)
        return dataclasses.replace(self, network=network)

    def _scale(self, images: jax.Array) -> jax.Array:
        mean, spread = (
            jnp.array([[[band_values]]], jnp.float32) for band_values in (self.mean, self.spread)
        )
        return (images.astype(jnp.float32) - mean) / spread


class Pixels(nn.Module):
    """The flattened tile itself: a baseline without parameters for small tiles."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Map float32[B, H, H, S] to float32[B, H * H * S].

        Raises:
          ConfigError: tiles are larger than 64 px.
        """
        if images.shape[1] > _LARGEST_PIXELS_SIZE:
            raise ConfigError(
                f"backbone `pixels` takes tiles of at most {_LARGEST_PIXELS_SIZE} px, "
                f"not {images.shape[1]}; set a smaller image_size or choose another backbone"
            )
        return images.reshape(images.shape[0], -1)


def backbone_names() -> tuple[str, ...]:
    """Return the names that `get_backbone` knows, sorted."""
    return tuple(sorted(_MAKERS))


def get_backbone(
    name: str, dtype: Dtype = jnp.float32, *, num_bands: int = 3, rgb_bands: RgbBands = (0, 1, 2)
) -> Backbone:
    """Return a backbone by name.

    Args:
      name: one of `backbone_names()`.
      dtype: dtype of the computation. Parameters and features are always float32.
      num_bands: S, number of bands of a tile, at least 1. Weights for RGB are inflated to S bands when
        loaded (`anneal_jax.models.inflate_bands`).
      rgb_bands: positions of red, green and blue among the bands; None if no band is visible.

    Raises:
      ConfigError: no backbone has that name, or a position is outside the bands.

    >>> get_backbone("mobilenet_v2").feature_dim
    1280
    >>> get_backbone("resnet18", num_bands=4, rgb_bands=(2, 1, 0)).mean
    (103.53, 116.28, 123.675, 114.495)
    """
    if name not in _MAKERS:
        raise unknown_name("backbone", name, backbone_names())
    backbone = dataclasses.replace(_MAKERS[name](name, dtype), rgb_bands=rgb_bands)
    if rgb_bands is not None and (len(set(rgb_bands)) < 3 or not set(rgb_bands) <= set(range(num_bands))):
        raise ConfigError(
            f"rgb_bands={rgb_bands} are not three different ones of {num_bands} bands, counted from 0; "
            "correct them, or give None if no band is visible"
        )
    return scaled_by(backbone, backbone.mean, backbone.spread, num_bands)


def scaled_by(
    backbone: Backbone, rgb_mean: Sequence[float], rgb_spread: Sequence[float], num_bands: int
) -> Backbone:
    """Return the backbone with another scaling of its input.

    Red, green and blue use their own numbers, every further band the mean of the three. This is a guess;
    `dataclasses.replace(backbone, mean=..., spread=...)` sets the archive's own numbers.

    Args:
      backbone: the network; its `rgb_bands` say where red, green and blue are.
      rgb_mean: means of red, green and blue, in [0, 255].
      rgb_spread: spreads of red, green and blue, on the same scale.
      num_bands: S, number of bands of a tile.
    """

    def of_bands(rgb: Sequence[float]) -> tuple[float, ...]:
        values = [sum(rgb) / 3] * num_bands
        for band, value in zip(backbone.rgb_bands or (), rgb, strict=False):
            values[band] = value
        return tuple(values)

    return dataclasses.replace(backbone, mean=of_bands(rgb_mean), spread=of_bands(rgb_spread))


def _tiny_cnn(name: str, dtype: Dtype) -> Backbone:
    return Backbone(name, 128, 32, TinyCNN(dtype))


def _mobilenet_v2(name: str, dtype: Dtype) -> Backbone:
    return Backbone(name, FEATURE_DIM, 224, MobileNetV2(dtype))


def _efficientnet_lite0(name: str, dtype: Dtype) -> Backbone:
    mean, spread = (127.0,) * 3, (128.0,) * 3  # as in its training
    return Backbone(name, FEATURE_DIM, 224, EfficientNetLite0(dtype), mean=mean, spread=spread)


def _pixels(name: str, dtype: Dtype) -> Backbone:
    del dtype  # nothing is computed
    return Backbone(name, 8 * 8 * 3, 8, Pixels())


def _resnet(name: str, dtype: Dtype) -> Backbone:
    block, stage_sizes = _RESNETS[name]
    return Backbone(
        name,
        512 * block.expansion,
        224,
        ResNet(block, stage_sizes, dtype),
        mean=_IMAGENET_MEAN,
        spread=_IMAGENET_SPREAD,
    )


def _vit(name: str, dtype: Dtype) -> Backbone:
    width, depth, num_heads, num_registers = _VITS[name]
    network = VisionTransformer(width, depth, num_heads, num_registers, dtype=dtype)
    return Backbone(name, width, 224, network, mean=_IMAGENET_MEAN, spread=_IMAGENET_SPREAD)


def _rotary_vit(name: str, dtype: Dtype) -> Backbone:
    width, depth, num_heads, is_gated = _ROTARY_VITS[name]
    network = RotaryVisionTransformer(width, depth, num_heads, is_gated=is_gated, dtype=dtype)
    return Backbone(name, width, 224, network, mean=_IMAGENET_MEAN, spread=_IMAGENET_SPREAD)


def _checked(images: jax.Array, num_bands: int) -> jax.Array:
    allowed = (jnp.uint8, jnp.float32)
    if images.ndim != 4 or images.shape[-1] != num_bands or images.dtype not in allowed:
        raise ConfigError(
            f"images are {images.dtype}{list(images.shape)}; a backbone takes uint8 or float32 "
            f"[B, H, H, {num_bands}] with values in [0, 255]"
        )
    return images


_IMAGENET_MEAN = (123.675, 116.28, 103.53)  # torchvision's statistics, times 255
_IMAGENET_SPREAD = (58.395, 57.12, 57.375)


_RESNETS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
# Width, blocks, attention heads, register tokens; of DINOv2 (oquab2024dinov2, darcet2024vision).
_VITS = {
    "vit_s14": (384, 12, 6, 0),
    "vit_s14_reg4": (384, 12, 6, 4),
    "vit_b14": (768, 12, 12, 0),
    "vit_b14_reg4": (768, 12, 12, 4),
}
# Width, blocks, attention heads, whether blocks are gated; of DINOv3 (simeoni2025dinov3).
_ROTARY_VITS = {
    "vit_s16_dinov3": (384, 12, 6, False),
    "vit_s16plus_dinov3": (384, 12, 6, True),
    "vit_b16_dinov3": (768, 12, 12, False),
    "vit_l16_dinov3": (1024, 24, 16, False),
}
_MAKERS = {
    "efficientnet_lite0": _efficientnet_lite0,
    "mobilenet_v2": _mobilenet_v2,
    "pixels": _pixels,
    "tiny_cnn": _tiny_cnn,
    **dict.fromkeys(_RESNETS, _resnet),
    **dict.fromkeys(_VITS, _vit),
    **dict.fromkeys(_ROTARY_VITS, _rotary_vit),
}
