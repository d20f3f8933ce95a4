"""Weights of any backbone in this package's format: safetensors with the names of its own arrays.

A name is the path of an array in the variables, its parts joined by `/`, such as `params/conv1/kernel`; the
layout is the network's own. The metadata name the backbone and describe how its input is prepared.
"""

from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util
from safetensors.numpy import save_file

from anneal_jax.errors import WeightsError
from anneal_jax.files import atomic
from anneal_jax.models.backbones import Backbone
from anneal_jax.models.slots import Shapes, Slot, fill
from anneal_jax.models.torch_names import read_safetensors, stored_metadata
from anneal_jax.types import Params

_FORMAT = "anneal-jax 1"


def write_weights(path: Path, backbone: Backbone, variables: Params, preparation: str) -> None:
    """Write a file for `pretrained`, atomically replacing an older one.

    Args:
      path: path of the file, `.safetensors`.
      backbone: the network.
      variables: its variables.
      preparation: preparation of its input, as JSON.

    Raises:
      WeightsError: the file has another suffix.
      WorkdirError: the file's folder does not exist.
    """
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: weights are written as .safetensors; give the file that suffix")
    arrays = {
        "/".join(parts): np.ascontiguousarray(array)
        for parts, array in traverse_util.flatten_dict(variables).items()
    }
    metadata = {"format": _FORMAT, "backbone": backbone.name, "preparation": preparation}
    with atomic.replacing(path) as temporary:
        save_file(arrays, temporary, metadata)


def own_metadata(file: Path) -> dict[str, str] | None:
    """Return the metadata of a file written by this package; None for any other file.

    Raises:
      WeightsError: it is a damaged safetensors file.
    """
    if file.suffix != ".safetensors":
        return None
    metadata = stored_metadata(file)
    return metadata if metadata.get("format") == _FORMAT else None


def read_weights(file: Path, backbone: Backbone, shapes: Shapes) -> Any:
    """Read the variables of a backbone from a file recognised by `own_metadata`.

    Args:
      file: its path.
      backbone: the network.
      shapes: shapes of its variables.

    Raises:
      WeightsError: the file is for another backbone or other bands, or is damaged.
    """
    require_backbone(file, stored_metadata(file), backbone)
    slots = [Slot(path, ("/".join(path),), (shape,), np.asarray) for path, shape in shapes.items()]
    return fill(file, slots, read_safetensors(file, prefix=""))


def require_backbone(file: Path, metadata: dict[str, str], backbone: Backbone) -> None:
    """Raise WeightsError if a file's metadata from `own_metadata` name another backbone."""
    named = metadata.get("backbone", "")
    if named != backbone.name:
        raise WeightsError(
            f"{file} has weights of {named!r}, not of {backbone.name!r}; set `backbone` to it, or give "
            "other weights"
        )
