"""An ONNX graph under construction: nodes, constants, and shapes that depend on the size of the batch.

Arrays that JAX broadcasts to a shape before combining them stay small, because ONNX broadcasts by itself;
they are expanded when another operation needs the full shape.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from anneal_jax.errors import ConfigError

OPSET, IR_VERSION = 18, 9
"""Versions from 2022 and 2023, which older readers understand."""

BATCH = "num_tiles"
"""Name of the batch's dimension."""


class Tensor(NamedTuple):
    """A value that depends on the input.

    Attributes:
      name: name in the graph.
      shape: shape in JAX, with a symbolic batch.
      is_spread: whether it has that shape in the graph too, rather than 1 for some dimensions.
    """

    name: str
    shape: tuple[Any, ...]
    is_spread: bool = True


Value = Tensor | np.ndarray


class Graph:
    """A graph under construction: nodes and constants."""

    def __init__(self, onnx: Any, source: str):
        """Start a graph; `source` is the name of the input, whose first dimension is the batch."""
        self._onnx, self._source = onnx, source
        self._names = itertools.count()
        self._constants: dict[int, tuple[str, np.ndarray]] = {}  # holds the arrays, so that ids stay theirs
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []

    def add(self, operator: str, *inputs: Value | str, **attributes: Any) -> str:
        """Add a node with one output, and return the output's name."""
        names = [value if isinstance(value, str) else self.name(value) for value in inputs]
        output = f"{operator.lower()}_{next(self._names)}"
        self.nodes.append(self._onnx.helper.make_node(operator, names, [output], **attributes))
        return output

    def name(self, value: Value) -> str:
        """Return the name of a value; a constant is written on first use."""
        if isinstance(value, Tensor):
            return value.name
        if id(value) not in self._constants:
            name = f"constant_{next(self._names)}"
            self._constants[id(value)] = name, value
            self.initializers.append(self._onnx.numpy_helper.from_array(np.ascontiguousarray(value), name))
        return self._constants[id(value)][0]

    def reshaped(self, value: Value, shape: Sequence[Any]) -> str:
        """Add a reshape to a shape with at most one dimension that depends on the batch."""
        sizes = [size if isinstance(size, int) else -1 for size in shape]
        if sizes.count(-1) > 1:
            raise refusal(f"a reshape to {tuple(shape)}")
        return self.add("Reshape", value, np.array(sizes, np.int64))

    def whole(self, value: Value) -> Value:
        """Expand a value to its shape in JAX."""
        if not isinstance(value, Tensor) or value.is_spread:
            return value
        sizes = [self._size(size) for size in value.shape]
        return Tensor(self.add("Expand", value, self.add("Concat", *sizes, axis=0)), value.shape)

    def _size(self, size: Any) -> str | np.ndarray:
        if isinstance(size, int):
            return np.array([size], np.int64)
        if str(size) != BATCH:
            raise refusal(f"an array spread to {size}")
        return self.add("Shape", self._source, start=0, end=1)


class Equation(NamedTuple):
    """One operation of a traced function.

    Attributes:
      inputs: its inputs.
      params: its parameters, as named by JAX.
      shape: shape of its output.
      dtype: dtype of its output.
    """

    inputs: list[Value]
    params: dict[str, Any]
    shape: tuple[Any, ...]
    dtype: Any


Rule = Callable[[Graph, Equation], Tensor]


def refusal(what: str) -> ConfigError:
    """Return the error for an operation without a rule."""
    return ConfigError(f"this model cannot be written to ONNX: there is no rule for {what}.")
