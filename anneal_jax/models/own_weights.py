"""Weights of any backbone as this package writes them: safetensors under the names of its own arrays.

A name is the path of an array in the variables, its parts joined by `/`, such as `params/conv1/kernel`; the
layout is the network's own. The metadata say which backbone they are for, and how its input is prepared.
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
    """Write a file that `pretrained` takes, replacing an older one as a whole.

    Args:
      path: of the file, `.safetensors`.
      backbone: the network.
      variables: its variables.
      preparation: how its input is prepared, as JSON.

    Raises:
      WeightsError: the name has another ending.
      WorkdirError: the file's folder does not exist.
    """
    if path.suffix != ".safetensors":
        raise WeightsError(f"{path}: weights are written as .safetensors; give the file that ending")
    arrays = {
        "/".join(parts): np.ascontiguousarray(array)
        for parts, array in traverse_util.flatten_dict(variables).items()
    }
    metadata = {"format": _FORMAT, "backbone": backbone.name, "preparation": preparation}
    with atomic.replacing(path) as temporary:
        save_file(arrays, temporary, metadata)


def own_metadata(file: Path) -> dict[str, str] | None:
    """Return the metadata of a file of this package's; None for any other file.

    Raises:
      WeightsError: it is a safetensors file, and damaged.
    """
    if file.suffix != ".safetensors":
        return None
    metadata = stored_metadata(file)
    return metadata if metadata.get("format") == _FORMAT else None


def read_weights(file: Path, backbone: Backbone, shapes: Shapes) -> Any:
    """Read the variables of a backbone from a file that `own_metadata` knows.

    Args:
      file: its path.
      backbone: the network.
      shapes: of its variables.

    Raises:
      WeightsError: the file is of another backbone or other bands, or is damaged.
    """
    require_backbone(file, stored_metadata(file), backbone)
    slots = [Slot(path, ("/".join(path),), (shape,), np.asarray) for path, shape in shapes.items()]
    return fill(file, slots, read_safetensors(file, prefix=""))


def require_backbone(file: Path, metadata: dict[str, str], backbone: Backbone) -> None:
    """Raise WeightsError where a file's metadata, as `own_metadata` gives them, name another backbone."""
    named = metadata["backbone"]
    if named != backbone.name:
        raise WeightsError(
            f"{file} holds weights of {named!r}, not of {backbone.name!r}; set `backbone` to it, or give "
            "other weights"
        )
