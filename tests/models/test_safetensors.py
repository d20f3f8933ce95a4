"""Weights files by PyTorch's names, written with NumPy: no PyTorch is needed."""

import dataclasses

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save_file

from anneal_jax.errors import WeightsError
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.inflate_bands import inflate_kernel
from anneal_jax.models.pretrained import as_pretrained, load_pretrained
from anneal_jax.models.resnet import BasicBlock, Bottleneck, ResNet
from anneal_jax.models.vit import VisionTransformer
from anneal_jax.models.vit_rotary import RotaryVisionTransformer
from tests.models.random_variables import random_variables
from tests.reference.networks import conv, vision_transformer_features

WIDTHS = (64, 128, 256, 512)


def _small(name):
    """Return a backbone with a short network; the importers ask only the shapes of its variables."""
    network = {
        "resnet18": ResNet(BasicBlock, (1, 1, 1, 1)),
        "resnet50": ResNet(Bottleneck, (1, 1, 1, 1)),
        "vit_s14": VisionTransformer(12, 2, 3, position_side=3),
        "vit_s14_reg4": VisionTransformer(12, 2, 3, 4, position_side=3),
    }[name]
    return dataclasses.replace(get_backbone(name), network=network)


def _torchvision_arrays(name, num_bands=3):
    """Every name and shape of torchvision's ResNet with one block a stage."""
    shapes = {"conv1.weight": (64, num_bands, 7, 7), "bn1": (64,)}
    before = 64
    for stage, width in enumerate(WIDTHS, 1):
        block, after = f"layer{stage}.0", width * (4 if name == "resnet50" else 1)
        sizes = (
            [(width, before, 1), (width, width, 3), (after, width, 1)]
            if name == "resnet50"
            else [(width, before, 3), (width, width, 3)]
        )
        for i, (outputs, inputs, size) in enumerate(sizes, 1):
            shapes[f"{block}.conv{i}.weight"] = (outputs, inputs, size, size)
            shapes[f"{block}.bn{i}"] = (outputs,)
        if stage > 1 or before != after:
            shapes[f"{block}.downsample.0.weight"] = (after, before, 1, 1)
            shapes[f"{block}.downsample.1"] = (after,)
        before = after
    shapes["fc.weight"] = (10, before)
    rng, arrays = np.random.default_rng(0), {}
    for module, shape in shapes.items():
        if len(shape) > 1:
            arrays[module] = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
            continue
        for leaf, low in (("weight", 0.5), ("bias", -0.5), ("running_mean", -0.5), ("running_var", 0.5)):
            arrays[f"{module}.{leaf}"] = rng.uniform(low, low + 1, shape).astype(np.float32)
        arrays[f"{module}.num_batches_tracked"] = np.array(7)
    return arrays


def _hugging_face_name(name):
    """Say the same array's name in Hugging Face's ResNet."""
    *place, layer, leaf = name.split(".")
    if layer == "fc":
        return f"classifier.1.{leaf}"
    if place and place[-1] == "downsample":
        kind, place = ("convolution", "normalization")[int(layer)], place[:-1]
        middle = f"shortcut.{kind}"
    else:
        kind = "convolution" if layer.startswith("conv") else "normalization"
        middle = f"layer.{int(layer[-1]) - 1}.{kind}"
    if not place:
        return f"resnet.embedder.embedder.{kind}.{leaf}"
    stage, block = place
    return f"resnet.encoder.stages.{int(stage[-1]) - 1}.layers.{block}.{middle}.{leaf}"


def _saved(folder, arrays):
    file = folder / "model.safetensors"
    save_file(arrays, file)
    return file


def _first_stage(arrays, name, images):
    """Follow torchvision's names to the end of the first block, in float64."""

    def conv_norm(hidden, conv_name, norm, stride=1):
        kernel = arrays[f"{conv_name}.weight"].transpose(2, 3, 1, 0)
        hidden = conv(hidden, kernel, stride, (kernel.shape[0] // 2,) * 2)
        hidden = (hidden - arrays[f"{norm}.running_mean"]) / np.sqrt(arrays[f"{norm}.running_var"] + 1e-5)
        return hidden * arrays[f"{norm}.weight"] + arrays[f"{norm}.bias"]

    hidden = np.maximum(conv_norm(images, "conv1", "bn1", 2), 0)
    padded = np.pad(hidden, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-np.inf)
    side = (hidden.shape[1] + 1) // 2
    shortcut = hidden = np.max(
        [padded[:, y:, x:][:, ::2, ::2][:, :side, :side] for y in range(3) for x in range(3)], axis=0
    )
    if name == "resnet50":
        shortcut = conv_norm(hidden, "layer1.0.downsample.0", "layer1.0.downsample.1")
    count = 3 if name == "resnet50" else 2
    for i in range(1, count + 1):
        hidden = conv_norm(hidden, f"layer1.0.conv{i}", f"layer1.0.bn{i}")
        hidden = np.maximum(hidden, 0) if i < count else hidden
    return np.maximum(hidden + shortcut, 0)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_the_first_stage_is_torchvisions(tmp_path, name):
    arrays, backbone = _torchvision_arrays(name), _small(name)
    variables = load_pretrained(backbone, _saved(tmp_path, arrays))
    images = np.random.default_rng(1).normal(size=(2, 21, 21, 3)).astype(np.float32)
    apply = jax.jit(lambda v, x: backbone.network.apply(v, x, capture_intermediates=True))
    _, captured = apply(variables, images)
    (stage,) = captured["intermediates"]["layer1_0"]["__call__"]
    expected = _first_stage(arrays, name, images.astype(np.float64))
    np.testing.assert_allclose(stage, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_hugging_faces_names_give_the_same_variables(tmp_path, name):
    arrays, backbone = _torchvision_arrays(name), _small(name)
    expected = load_pretrained(backbone, _saved(tmp_path, arrays))
    renamed = {_hugging_face_name(key): array for key, array in arrays.items()}
    found = load_pretrained(backbone, _saved(tmp_path, renamed))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def _timm_arrays(num_registers, side=3, width=12):
    """Every name and shape of timm's vision transformer with two blocks."""
    own = 0 if num_registers else 1
    shapes = {
        "cls_token": (1, 1, width),
        "pos_embed": (1, side * side + own, width),
        "patch_embed.proj.weight": (width, 3, 14, 14),
        "patch_embed.proj.bias": (width,),
        "norm.weight": (width,),
        "norm.bias": (width,),
    }
    if num_registers:
        shapes["reg_token"] = (1, num_registers, width)
    for i in range(2):
        for leaf in ("weight", "bias"):
            shapes |= {f"blocks.{i}.norm{n}.{leaf}": (width,) for n in (1, 2)}
        for module, outputs, inputs in (
            ("attn.qkv", 3, 1),
            ("attn.proj", 1, 1),
            ("mlp.fc1", 4, 1),
            ("mlp.fc2", 1, 4),
        ):
            shapes[f"blocks.{i}.{module}.weight"] = (outputs * width, inputs * width)
            shapes[f"blocks.{i}.{module}.bias"] = (outputs * width,)
        shapes |= {f"blocks.{i}.ls{n}.gamma": (width,) for n in (1, 2)}
    rng = np.random.default_rng(2)
    return {name: rng.normal(0, 0.3, shape).astype(np.float32) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", ["vit_s14", "vit_s14_reg4"])
def test_a_vision_transformer_by_timms_names(tmp_path, name):
    arrays, backbone = _timm_arrays(4 if name.endswith("reg4") else 0), _small(name)
    file = _saved(tmp_path, arrays)
    backbone = as_pretrained(backbone, file)
    assert backbone.network.position_resampling == "bicubic_antialiased"
    images = np.random.default_rng(3).normal(size=(2, 42, 42, 3)).astype(np.float32)
    expected = _twin_features(arrays, images)
    features = jax.jit(backbone.network.apply)(load_pretrained(backbone, file), images)
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


def _twin_features(arrays, images):
    """Name timm's arrays as the twin wants them, each matrix turned by hand."""
    own = "reg_token" not in arrays
    positions = arrays["pos_embed"][0]
    params = {
        "class_token": arrays["cls_token"][0] + (positions[:1] if own else 0),
        "patch_embed": {
            "kernel": arrays["patch_embed.proj.weight"].transpose(2, 3, 1, 0),
            "bias": arrays["patch_embed.proj.bias"],
        },
        "norm": {"scale": arrays["norm.weight"], "bias": arrays["norm.bias"]},
    }
    if not own:
        params["register_tokens"] = arrays["reg_token"][0]
    for i in range(2):
        block = {f"scale{n}": arrays[f"blocks.{i}.ls{n}.gamma"] for n in (1, 2)}
        for part, module in (
            ("qkv", "attn.qkv"),
            ("proj", "attn.proj"),
            ("fc1", "mlp.fc1"),
            ("fc2", "mlp.fc2"),
        ):
            weight, bias = (arrays[f"blocks.{i}.{module}.{leaf}"] for leaf in ("weight", "bias"))
            block[part] = {"kernel": weight.T, "bias": bias}
        for n in (1, 2):
            scale, bias = (arrays[f"blocks.{i}.norm{n}.{leaf}"] for leaf in ("weight", "bias"))
            block[f"norm{n}"] = {"scale": scale, "bias": bias}
        params[f"blocks_{i}"] = block
    return vision_transformer_features(params, images, 3, positions[own:].reshape(3, 3, -1))


_DINOV3_NAMES = {
    "timm": {
        "class_token": "cls_token",
        "register_tokens": "reg_token",
        "patch_embed": "patch_embed.proj",
        "norm": "norm",
        "block": "blocks.{}",
        "proj": "attn.proj",
        "scale": "gamma_{}",
        "fc1": ("mlp.fc1_g", "mlp.fc1_x"),
        "fc2": "mlp.fc2",
    },
    "hugging_face": {
        "class_token": "embeddings.cls_token",
        "register_tokens": "embeddings.register_tokens",
        "patch_embed": "embeddings.patch_embeddings",
        "norm": "norm",
        "block": "layer.{}",
        "proj": "attention.o_proj",
        "scale": "layer_scale{}.lambda1",
        "fc1": ("mlp.gate_proj", "mlp.up_proj"),
        "fc2": "mlp.down_proj",
    },
}


def _dinov3_arrays(params, family, has_biases):
    """Name the twin's arrays of gated blocks as a family does, each matrix turned by hand."""
    names, arrays = _DINOV3_NAMES[family], {}

    def dense(name, layer):
        arrays.update({f"{name}.weight": layer["kernel"].T, f"{name}.bias": layer["bias"]})

    def norm(name, layer):
        arrays.update({f"{name}.weight": layer["scale"], f"{name}.bias": layer["bias"]})

    for token in ("class_token", "register_tokens"):
        arrays[names[token]] = params[token][None]
    arrays[f"{names['patch_embed']}.weight"] = params["patch_embed"]["kernel"].transpose(3, 2, 0, 1)
    arrays[f"{names['patch_embed']}.bias"] = params["patch_embed"]["bias"]
    norm(names["norm"], params["norm"])
    for i in range(2):
        block, start = params[f"blocks_{i}"], names["block"].format(i)
        for n in (1, 2):
            norm(f"{start}.norm{n}", block[f"norm{n}"])
            arrays[f"{start}.{names['scale'].format(n)}"] = block[f"scale{n}"]
        dense(f"{start}.{names['proj']}", block["proj"])
        dense(f"{start}.{names['fc2']}", block["fc2"])
        halves = [np.split(block["fc1"][leaf], 2, axis=-1) for leaf in ("kernel", "bias")]
        for name, kernel, bias in zip(names["fc1"], *halves, strict=True):
            dense(f"{start}.{name}", {"kernel": kernel, "bias": bias})
        kernels = np.split(block["qkv"]["kernel"].T, 3)
        biases = dict(zip("qkv", np.split(block["qkv"]["bias"], 3), strict=True))
        if family == "timm":
            arrays[f"{start}.attn.qkv.weight"] = np.concatenate(kernels)
        for part, kernel in zip("qkv", kernels, strict=True):
            if family == "hugging_face":
                arrays[f"{start}.attention.{part}_proj.weight"] = kernel
            if has_biases and part != "k":
                bias_name = f"attn.{part}_bias" if family == "timm" else f"attention.{part}_proj.bias"
                arrays[f"{start}.{bias_name}"] = biases[part]
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


@pytest.mark.parametrize(
    ("family", "has_biases"), [("timm", False), ("timm", True), ("hugging_face", True)]
)
def test_dinov3_by_the_names_of_two_families(tmp_path, family, has_biases):
    network = RotaryVisionTransformer(24, 2, 3, is_gated=True)
    backbone = dataclasses.replace(get_backbone("vit_s16plus_dinov3"), network=network)
    params = random_variables(lambda key: backbone.init(key, 32), 5)["params"]
    for i in range(2):  # keys have no bias, and in timm's files without any the others have none
        parts = np.split(params[f"blocks_{i}"]["qkv"]["bias"], 3)
        params[f"blocks_{i}"]["qkv"]["bias"] = np.concatenate(
            [parts[0] * has_biases, parts[1] * 0, parts[2] * has_biases]
        )
    file = _saved(tmp_path, _dinov3_arrays(params, family, has_biases))
    variables = load_pretrained(as_pretrained(backbone, file), file)
    jax.tree.map(np.testing.assert_array_equal, variables["params"], params)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}


def test_weights_of_the_plus_variant_do_not_fit_the_plain(tmp_path):
    network = RotaryVisionTransformer(24, 2, 3, is_gated=True)
    params = random_variables(lambda key: network.init(key, np.zeros((1, 32, 32, 3), np.float32)), 5)
    file = _saved(tmp_path, _dinov3_arrays(params["params"], "hugging_face", has_biases=True))
    plain = dataclasses.replace(get_backbone("vit_s16_dinov3"), network=network.clone(is_gated=False))
    with pytest.raises(WeightsError, match=r"layer\.0\.mlp\.gate_proj\.bias is \(96,\), expected absent"):
        load_pretrained(plain, file)


def test_the_codes_of_dinov2_resample_positions_in_their_own_ways(tmp_path):
    arrays, backbone = _timm_arrays(0), _small("vit_s14")
    timm = as_pretrained(backbone, _saved(tmp_path, arrays))
    original = as_pretrained(
        backbone, _saved(tmp_path, arrays | {"mask_token": np.zeros((1, 12), np.float32)})
    )
    assert timm.network.position_resampling == "bicubic_antialiased"
    assert original.network.position_resampling == "bicubic_offset"
    tiles = np.random.default_rng(4).integers(0, 256, (1, 28, 28, 3), dtype=np.uint8)
    variables = load_pretrained(backbone, tmp_path / "model.safetensors")
    features = [jax.jit(b.apply)(variables, tiles) for b in (timm, original)]
    assert np.abs(np.subtract(*features)).max() > 1e-4


def test_a_file_that_does_not_fit_is_refused_by_its_own_names(tmp_path):
    arrays = {_hugging_face_name(key): array for key, array in _torchvision_arrays("resnet18").items()}
    first = "resnet.encoder.stages.0.layers.0.layer.0.convolution.weight"
    arrays[first] = arrays[first][:, :, :1]
    del arrays["resnet.embedder.embedder.normalization.running_var"]
    arrays["resnet.pooler.dense.bias"] = np.zeros(3, np.float32)
    with pytest.raises(WeightsError) as refusal:
        load_pretrained(_small("resnet18"), _saved(tmp_path, arrays))
    message = str(refusal.value)
    assert "in 3 of" in message
    assert (
        "stages.0.layers.0.layer.0.convolution.weight is (64, 64, 1, 3), expected (64, 64, 3, 3)" in message
    )
    assert "embedder.embedder.normalization.running_var is absent, expected (64,)" in message
    assert "pooler.dense.bias is (3,), expected absent" in message


def test_weights_of_another_depth_are_refused_with_a_few_names_and_how_many_more(tmp_path):
    file = _saved(tmp_path, _torchvision_arrays("resnet18"))
    with pytest.raises(WeightsError, match=r"layer1\.1\.bn1\.bias is absent.*; and 35 more$"):
        load_pretrained(get_backbone("resnet18"), file)


def test_names_of_another_network_are_shown(tmp_path):
    file = _saved(tmp_path, {"encoder.weight": np.ones(3, np.float32)})
    with pytest.raises(
        WeightsError, match=r"no array in it.*torchvision and timm or Hugging Face.*encoder\.weight"
    ):
        load_pretrained(get_backbone("resnet18"), file)


def test_values_that_are_not_finite_are_refused(tmp_path):
    arrays = _torchvision_arrays("resnet18")
    arrays["bn1.running_var"][3] = np.inf
    with pytest.raises(WeightsError, match=r"bn1\.running_var contains nan or infinite"):
        load_pretrained(_small("resnet18"), _saved(tmp_path, arrays))


@pytest.mark.parametrize("data", [b"", b"text", b"\xff" * 40])
def test_a_damaged_file_is_refused(tmp_path, data):
    file = tmp_path / "model.safetensors"
    file.write_bytes(data)
    for read in (load_pretrained, as_pretrained):
        with pytest.raises(WeightsError, match="not an intact safetensors"):
            read(get_backbone("vit_s14"), file)


def test_a_truncated_file_is_refused(tmp_path):
    file = _saved(tmp_path, _timm_arrays(0))
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="not an intact safetensors"):
        load_pretrained(_small("vit_s14"), file)


def test_half_precision_is_read_as_float32(tmp_path):
    arrays = {name: array.astype(np.float16) for name, array in _timm_arrays(0).items()}
    variables = load_pretrained(_small("vit_s14"), _saved(tmp_path, arrays))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype(np.float32)}
    scale = variables["params"]["blocks_1"]["scale2"]
    np.testing.assert_array_equal(scale, arrays["blocks.1.ls2.gamma"].astype(np.float32))


@given(
    num_bands=st.integers(1, 14),
    rgb=st.permutations(range(3)),
    is_visible=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_grey_tile_gives_what_it_gave_in_rgb(num_bands, rgb, is_visible, seed):
    rng = np.random.default_rng(seed)
    kernel, grey = rng.normal(size=(3, 3, 3, 5)).astype(np.float32), rng.normal(size=(1, 6, 6, 1))
    rgb_bands = tuple(rgb) if is_visible and num_bands >= 3 else None
    inflated = inflate_kernel(kernel, num_bands, rgb_bands)
    assert inflated.shape == (3, 3, num_bands, 5)
    expected = conv(grey.repeat(3, axis=-1), kernel, 1, (1, 1))
    found = conv(grey.repeat(num_bands, axis=-1), inflated, 1, (1, 1))
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_bands_keep_the_filters_of_their_colours(tmp_path):
    file = _saved(tmp_path, _torchvision_arrays("resnet18"))
    plain = load_pretrained(_small("resnet18"), file)["params"]["conv1"]["kernel"]
    bands = get_backbone("resnet18", num_bands=4, rgb_bands=(3, 1, 0))
    backbone = dataclasses.replace(bands, network=_small("resnet18").network)
    variables = load_pretrained(backbone, file)
    kernel = variables["params"]["conv1"]["kernel"]
    np.testing.assert_allclose(kernel[:, :, [3, 1, 0]], 0.75 * plain, rtol=1e-6)
    np.testing.assert_allclose(kernel[:, :, 2], 0.75 * plain.mean(axis=2), atol=1e-7)
    images = jax.ShapeDtypeStruct((1, 33, 33, 4), np.uint8)
    assert jax.eval_shape(backbone.apply, variables, images).shape == (1, 512)
