"""The names and layouts of PyTorch's networks in safetensors files: torchvision's, timm's, Hugging Face's.

PyTorch stores kernels as [out, in, height, width] and matrices as [out, in]; here they are [height, width,
in, out] and [in, out]. Everything else only changes its name. Parts of a file that the network does not use
are ignored: the classification layer, batch counters, and the mask token of DINO's training.
"""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import safe_open

from anneal_jax.errors import WeightsError, refusing
from anneal_jax.models.slots import Paths, Shapes, Slot
from anneal_jax.models.vit import PositionResampling

_UNUSED = re.compile(r"(.*\.num_batches_tracked|(fc|head|classifier)\..*|(embeddings\.)?mask_token)")
_LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
_NAMES_SHOWN = 3
_READ_TYPES = ("F64", "F32", "F16", "BF16")  # of safetensors


class Naming(NamedTuple):
    """How one family of files names the arrays of a network.

    Attributes:
      family: name of the family, for messages.
      prefixes: possible prefixes of every name except the classification layer's.
      slots: maps the shapes of a network's variables to slots.
      position_resampling: the family's resampling of position embeddings in a vision transformer without
        registers.
      mark: a name that distinguishes the family from another one with the same names.
    """

    family: str
    prefixes: tuple[str, ...]
    slots: Callable[[Shapes], list[Slot]]
    position_resampling: PositionResampling = "bicubic_antialiased"
    mark: str = ""


def read_safetensors(file: Path, prefix: str) -> dict[str, np.ndarray]:
    """Read the arrays that a network may use, as float32, with the prefix removed from their names.

    Raises:
      WeightsError: the file is damaged.
    """
    with _opened(file) as stored:
        used = {name.removeprefix(prefix): name for name in stored.keys()}  # noqa: SIM118
        return {
            short: _as_float32(file, stored, name)
            for short, name in used.items()
            if not _UNUSED.fullmatch(short)
        }


def stored_names(file: Path) -> list[str]:
    """Return the names in a safetensors file, without reading arrays.

    Raises:
      WeightsError: the file is damaged.
    """
    with _opened(file) as stored:
        return list(stored.keys())


def stored_metadata(file: Path) -> dict[str, str]:
    """Return the metadata of a safetensors file.

    Raises:
      WeightsError: the file is damaged.
    """
    with _opened(file) as stored:
        return stored.metadata() or {}


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    with refusing(functools.partial(_damaged, file)):
        stored = safe_open(file, "numpy")
    with stored:
        yield stored


def _as_float32(file: Path, stored: Any, name: str) -> np.ndarray:
    with refusing(functools.partial(_damaged, file)):
        kind = stored.get_slice(name).get_dtype()
    if kind not in _READ_TYPES:
        raise WeightsError(
            f"{file}: {name} is stored as {kind}, without a usable scale; give the file "
            "in float32, float16 or bfloat16"
        )
    with refusing(functools.partial(_damaged, file)):
        return stored.get_tensor(name).astype(np.float32)


def recognise(file: Path, backbone_name: str, shapes: Shapes) -> tuple[Naming, str]:
    """Return the naming that most names in a file follow, and their prefix.

    Raises:
      WeightsError: no name in the file is one of the network's, or the file is damaged.
    """
    names = set(stored_names(file))

    def matches(naming: Naming, prefix: str) -> int:
        expected = {prefix + name for slot in naming.slots(shapes) for name in slot.names}
        return len(names & (expected | {naming.mark}))

    candidates = [(n, p) for n in namings(backbone_name) for p in n.prefixes]
    best = max(candidates, key=lambda candidate: matches(*candidate))
    if not matches(*best):
        families = " or ".join(naming.family for naming in namings(backbone_name))
        first = ", ".join(sorted(names)[:_NAMES_SHOWN]) or "none"
        raise WeightsError(
            f"{file}: no array in it has a name that {families} give to {backbone_name}; its first names "
            f"are {first}. Choose the backbone that the file is for, or another file"
        )
    return best


def namings(backbone_name: str) -> tuple[Naming, ...]:
    """Return the namings for a backbone; none if there is no importer."""
    if backbone_name.startswith("resnet"):
        return _RESNET_NAMINGS
    if backbone_name.endswith("_dinov3"):
        return _DINOV3_NAMINGS
    return _VIT_NAMINGS if backbone_name.startswith("vit") else ()


def _resnet_slots(module_name: Callable[[str], str]) -> Callable[[Shapes], list[Slot]]:
    def slots(shapes: Shapes) -> list[Slot]:
        return [
            _plain(path, shape, f"{module_name('.'.join(path[1:-1]))}.{_LEAVES[path[-1]]}")
            for path, shape in shapes.items()
        ]

    return slots


def _torchvision_module(module: str) -> str:
    return module.replace("_", ".")


def _hugging_face_module(module: str) -> str:
    """Rename `layer2_0.conv1` to `encoder.stages.1.layers.0.layer.0.convolution`, and so on."""
    *blocks, layer = module.split(".")
    kind = "normalization" if layer.startswith("bn") or layer == "downsample_1" else "convolution"
    if not blocks:
        return f"embedder.embedder.{kind}"
    stage, block = blocks[0].removeprefix("layer").split("_")
    part = "shortcut" if layer.startswith("downsample") else f"layer.{int(layer[-1]) - 1}"
    return f"encoder.stages.{int(stage) - 1}.layers.{block}.{part}.{kind}"


class _VitNames(NamedTuple):
    """A family's names for the parts of a vision transformer; {} is the number of a block.

    The biases of queries, keys and values have their own names if not all three exist.
    """

    patch_embed: str
    class_token: str
    register_tokens: str
    norm: str
    block: str
    qkv: tuple[str, ...]
    proj: str
    scale1: str
    scale2: str
    positions: str = ""
    registers_have_class_position: bool = True
    qkv_biases: tuple[str | None, ...] = ()
    fc1: tuple[str, ...] = ("mlp.fc1",)
    gated_fc1: tuple[str, ...] = ()
    fc2: str = "mlp.fc2"


def _vit_slots(names: _VitNames) -> Callable[[Shapes], list[Slot]]:
    def slots(shapes: Shapes) -> list[Slot]:
        return [_vit_slot(names, path, shapes) for path in shapes]

    return slots


def _vit_slot(names: _VitNames, path: Paths, shapes: Shapes) -> Slot:
    shape = shapes[path]
    _, module, *_ = path
    if module in ("class_token", "register_tokens", "position_embedding"):
        return _token_slot(names, path, shapes)
    if not module.startswith("blocks_"):
        return _plain(path, shape, f"{getattr(names, module)}.{_LEAVES[path[-1]]}")
    block = names.block.format(module.removeprefix("blocks_"))
    part = path[2]
    if part in ("scale1", "scale2"):
        return _plain(path, shape, f"{block}.{getattr(names, part)}")
    if path[2:] == ("qkv", "bias") and names.qkv_biases:
        return _vector_of_shares(path, shape, [name and f"{block}.{name}" for name in names.qkv_biases])
    is_gated = shapes[(*path[:2], "fc1", "bias")][0] > shapes[(*path[:2], "fc2", "kernel")][0]
    fc1 = names.gated_fc1 if is_gated else names.fc1
    modules = {"qkv": names.qkv, "proj": (names.proj,), "fc1": fc1, "fc2": (names.fc2,)}
    return _plain(path, shape, *(f"{block}.{m}.{_LEAVES[path[-1]]}" for m in modules.get(part, (part,))))


def _token_slot(names: _VitNames, path: Paths, shapes: Shapes) -> Slot:
    """Split position embeddings, which a file stores as one list, starting with that of the class token."""
    if not names.positions:
        name = names.class_token if path[1] == "class_token" else names.register_tokens
        return Slot(path, (name,), ((1, *shapes[path]),), lambda tokens: tokens[0])
    side, _, width = shapes[("params", "position_embedding")]
    has_registers = ("params", "register_tokens") in shapes
    has_own = names.registers_have_class_position or not has_registers
    positions = (1, side * side + has_own, width)
    if path[1] == "register_tokens":
        return Slot(path, (names.register_tokens,), ((1, *shapes[path]),), lambda tokens: tokens[0])
    if path[1] == "position_embedding":
        return Slot(
            path, (names.positions,), (positions,), lambda p: p[0, has_own:].reshape(side, side, width)
        )
    if not has_own:
        return Slot(path, (names.class_token,), ((1, 1, width),), lambda token: token[0])
    return Slot(
        path, (names.class_token, names.positions), ((1, 1, width), positions), lambda t, p: t[0] + p[0, :1]
    )


def _plain(path: Paths, shape: tuple[int, ...], *names: str) -> Slot:
    """Slot for an array with reversed axes in PyTorch; several names are stacked along their first axis."""
    out_first = _to_torch(shape)
    share = (out_first[0] // len(names), *out_first[1:])
    return Slot(path, names, (share,) * len(names), lambda *parts: _from_torch(np.concatenate(parts)))


def _vector_of_shares(path: Paths, shape: tuple[int, ...], names: Sequence[str | None]) -> Slot:
    """A vector of equal shares; those without a name are zero."""
    present = [place for place, name in enumerate(names) if name]
    share = shape[0] // len(names)

    def joined(*parts: np.ndarray) -> np.ndarray:
        whole = np.zeros((len(names), share), np.float32)
        for place, part in zip(present, parts, strict=True):
            whole[place] = part
        return whole.reshape(-1)

    return Slot(path, tuple(filter(None, names)), ((share,),) * len(present), joined)


def _to_torch(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-3:-1], *shape[:-2]) if len(shape) > 1 else shape


def _from_torch(array: np.ndarray) -> np.ndarray:
    """Convert [out, in, ...] to [..., in, out]."""
    return np.ascontiguousarray(np.moveaxis(array, (0, 1), (-1, -2))) if array.ndim > 1 else array


def _damaged(file: Path, reason: str) -> WeightsError:
    return WeightsError(f"{file} is not an intact safetensors file ({reason}); download it again")


_TIMM_VIT = _VitNames(
    patch_embed="patch_embed.proj",
    class_token="cls_token",  # noqa: S106
    register_tokens="reg_token",
    positions="pos_embed",
    norm="norm",
    block="blocks.{}",
    qkv=("attn.qkv",),
    proj="attn.proj",
    scale1="ls1.gamma",
    scale2="ls2.gamma",
    registers_have_class_position=False,
)
_ORIGINAL_VIT = _TIMM_VIT._replace(register_tokens="register_tokens", registers_have_class_position=True)
_HUGGING_FACE_VIT = _VitNames(
    patch_embed="embeddings.patch_embeddings.projection",
    class_token="embeddings.cls_token",  # noqa: S106
    register_tokens="embeddings.register_tokens",
    positions="embeddings.position_embeddings",
    norm="layernorm",
    block="encoder.layer.{}",
    qkv=tuple(f"attention.attention.{part}" for part in ("query", "key", "value")),
    proj="attention.output.dense",
    scale1="layer_scale1.lambda1",
    scale2="layer_scale2.lambda1",
)
_TIMM_DINOV3 = _TIMM_VIT._replace(
    positions="",
    scale1="gamma_1",
    scale2="gamma_2",
    qkv_biases=(None, None, None),
    gated_fc1=("mlp.fc1_g", "mlp.fc1_x"),
)
_HUGGING_FACE_DINOV3 = _VitNames(
    patch_embed="embeddings.patch_embeddings",
    class_token="embeddings.cls_token",  # noqa: S106
    register_tokens="embeddings.register_tokens",
    norm="norm",
    block="layer.{}",
    qkv=tuple(f"attention.{part}_proj" for part in "qkv"),
    qkv_biases=("attention.q_proj.bias", None, "attention.v_proj.bias"),
    proj="attention.o_proj",
    scale1="layer_scale1.lambda1",
    scale2="layer_scale2.lambda1",
    fc1=("mlp.up_proj",),
    gated_fc1=("mlp.gate_proj", "mlp.up_proj"),
    fc2="mlp.down_proj",
)
_RESNET_NAMINGS = (
    Naming("torchvision and timm", ("",), _resnet_slots(_torchvision_module)),
    Naming("Hugging Face", ("", "resnet."), _resnet_slots(_hugging_face_module)),
)
_VIT_NAMINGS = (
    Naming("timm", ("",), _vit_slots(_TIMM_VIT)),
    Naming("DINOv2's own code", ("",), _vit_slots(_ORIGINAL_VIT), "bicubic_offset", mark="mask_token"),
    Naming(
        "Hugging Face",
        ("", "dinov2.", "dinov2_with_registers."),
        _vit_slots(_HUGGING_FACE_VIT),
        "bicubic",
    ),
)
_DINOV3_NAMINGS = (
    Naming("timm", ("",), _vit_slots(_TIMM_DINOV3)),
    Naming(
        "timm with biases",
        ("",),
        _vit_slots(_TIMM_DINOV3._replace(qkv_biases=("attn.q_bias", None, "attn.v_bias"))),
    ),
    Naming("Hugging Face", ("", "dinov3_vit."), _vit_slots(_HUGGING_FACE_DINOV3)),
)
