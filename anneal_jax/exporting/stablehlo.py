"""A trained model as a single StableHLO function that needs neither this package nor its checkpoint.

  exported = jax.export.deserialize(bytearray(pathlib.Path("embedder.jaxexport").read_bytes()))
  embeddings = exported.call(tiles)

`tiles` are uint8[B, H, H, S] for any B, with the side H in `exported.in_avals`; `embeddings` are float32[B,
D] with unit norm. `exported.mlir_module()` is the text for other compilers of StableHLO.
"""

import importlib.util
import json
import os
from collections.abc import Callable

import jax
import jax.numpy as jnp

from anneal_jax.errors import ConfigError, how_to_install
from anneal_jax.files import atomic
from anneal_jax.retrieval.embedder import Embedder
from anneal_jax.training.head_steps import embed_features
from anneal_jax.training.learner import standardise

PLATFORMS = ("cpu", "cuda", "tpu")
"""Platforms that the function runs on."""


def embedding_function(
    embedder: Embedder, batch: str
) -> tuple[Callable[[jax.Array], jax.Array], jax.ShapeDtypeStruct]:
    """Return a model, with its weights, as one function of arrays, and a specimen of its input.

    Args:
      embedder: from `load_embedder`.
      batch: name of the first dimension, whose size is symbolic.

    Returns:
      (function, specimen): the function maps tiles uint8[B, H, H, S], or vectors float32[B, F] if
      `embedder.kind` is "vector", to float32[B, D]; the specimen has the shape and dtype of its input.
    """
    network = embedder.network
    if network is None:
        shape, dtype = f"{batch}, {len(embedder.mean)}", jnp.float32
    else:
        shape = f"{batch}, {network.image_size}, {network.image_size}, {len(network.backbone.mean)}"
        dtype = jnp.uint8

    def embed(inputs: jax.Array) -> jax.Array:
        features = inputs if network is None else network.backbone.apply(network.variables, inputs)
        mean, scale = jnp.asarray(embedder.mean), jnp.asarray(embedder.scale)
        return embed_features(embedder.similarity, standardise(features, mean, scale))

    return embed, jax.ShapeDtypeStruct(jax.export.symbolic_shape(shape), dtype)


def export_embedder(embedder: Embedder) -> jax.export.Exported:
    """Return a model as a function exported by JAX, for batches of any size.

    Args:
      embedder: from `load_embedder`.

    Returns:
      The function of `embedding_function`, with its weights as constants.
    """
    embed, specimen = embedding_function(embedder, "b")
    # The faster, less precise products of an accelerator would make embeddings depend on the machine.
    with jax.default_matmul_precision("float32"):
        return jax.export.export(jax.jit(embed), platforms=PLATFORMS)(specimen)


def write_stablehlo(embedder: Embedder, path: str | os.PathLike[str]) -> None:
    """Write the function to `path`, and a description of its input to `path` + `.json`.

    Args:
      embedder: from `load_embedder`.
      path: the file to create or replace.

    Raises:
      ConfigError: flatbuffers, with which JAX writes the file, is not installed.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ConfigError(
            "StableHLO needs flatbuffers, which is not installed; "
            f"install it with {how_to_install('stablehlo')}."
        )
    atomic.write_bytes(path, bytes(export_embedder(embedder).serialize()))
    facts = {**model_facts(embedder), "jax": jax.__version__}
    atomic.write_text(f"{os.fspath(path)}.json", json.dumps(facts, indent=2) + "\n")


def model_facts(embedder: Embedder) -> dict[str, object]:
    """Return what a caller needs to know to prepare tiles as in training."""
    card: dict[str, object] = {
        "kind": embedder.kind,
        "embedding_numbers": embedder.dim,
        "model": embedder.fingerprint,
    }
    if embedder.network:
        backbone = embedder.network.backbone
        card |= {
            "image_size_px": embedder.network.image_size,
            "resampling": backbone.resampling,
            "bands": len(backbone.mean),
            "rgb_bands": backbone.rgb_bands,
        }
    return card
