"""The ONNX equivalent of each JAX operation."""

import string
from collections.abc import Sequence
from typing import Any

import numpy as np

from anneal_jax.errors import ConfigError
from anneal_jax.exporting.onnx.graph import Equation, Graph, Rule, Tensor, Value


def _elementwise(operator: str) -> Rule:
    """Use one operator on arrays of the same shape; it broadcasts, so nothing is expanded first."""

    def rule(graph: Graph, equation: Equation) -> Tensor:
        inputs = equation.inputs
        is_spread = any(isinstance(value, Tensor) and value.is_spread for value in inputs)
        return Tensor(graph.add(operator, *inputs), equation.shape, is_spread)

    return rule


def _chain(*operators: str) -> Rule:
    """Use several operators with one input, one after another."""

    def rule(graph: Graph, equation: Equation) -> Tensor:
        (value,) = equation.inputs
        name = graph.name(value)
        for operator in operators:
            name = graph.add(operator, name)
        return Tensor(name, equation.shape, _is_spread(value))

    return rule


def _erfc(graph: Graph, equation: Equation) -> Tensor:
    (value,) = equation.inputs
    one = np.ones((), equation.dtype)
    return Tensor(graph.add("Sub", one, graph.add("Erf", value)), equation.shape, _is_spread(value))


def _integer_power(graph: Graph, equation: Equation) -> Tensor:
    (value,) = equation.inputs
    power = np.array(equation.params.get("y", 2), equation.dtype)
    return Tensor(graph.add("Pow", value, power), equation.shape, _is_spread(value))


def _cast(graph: Graph, equation: Equation) -> Tensor:
    (value,) = equation.inputs
    kinds = {"float32": 1, "uint8": 2, "int32": 6, "bool": 9}  # TensorProto.DataType
    kind = kinds[np.dtype(equation.dtype).name]
    return Tensor(graph.add("Cast", value, to=kind), equation.shape, _is_spread(value))


def _same(graph: Graph, equation: Equation) -> Tensor:
    del graph
    (value,) = equation.inputs
    assert isinstance(value, Tensor)
    return value


def _select(graph: Graph, equation: Equation) -> Tensor:
    which, no, yes = map(graph.whole, equation.inputs)
    return Tensor(graph.add("Where", which, yes, no), equation.shape)


def _reduced(operator: str) -> Rule:
    def rule(graph: Graph, equation: Equation) -> Tensor:
        axes = np.array(equation.params["axes"], np.int64)
        return Tensor(graph.add(operator, _only(graph, equation), axes, keepdims=0), equation.shape)

    return rule


def _reshape(graph: Graph, equation: Equation) -> Tensor:
    return Tensor(graph.reshaped(_only(graph, equation), equation.shape), equation.shape)


def _broadcast(graph: Graph, equation: Equation) -> Tensor:
    """Insert dimensions of 1, and leave the expansion to operations that need it."""
    value = graph.whole(equation.inputs[0])
    sizes = [1] * len(equation.shape)
    for place, size in zip(equation.params["broadcast_dimensions"], value.shape, strict=True):
        sizes[place] = size
    is_spread = tuple(sizes) == equation.shape
    if isinstance(value, np.ndarray):
        return Tensor(graph.name(value.reshape(sizes)), equation.shape, is_spread)
    return Tensor(graph.reshaped(value, sizes), equation.shape, is_spread)


def _transpose(graph: Graph, equation: Equation) -> Tensor:
    order = [int(axis) for axis in equation.params["permutation"]]
    return Tensor(graph.add("Transpose", _only(graph, equation), perm=order), equation.shape)


def _slice(graph: Graph, equation: Equation) -> Tensor:
    limits = [n if isinstance(n, int) else np.iinfo(np.int64).max for n in equation.params["limit_indices"]]
    starts = equation.params["start_indices"]
    steps = equation.params["strides"] or (1,) * len(starts)
    parts = (np.array(part, np.int64) for part in (starts, limits, range(len(starts)), steps))
    return Tensor(graph.add("Slice", _only(graph, equation), *parts), equation.shape)


def _concatenate(graph: Graph, equation: Equation) -> Tensor:
    parts = map(graph.whole, equation.inputs)
    return Tensor(graph.add("Concat", *parts, axis=int(equation.params["dimension"])), equation.shape)


def _pad(graph: Graph, equation: Equation) -> Tensor:
    low, high, inner = zip(*equation.params["padding_config"], strict=True)
    if min(low + high) < 0 or any(inner):
        raise ConfigError("this model cannot be written to ONNX: it uses negative or interior padding.")
    value, fill = graph.whole(equation.inputs[0]), equation.inputs[1]
    return Tensor(graph.add("Pad", value, np.array(low + high, np.int64), fill), equation.shape)


def _dot(graph: Graph, equation: Equation) -> Tensor:
    left, right = map(graph.whole, equation.inputs)
    (left_sum, right_sum), (left_batch, right_batch) = equation.params["dimension_numbers"]
    letters = iter(string.ascii_letters)
    of_left = [next(letters) for _ in left.shape]
    of_right = [next(letters) for _ in right.shape]
    for ours, theirs in zip((*left_sum, *left_batch), (*right_sum, *right_batch), strict=True):
        of_right[theirs] = of_left[ours]
    batch = [of_left[axis] for axis in left_batch]
    rows = [of_left[axis] for axis in range(len(of_left)) if axis not in (*left_sum, *left_batch)]
    columns = [of_right[axis] for axis in range(len(of_right)) if axis not in (*right_sum, *right_batch)]
    if not batch and len(of_right) == 2 and (left_sum, right_sum) == ((len(of_left) - 1,), (0,)):
        return Tensor(graph.add("MatMul", left, right), equation.shape)
    formula = f"{''.join(of_left)},{''.join(of_right)}->{''.join(batch + rows + columns)}"
    return Tensor(graph.add("Einsum", left, right, equation=formula), equation.shape)


def _convolution(graph: Graph, equation: Equation) -> Tensor:
    params, numbers = equation.params, equation.params["dimension_numbers"]
    images, filters = map(graph.whole, equation.inputs)
    if params["batch_group_count"] != 1 or set(params["lhs_dilation"]) != {1}:
        raise ConfigError("this model cannot be written to ONNX: it uses a transposed convolution.")
    assert isinstance(filters, np.ndarray)  # weights do not depend on tiles
    low, high = zip(*params["padding"], strict=True)
    convolved = graph.add(
        "Conv",
        graph.add("Transpose", images, perm=list(numbers.lhs_spec)),
        np.transpose(filters, numbers.rhs_spec),
        strides=params["window_strides"],
        pads=low + high,
        dilations=params["rhs_dilation"],
        group=params["feature_group_count"],
    )
    return Tensor(graph.add("Transpose", convolved, perm=_inverse(numbers.out_spec)), equation.shape)


def _max_pool(graph: Graph, equation: Equation) -> Tensor:
    """Pool over the two middle dimensions of [B, H, W, C]."""
    params = equation.params
    around = [params[name][axis] for name in ("window_dimensions", "window_strides") for axis in (0, 3)]
    if len(equation.shape) != 4 or set(around) != {1} or {*params["base_dilation"]} != {1}:
        raise ConfigError("this model cannot be written to ONNX: it pools over non-spatial axes.")
    low, high = zip(*params["padding"][1:3], strict=True)
    pooled = graph.add(
        "MaxPool",
        graph.add("Transpose", _only(graph, equation), perm=[0, 3, 1, 2]),
        kernel_shape=params["window_dimensions"][1:3],
        strides=params["window_strides"][1:3],
        pads=low + high,
        dilations=params["window_dilation"][1:3],
    )
    return Tensor(graph.add("Transpose", pooled, perm=[0, 2, 3, 1]), equation.shape)


def _only(graph: Graph, equation: Equation) -> Value:
    return graph.whole(equation.inputs[0])


def _is_spread(value: Value) -> bool:
    return isinstance(value, np.ndarray) or value.is_spread


def _inverse(order: Sequence[Any]) -> list[int]:
    return np.argsort(order).tolist()


RULES: dict[str, Rule] = {
    **{name: _elementwise(name.capitalize()) for name in ("add", "sub", "mul", "div", "max", "min")},
    **{name: _chain(name.capitalize()) for name in ("neg", "abs", "exp", "log", "sqrt", "tanh", "erf")},
    "rsqrt": _chain("Sqrt", "Reciprocal"),
    "logistic": _chain("Sigmoid"),
    "erfc": _erfc,
    "integer_pow": _integer_power,
    "square": _integer_power,
    "gt": _elementwise("Greater"),
    "ge": _elementwise("GreaterOrEqual"),
    "lt": _elementwise("Less"),
    "convert_element_type": _cast,
    "stop_gradient": _same,
    "copy": _same,
    "select_n": _select,
    "reduce_sum": _reduced("ReduceSum"),
    "reduce_max": _reduced("ReduceMax"),
    "reshape": _reshape,
    "squeeze": _reshape,
    "broadcast_in_dim": _broadcast,
    "transpose": _transpose,
    "slice": _slice,
    "concatenate": _concatenate,
    "pad": _pad,
    "dot_general": _dot,
    "conv_general_dilated": _convolution,
    "reduce_window_max": _max_pool,
}
"""Rules by JAX's name of the operation."""
