"""Import of pretrained weights. A file fits the network exactly or is refused."""

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

    Today's one format is the `.npz` of MobileNetV2 whose batch norm is folded into kernels and
    biases; its classification layer is left out.

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
