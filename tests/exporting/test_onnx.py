"""ONNX Runtime computes what this package computes, with every backbone."""

import json
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.errors import ConfigError
from anneal_jax.exporting.onnx.graph import Graph, Tensor
from anneal_jax.exporting.onnx.model import export_onnx, write_jaxpr, write_onnx
from anneal_jax.models.backbones import backbone_names, get_backbone
from anneal_jax.retrieval.embedder import Embedder
from anneal_jax.training.head_steps import init_heads, with_features
from anneal_jax.training.network import Network
from tests.models.random_variables import random_variables

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime, which reads what is written")

SIDES = {"pixels": 8, "tiny_cnn": 32, "mobilenet_v2": 64, "efficientnet_lite0": 64}
SLOW = (
    *("efficientnet_lite0", "mobilenet_v2", "resnet18", "resnet50", "vit_s14", "vit_s14_reg4"),
    *("vit_s16_dinov3", "vit_s16plus_dinov3"),
)
# More or wider layers of the kinds of the others.
SOAK = ("resnet34", "vit_b14", "vit_b14_reg4", "vit_b16_dinov3")
# The large one has the blocks of the base, 24 of them, and 1.2 GB of weights.
NAMES = sorted(set(backbone_names()) - {"vit_l16_dinov3"})


def embedder_of(backbone_name, side, *, share=None, **options):
    """A model of random weights and heads; None is a model of ready vectors.

    With a share, embeddings hold some directions of the features.
    """
    rng = np.random.default_rng(0)
    network, dim = None, 20
    if backbone_name:
        backbone = get_backbone(backbone_name, **options)
        variables = random_variables(lambda key: backbone.init(key, side), 1)
        network, dim = Network(backbone, variables, "", side), backbone.feature_dim
    heads = init_heads(jax.random.key(0), dim, with_classifier=False)
    if share is not None:
        heads = with_features(heads, rng.normal(size=(dim, 6)).astype(np.float32), share)
    mean, scale = rng.normal(size=dim), rng.uniform(0.5, 2, dim)
    return Embedder(
        *(pathlib.Path("runs/none"), 0, "f" * 64, jax.tree.map(np.asarray, heads.similarity)),
        *(mean.astype(np.float32), scale.astype(np.float32), network),
    )


def computed(model, **inputs):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    (found,) = session.run(None, inputs)
    return found


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW) + [pytest.mark.soak] * (name in SOAK))
        for name in NAMES
    ],
)
def test_every_backbone(name):
    side = SIDES.get(name, 56 if "14" in name else 64)
    embedder = embedder_of(name, side)
    model = export_onnx(embedder)
    tiles = np.random.default_rng(1).integers(0, 256, (3, side, side, 3), np.uint8)
    expected = embedder.embed(tiles)
    for count in (1, 3):  # one file, any batch
        found = computed(model, tiles=tiles[:count])
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected[:count], atol=5e-6)


def test_more_bands_and_ready_vectors():
    embedder = embedder_of("tiny_cnn", 32, num_bands=5, rgb_bands=(2, 1, 0))
    tiles = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 5), np.uint8)
    np.testing.assert_allclose(
        computed(export_onnx(embedder), tiles=tiles), embedder.embed(tiles), atol=2e-6
    )
    vectors = np.random.default_rng(1).normal(size=(4, 20)).astype(np.float32)
    for share in (None, 0.3):
        embedder = embedder_of(None, 0, share=share)
        found = computed(export_onnx(embedder), vectors=vectors)
        assert found.shape == (4, embedder.dim)
        np.testing.assert_allclose(found, embedder.embed(vectors), atol=2e-6)


def test_a_file_says_what_it_takes_and_is_read_without_this_package(tmp_path):
    embedder = embedder_of("tiny_cnn", 32)
    write_onnx(embedder, tmp_path / "embedder.onnx")
    facts = json.loads((tmp_path / "embedder.onnx.json").read_text())
    assert (facts["image_size_px"], facts["bands"], facts["model"]) == (32, 3, embedder.fingerprint)
    tiles = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), np.uint8)
    np.save(tmp_path / "tiles.npy", tiles)
    script = (
        "import sys, numpy as np, onnxruntime; "
        "session = onnxruntime.InferenceSession('embedder.onnx'); "
        "np.save('found.npy', session.run(None, {'tiles': np.load('tiles.npy')})[0]); "
        "assert not any(name.startswith(('anneal', 'jax', 'flax')) for name in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), embedder.embed(tiles), atol=2e-6)


def by_onnx(function, *arrays):
    """Trace a function of [num_tiles, ...] arrays, write it, and compute it by ONNX Runtime."""
    (size,) = jax.export.symbolic_shape("num_tiles")
    specimens = [jax.ShapeDtypeStruct((size, *a.shape[1:]), a.dtype) for a in arrays]
    traced, graph = jax.make_jaxpr(function)(*specimens), Graph(onnx, "in_0")
    inputs = [Tensor(f"in_{place}", s.shape) for place, s in enumerate(specimens)]
    (found,) = write_jaxpr(graph, traced, inputs)
    graph.nodes.append(onnx.helper.make_node("Identity", [graph.name(graph.whole(found))], ["out"]))
    kind = onnx.helper.np_dtype_to_tensor_dtype
    described = [
        onnx.helper.make_tensor_value_info(f"in_{place}", kind(a.dtype), [None, *a.shape[1:]])
        for place, a in enumerate(arrays)
    ]
    out = onnx.helper.make_tensor_value_info("out", kind(traced.out_avals[0].dtype), None)
    written = onnx.helper.make_graph(graph.nodes, "one", described, [out], graph.initializers)
    model = onnx.helper.make_model(written, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    return computed(model, **{f"in_{place}": array for place, array in enumerate(arrays)})


ROW = np.arange(5, dtype=np.float32)[None]

CASES = {
    "one row under many": lambda a: jnp.concatenate([jnp.broadcast_to(ROW, (a.shape[0], 1, 5)), a], 1),
    "small, then spread": lambda a: jnp.sum(jnp.broadcast_to(ROW[0, 1:2], a.shape) * ROW, axis=1),
    "any product": lambda a: jnp.einsum("bij,bkj->bki", a, a * jnp.float32(0.5)),
    "erfc and powers": lambda a: jax.lax.erfc(a) * a**3 + jnp.square(a) - jax.nn.sigmoid(a),
    "where": lambda a: jnp.where(a > 0, a, jnp.exp(a)),
    "softmax": lambda a: jax.nn.softmax(a, axis=-1),
    "steps": lambda a: jax.lax.slice(a, (0, 0, 1), (a.shape[0], 4, 4), (1, 2, 1)).transpose(0, 2, 1),
    "merged": lambda a: a.reshape(-1, a.shape[2]),
}


@pytest.mark.parametrize("case", CASES)
def test_operations_are_those_of_jax(case):
    array = np.random.default_rng(2).normal(size=(3, 4, 5)).astype(np.float32)
    with jax.numpy_rank_promotion("allow"):
        found, expected = by_onnx(CASES[case], array), CASES[case](array)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_an_operation_without_a_rule_is_named():
    with pytest.raises(
        ConfigError, match="cannot be written to ONNX: there is no rule for the operation sort"
    ):
        by_onnx(jnp.sort, np.zeros((2, 3), np.float32))
