"""From the arrays of a weights file to the variables of a network: fitting exactly, or refused."""

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
"""Names from the root of a network's variables down to one array, the collection first."""

Shapes = Mapping[Paths, tuple[int, ...]]
Arrays = Mapping[str, np.ndarray]

_MAX_DIFFERENCES_SHOWN = 5


class Slot(NamedTuple):
    """One array of a network, and where it comes from.

    Attributes:
      path: of the array, in the network's variables.
      names: of the arrays in the file that it is made of.
      shapes: of these, in the file.
      convert: makes the array from them, given in their order.
    """

    path: Paths
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    convert: Callable[..., np.ndarray]


def variable_shapes(backbone: Backbone) -> dict[Paths, tuple[int, ...]]:
    """Return the shape of every array of a network, without computing any."""
    size = backbone.default_image_size
    variables = jax.eval_shape(lambda key: backbone.init(key, size), jax.random.key(0))
    flat: dict[Paths, Any] = traverse_util.flatten_dict(variables)
    return {path: leaf.shape for path, leaf in flat.items()}


def fill(file: Path, slots: Iterable[Slot], arrays: Arrays) -> dict[str, Any]:
    """Put the arrays of a file in their slots.

    Args:
      file: for the messages.
      slots: of all arrays of the network.
      arrays: of the file, without those that the network has no use for.

    Returns:
      The variables, float32.

    Raises:
      WeightsError: an array is missing, left over, of another shape, or not finite.
    """
    slots = list(slots)
    expected = {name: shape for slot in slots for name, shape in zip(slot.names, slot.shapes, strict=True)}
    _refuse_differences(file, {name: array.shape for name, array in arrays.items()}, expected)
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(f"{file}: {name} holds nan or infinite values; fetch it anew")
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
            f"{file} does not fit the network in {len(differences)} of {len(expected)} arrays: {shown}"
            + (f"; and {more:,} more" if more > 0 else "")
        )
