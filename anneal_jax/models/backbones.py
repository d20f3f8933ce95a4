"""The networks that turn a tile into a feature, by name, behind init and apply."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.typing import Dtype

from anneal_jax.errors import ConfigError, unknown_name
from anneal_jax.models.mobilenet_v2 import MobileNetV2
from anneal_jax.models.resnet import BasicBlock, Bottleneck, ResNet
from anneal_jax.models.tiny_cnn import TinyCNN

_LARGEST_PIXELS_SIZE = 64


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A network from tiles to features, with the scaling of its input inside.

    Attributes:
      name: what `get_backbone` knows it by.
      feature_dim: F, values per feature; for `pixels` at the default image size.
      default_image_size: side of the tiles it was designed for, in pixels.
      network: the Flax module; takes images scaled by `mean` and `spread`.
      mean: per band, subtracted from values in [0, 255].
      spread: per band, what they are then divided by.

    >>> backbone = get_backbone("tiny_cnn")
    >>> variables = backbone.init(jax.random.key(0), image_size=16)
    >>> backbone.apply(variables, jnp.zeros((2, 16, 16, 3), jnp.uint8)).shape
    (2, 128)
    """

    name: str
    feature_dim: int
    default_image_size: int
    network: nn.Module
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    spread: tuple[float, float, float] = (127.5, 127.5, 127.5)

    def init(self, key: jax.Array, image_size: int) -> Any:
        """Draw random variables: `params`, and `batch_stats` for a ResNet.

        Args:
          key: a PRNG key.
          image_size: side of the tiles, in pixels.
        """
        images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
        return jax.jit(self.network.init)(key, images)

    def apply(self, variables: Any, images: jax.typing.ArrayLike) -> jax.Array:
        """Compute features; pure, differentiable in `variables` and free to be jitted.

        Args:
          variables: from `init` or `load_pretrained`.
          images: uint8 or float32[B, S, S, 3] in [0, 255], RGB.

        Returns:
          float32[B, F].

        Raises:
          ConfigError: `images` has another shape or dtype.
        """
        scaled = self._scale(_checked(jnp.asarray(images)))
        return jnp.asarray(self.network.apply(variables, scaled)).astype(jnp.float32)

    def _scale(self, images: jax.Array) -> jax.Array:
        mean, spread = (
            jnp.array([[[band_values]]], jnp.float32) for band_values in (self.mean, self.spread)
        )
        return (images.astype(jnp.float32) - mean) / spread


class Pixels(nn.Module):
    """The tile itself, flattened: a baseline without parameters for small tiles."""

    @nn.compact
    def __call__(self, images: jax.Array) -> jax.Array:
        """Map float32[B, S, S, 3] to float32[B, S * S * 3].

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


def get_backbone(name: str, dtype: Dtype = jnp.float32) -> Backbone:
    """Look up a backbone by name.

    Args:
      name: one of `backbone_names()`.
      dtype: of the computation. Parameters and features are float32 whatever it is.

    Raises:
      ConfigError: no backbone has that name.

    >>> get_backbone("mobilenet_v2").feature_dim
    1280
    """
    if name not in _MAKERS:
        raise unknown_name("backbone", name, backbone_names())
    return _MAKERS[name](name, dtype)


def _tiny_cnn(name: str, dtype: Dtype) -> Backbone:
    return Backbone(name, 128, 32, TinyCNN(dtype))


def _mobilenet_v2(name: str, dtype: Dtype) -> Backbone:
    return Backbone(name, 1280, 224, MobileNetV2(dtype))


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
        mean=(123.675, 116.28, 103.53),  # torchvision's ImageNet statistics, times 255
        spread=(58.395, 57.12, 57.375),
    )


def _checked(images: jax.Array) -> jax.Array:
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype not in (jnp.uint8, jnp.float32):
        raise ConfigError(
            f"images are {images.dtype}{list(images.shape)}; a backbone takes uint8 or float32 "
            "[B, S, S, 3] with values in [0, 255]"
        )
    return images


_RESNETS = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
}
_MAKERS = {
    "mobilenet_v2": _mobilenet_v2,
    "pixels": _pixels,
    "tiny_cnn": _tiny_cnn,
    **dict.fromkeys(_RESNETS, _resnet),
}
