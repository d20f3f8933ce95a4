"""Import of pretrained weights. A file fits the network exactly or is refused.

The one format so far is an `.npz` (`numpy.savez`) of MobileNetV2 1.0 (sandler2018mobilenetv2) with batch
norm folded into the layers. Each of its 52 layers, numbered in the order in which a tile passes them, has
two arrays, `LAYER/kernel` and `LAYER/bias`, of any float type; they are read as float32. LAYER is
`NN_KIND_sSTRIDE_actACT`: NN from `00` on, KIND `conv` or `dwconv`, STRIDE 1 or 2, ACT 3 where ReLU6
follows and 0 where nothing does.

- Layer `00_conv_s2_act3`, the stem: kernel [3, 3, 3, 32].
- Then 17 blocks, as in Table 2 of the paper. From C channels to W, with expansion t: `conv_s1_act3`, kernel
  [1, 1, C, t C], absent where t = 1; `dwconv_sSTRIDE_act3`, kernel [3, 3, 1, t C]; `conv_s1_act0`, kernel
  [1, 1, t C, W]. So the first block is `01_dwconv_s1_act3` and `02_conv_s1_act0`, the last ends at 50.
- Layer `51_conv_s1_act3`, the head: kernel [1, 1, 320, 1280]. Its mean over all places is the feature.
- A layer `52_conv_s1_act0`, the classes, may follow and is not read; any other array is refused.

`dict(folded_layer_names())` of `anneal_jax.models.mobilenet_v2` lists the layers. Kernels are
[height, width, in, out], those of depthwise layers [height, width, 1, channels]; a bias is [out]. From
PyTorch's [out, in, height, width] both come by `kernel.transpose(2, 3, 1, 0)`. Batch norm with gamma, beta,
mean, variance and epsilon is folded, per output channel, by g = gamma / sqrt(variance + epsilon): the
kernel becomes kernel * g, the bias beta - mean * g. The weights must be for RGB scaled to [-1, 1], as
x / 127.5 - 1 of 8-bit values, and for TensorFlow's SAME padding: where a stride of 2 needs one pixel of it
only, that is at the bottom and right. A file of weights for another scaling or padding is not noticed.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from anneal_jax.errors import WeightsError
from anneal_jax.models.backbones import Backbone
from anneal_jax.models.mobilenet_v2 import FOLDED_CLASSIFIER, folded_layer_names

_Path = tuple[str, ...]

_PICKLES = (".pth", ".pt", ".pkl", ".ckpt", ".bin")
# A .npy where an .npz should be is no context manager: TypeError.
_DAMAGES = (OSError, EOFError, TypeError, ValueError, zipfile.BadZipFile, zlib.error)
_MOST_DIFFERENCES_SHOWN = 5


def load_pretrained(backbone: Backbone, path: str | Path) -> Any:
    """Read a backbone's variables from a file.

    Today's one format is the `.npz` of MobileNetV2, laid out as this module says at its head.

    Args:
      backbone: the network to fill.
      path: the file.

    Returns:
      Variables for `backbone.apply`, float32.

    Raises:
      WeightsError: the file is missing, is damaged, may run code when read (a pickle), or differs
        from the network in a name or shape.
    """
    file = _readable(Path(path))
    if backbone.name != "mobilenet_v2":
        raise WeightsError(
            f"{file}: no importer for backbone {backbone.name!r}; "
            "set `pretrained` to none, or `backbone` to mobilenet_v2"
        )
    shapes = _parameter_shapes(backbone)
    arrays = _read_npz(file)
    _refuse_differences(file, arrays, {k: _file_shape(shapes[path]) for k, path in _paths(shapes)})
    filled = {path: jnp.asarray(arrays[k].reshape(shapes[path])) for k, path in _paths(shapes)}
    return {"params": traverse_util.unflatten_dict(filled)}


def weights_digest(path: str | Path) -> str:
    """Return the SHA-256 of a weights file, in hexadecimal.

    Raises:
      WeightsError: the file is missing or a pickle.
    """
    with _readable(Path(path)).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _readable(path: Path) -> Path:
    if not path.is_file():
        raise WeightsError(f"no weights file at {path}; correct the path or set it to none")
    if path.suffix.lower() in _PICKLES:
        raise WeightsError(
            f"{path} is a pickle, which can run any code when it is read; convert it where you "
            "trust it: safetensors.torch.save_file(torch.load(PATH, weights_only=True), OUTPUT)"
        )
    return path


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    """Read all arrays but those of the classification layer, as float32."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            names = [name for name in stored.files if not name.startswith(FOLDED_CLASSIFIER)]
            arrays = {name: stored[name].astype(np.float32) for name in names}
    except _DAMAGES as error:
        raise WeightsError(f"{file} is no intact .npz of arrays ({error}); fetch it anew") from error
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(f"{file}: {name} holds nan or infinite values; fetch it anew")
    return arrays


def _parameter_shapes(backbone: Backbone) -> dict[_Path, tuple[int, ...]]:
    size = backbone.default_image_size
    variables = jax.eval_shape(lambda key: backbone.init(key, size), jax.random.key(0))
    flat: dict[_Path, Any] = traverse_util.flatten_dict(variables["params"])
    return {path: leaf.shape for path, leaf in flat.items()}


def _paths(shapes: Iterable[_Path]) -> Iterator[tuple[str, _Path]]:
    """Yield (name in the file, path inside the parameters) of every parameter."""
    layer_names = dict(folded_layer_names())
    for path in shapes:
        yield f"{layer_names[path[:-1]]}/{path[-1]}", path


def _file_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape in the file: there, a matrix is the kernel of a 1x1 convolution."""
    return (1, 1, *shape) if len(shape) == 2 else shape


def _refuse_differences(
    file: Path, arrays: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]
) -> None:
    found = {name: array.shape for name, array in arrays.items()}
    differences = [
        f"{name} is {found.get(name, 'absent')}, expected {expected.get(name, 'absent')}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if differences:
        shown = "; ".join(differences[:_MOST_DIFFERENCES_SHOWN])
        raise WeightsError(
            f"{file} does not fit the network in {len(differences)} of {len(expected)} arrays: {shown}"
        )
