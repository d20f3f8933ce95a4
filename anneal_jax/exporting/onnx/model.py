"""A trained model as an ONNX file, which ONNX Runtime and other readers use without JAX.

  session = onnxruntime.InferenceSession("embedder.onnx")
  (embeddings,) = session.run(None, {"tiles": tiles})

`tiles` are uint8[B, H, H, S] for any B, with the side H in `embedder.onnx.json`; `embeddings` are
float32[B, D] with unit norm.
"""

import dataclasses
import importlib
import json
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from anneal_jax._version import __version__
from anneal_jax.errors import ConfigError, how_to_install
from anneal_jax.exporting.onnx.graph import (
    BATCH,
    IR_VERSION,
    OPSET,
    Equation,
    Graph,
    Tensor,
    Value,
    refusal,
)
from anneal_jax.exporting.onnx.rules import RULES
from anneal_jax.exporting.stablehlo import embedding_function, model_facts
from anneal_jax.files import atomic
from anneal_jax.models.mobilenet_v2 import MobileNetV2
from anneal_jax.retrieval.embedder import Embedder

_INLINED = ("jit", "pjit", "closed_call", "custom_jvp_call", "custom_vjp_call")


def export_onnx(embedder: Embedder) -> Any:
    """Return a model as an `onnx.ModelProto`.

    Args:
      embedder: from `load_embedder`.

    Raises:
      ConfigError: onnx is not installed, or the network contains an operation without a rule.
    """
    onnx = _import_onnx()
    name = "tiles" if embedder.kind == "image" else "vectors"
    function, specimen = embedding_function(_with_convolutions(embedder), BATCH)
    traced = jax.make_jaxpr(function)(specimen)
    graph = Graph(onnx, name)
    (found,) = write_jaxpr(graph, traced, [Tensor(name, specimen.shape)])
    graph.nodes.append(onnx.helper.make_node("Identity", [graph.name(graph.whole(found))], ["embeddings"]))

    def described(name: str, shape: tuple[Any, ...], dtype: Any) -> Any:
        kind = onnx.helper.np_dtype_to_tensor_dtype(dtype)
        sizes = [size if isinstance(size, int) else str(size) for size in shape]
        return onnx.helper.make_tensor_value_info(name, kind, sizes)

    (output,) = traced.out_avals
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "embedder",
            [described(name, specimen.shape, specimen.dtype)],
            [described("embeddings", output.shape, output.dtype)],
            graph.initializers,
        ),
        producer_name="anneal-jax",
        producer_version=__version__,
        opset_imports=[onnx.helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
    )
    onnx.helper.set_model_props(model, {"model": embedder.fingerprint})
    onnx.checker.check_model(model)
    return model


def write_onnx(embedder: Embedder, path: str | os.PathLike[str]) -> None:
    """Write the model to `path`, and a description of its input to `path` + `.json`.

    Args:
      embedder: from `load_embedder`.
      path: the file to create or replace.

    Raises:
      ConfigError: as for `export_onnx`.
    """
    atomic.write_bytes(path, export_onnx(embedder).SerializeToString())
    facts = {**model_facts(embedder), "opset": OPSET}
    atomic.write_text(f"{os.fspath(path)}.json", json.dumps(facts, indent=2) + "\n")


def write_jaxpr(graph: Graph, closed: core.ClosedJaxpr, arguments: Sequence[Value]) -> list[Value]:
    """Write a traced function to a graph, one operation at a time, and return its outputs.

    Values that depend only on weights are computed by JAX.

    Args:
      graph: the graph to write to.
      closed: the function.
      arguments: its arguments.

    Raises:
      ConfigError: it contains an operation without a rule.
    """
    values: dict[Any, Value] = dict(zip(closed.jaxpr.invars, arguments, strict=True))
    values |= {var: np.asarray(c) for var, c in zip(closed.jaxpr.constvars, closed.consts, strict=True)}

    def read(atom: Any) -> Value:
        return np.asarray(atom.val) if isinstance(atom, core.Literal) else values[atom]

    for equation in closed.jaxpr.eqns:
        inputs, name = [read(atom) for atom in equation.invars], equation.primitive.name
        output = equation.outvars[0].aval
        if name in _INLINED:
            inner = equation.params.get("jaxpr") or equation.params["call_jaxpr"]
            outputs = write_jaxpr(graph, inner, inputs)
        elif _is_constant(inputs, output.shape):
            found = equation.primitive.bind(*map(jnp.asarray, inputs), **equation.params)
            outputs = [np.asarray(leaf) for leaf in jax.tree.leaves(found)]
        elif name in RULES:
            applied = Equation(inputs, equation.params, tuple(output.shape), output.dtype)
            outputs = [RULES[name](graph, applied)]
        else:
            raise refusal(f"the operation {name}")
        values |= dict(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in closed.jaxpr.outvars]


def _is_constant(inputs: Sequence[Value], shape: Sequence[Any]) -> bool:
    return all(isinstance(value, np.ndarray) for value in inputs) and all(isinstance(n, int) for n in shape)


def _with_convolutions(embedder: Embedder) -> Embedder:
    """Use real depthwise convolutions, because sums of shifted maps are only faster in XLA on a CPU."""
    network = embedder.network
    if network is None or not isinstance(network.backbone.network, MobileNetV2):
        return embedder
    module = network.backbone.network.clone(depthwise_form="convolution")
    backbone = dataclasses.replace(network.backbone, network=module)
    return dataclasses.replace(embedder, network=network._replace(backbone=backbone))


def _import_onnx() -> Any:
    try:
        importlib.import_module("onnx.numpy_helper")
        return importlib.import_module("onnx")
    except ImportError as error:
        raise ConfigError(f"onnx is missing; install it with {how_to_install('onnx')}.") from error
