"""The preparation of tiles for a pretrained network, from the files next to its weights.

`config.json` is read if timm wrote it, `preprocessor_config.json` if transformers did; both are next to
`model.safetensors` on the hub. Without them, a backbone's own values apply: ImageNet's mean and spread, 224
px, bilinear.

The whole tile is always resized: the centre crop, which is usual in the evaluation of photographs, would
discard a border that is as important as the middle.
"""

import json
import math
import reprlib
from pathlib import Path
from typing import Any, NamedTuple

from anneal_jax.errors import WeightsError, reason_of
from anneal_jax.models.backbones import Backbone

RESAMPLINGS = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")
"""Filters by name, in the order of Pillow's numbers."""

_BILINEAR = RESAMPLINGS.index("bilinear")
_LARGEST_SIZE = 8_192
_FOLDER_FILES = ("config.json", "preprocessor_config.json")


class Preprocessing(NamedTuple):
    """The preparation of a tile before the network.

    Attributes:
      mean: values for red, green and blue, subtracted from values in [0, 255].
      spread: values for red, green and blue, by which these are then divided.
      image_size: side in pixels.
      resampling: one of `RESAMPLINGS`.
    """

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    image_size: int
    resampling: str


def read_preprocessing(folder: Path) -> Preprocessing | None:
    """Return the preparation described by the files of a folder; None if they do not describe any.

    Raises:
      WeightsError: a file of timm or transformers exists but cannot be used.
    """
    timm, transformers = (_read_object(folder / name) for name in _FOLDER_FILES)
    readers = ((transformers, "image_mean", _of_transformers), (_timm_settings(timm), "mean", _of_timm))
    for settings, mark, reader in readers:
        if mark in settings:
            try:
                return _checked(reader(settings))
            except (KeyError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
                raise WeightsError(
                    f"the preprocessing next to the weights in {folder} cannot be used ({error!r}); move "
                    f"{' and '.join(_FOLDER_FILES)} away to use the backbone's own"
                ) from error
    return None


def check_architecture(folder: Path, backbone: Backbone) -> None:
    """Raise an error for weights that match a backbone by name but are for another network.

    Raises:
      WeightsError: the config next to them says so.
    """
    config = _read_object(folder / "config.json")
    named = config.get("architecture")  # timm's
    if isinstance(named, str) and named.removeprefix("tv_") not in _TIMM_NAMES.get(backbone.name, (named,)):
        raise WeightsError(
            f"the weights in {folder} are for {named!r}, which is not the network of {backbone.name!r}; "
            "choose the backbone that they are for, or other weights"
        )
    for setting in ("downsample_in_bottleneck", "downsample_in_first_stage", "use_swiglu_ffn"):
        if config.get(setting):
            raise WeightsError(
                f"the weights in {folder} are for a network with {setting}, which {backbone.name!r} "
                "lacks; choose other weights"
            )


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        reason = reason_of(error)
        raise WeightsError(f"cannot read {file} next to the weights ({reason}); get it again") from error
    return value if isinstance(value, dict) else {}


def _timm_settings(config: dict[str, Any]) -> dict[str, Any]:
    """Return timm's settings, which older files mix with those of the architecture."""
    inner = config.get("pretrained_cfg", config)
    return inner if isinstance(inner, dict) and "architecture" in config else {}


def _of_timm(settings: dict[str, Any]) -> Preprocessing:
    _, _, image_size = settings["input_size"]
    mean, spread = (_scaled(settings[name], 255.0) for name in ("mean", "std"))
    return Preprocessing(mean, spread, image_size, settings.get("interpolation", "bilinear"))


def _of_transformers(settings: dict[str, Any]) -> Preprocessing:
    is_rescaled = settings.get("do_rescale", True)
    white = 1 / _positive(settings.get("rescale_factor", 1 / 255)) if is_rescaled else 1.0
    mean, spread = _scaled(settings["image_mean"], white), _scaled(settings["image_std"], white)
    if not settings.get("do_normalize", True):
        mean, spread = (0.0,) * 3, (white,) * 3
    is_cropped = settings.get("do_center_crop", "crop_size" in settings)
    size = settings["crop_size"] if is_cropped else settings["size"]
    if isinstance(size, dict):
        size = size["height"] if "height" in size else size["shortest_edge"]
    return Preprocessing(mean, spread, size, _resampling(settings.get("resample", _BILINEAR)))


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"{value!r} is not a number above 0")
    return float(value)


def _resampling(value: Any) -> str:
    if type(value) is not int or not 0 <= value < len(RESAMPLINGS):
        raise ValueError(f"the resampling {value!r} is not one of the numbers 0 to {len(RESAMPLINGS) - 1}")
    return RESAMPLINGS[value]


def _scaled(values: Any, factor: float) -> tuple[float, ...]:
    kinds = {type(value) for value in values} if isinstance(values, list) else {None}
    if not kinds <= {int, float}:
        raise ValueError(f"{values!r} is not a list of numbers")
    return tuple(factor * float(value) for value in values)


def _checked(found: Preprocessing) -> Preprocessing:
    numbers = (*found.mean, *found.spread)
    if (
        len(found.mean) != 3
        or len(found.spread) != 3
        or not all(map(math.isfinite, numbers))
        or min(found.spread) <= 0
    ):
        raise ValueError(f"mean {found.mean} and spread {found.spread} are not three numbers each")
    if type(found.image_size) is not int or not 1 <= found.image_size <= _LARGEST_SIZE:
        raise ValueError(f"the size is {reprlib.repr(found.image_size)} pixels")
    if found.resampling not in RESAMPLINGS:
        raise ValueError(f"the interpolation is {found.resampling!r}")
    return found


_TIMM_NAMES = {
    **{name: (name,) for name in ("resnet18", "resnet34", "resnet50")},
    "vit_s14": ("vit_small_patch14_dinov2",),
    "vit_s14_reg4": ("vit_small_patch14_reg4_dinov2",),
    "vit_b14": ("vit_base_patch14_dinov2",),
    "vit_b14_reg4": ("vit_base_patch14_reg4_dinov2",),
    "vit_s16_dinov3": ("vit_small_patch16_dinov3", "vit_small_patch16_dinov3_qkvb"),
    "vit_s16plus_dinov3": ("vit_small_plus_patch16_dinov3", "vit_small_plus_patch16_dinov3_qkvb"),
    "vit_b16_dinov3": ("vit_base_patch16_dinov3", "vit_base_patch16_dinov3_qkvb"),
    "vit_l16_dinov3": ("vit_large_patch16_dinov3", "vit_large_patch16_dinov3_qkvb"),
}
