"""Maps the arrays of a weights file to the variables of a network, which must match exactly."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from anneal_jax.errors import WeightsError
from anneal_jax.models.backbones import Backbone

Paths = tuple[str, ...]
"""Path of an array in a network's variables, the collection first."""

Shapes = Mapping[Paths, tuple[int, ...]]
Arrays = Mapping[str, np.ndarray]

_MAX_DIFFERENCES_SHOWN = 5


class Slot(NamedTuple):
    """One array of a network, and its source.

    Attributes:
      path: path of the array in the network's variables.
      names: names of its source arrays in the file.
      shapes: their shapes in the file.
      convert: makes the array from these, in order.
    """

    path: Paths
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    convert: Callable[..., np.ndarray]


def variable_shapes(backbone: Backbone) -> dict[Paths, tuple[int, ...]]:
    """Return the shape of every array of a network, without computing them."""
    size = backbone.default_image_size
    variables = jax.eval_shape(lambda key: backbone.init(key, size), jax.random.key(0))
    flat: dict[Paths, Any] = traverse_util.flatten_dict(variables)
    return {path: leaf.shape for path, leaf in flat.items()}


def fill(file: Path, slots: Iterable[Slot], arrays: Arrays) -> dict[str, Any]:
    """Fill the slots with the arrays of a file.

    Args:
      file: path for messages.
      slots: slots of all arrays of the network.
      arrays: arrays of the file, without those that the network does not use.

    Returns:
      The variables, float32.

    Raises:
      WeightsError: an array is missing, unused, has another shape, or is not finite.
    """
    slots = list(slots)
    expected = {name: shape for slot in slots for name, shape in zip(slot.names, slot.shapes, strict=True)}
    _refuse_differences(file, {name: array.shape for name, array in arrays.items()}, expected)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(f"{file}: {name} contains nan or infinite values; download it again")
    filled = {
        slot.path: jnp.asarray(slot.convert(*(arrays[name] for name in slot.names))) for slot in slots
    }
    return traverse_util.unflatten_dict(filled)


def _refuse_differences(
    file: Path, found: Mapping[str, tuple[int, ...]], expected: Mapping[str, tuple[int, ...]]
) -> None:
    differences = [
        f"{name} is {found.get(name, 'absent')}, expected {expected.get(name, 'absent')}"
        for name in sorted(found.keys() | expected.keys())
        if found.get(name) != expected.get(name)
    ]
    if differences:
        shown = "; ".join(differences[:_MAX_DIFFERENCES_SHOWN])
        more = len(differences) - _MAX_DIFFERENCES_SHOWN
        raise WeightsError(
            f"{file} does not match the network in {len(differences)} of {len(expected)} arrays: {shown}"
            + (f"; and {more:,} more" if more > 0 else "")
        )
