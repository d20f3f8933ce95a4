import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.errors import ConfigError
from anneal_jax.models.backbones import backbone_names, get_backbone
from anneal_jax.models.resnet import BasicBlock, Bottleneck, ResNet
from tests.models.random_variables import random_variables
from tests.reference.networks import resnet_features

SIZE = 16


def _variables(backbone, seed, size=SIZE):
    return random_variables(lambda key: backbone.init(key, size), seed)


def _tiles(seed, count=2, size=SIZE):
    return np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


@pytest.mark.parametrize("name", backbone_names())
def test_abstract_shapes_and_dtypes(name):
    half = get_backbone(name, jnp.bfloat16)
    size = min(half.default_image_size, 112)  # a multiple of a vision transformer's patch, 14 or 16
    variables = jax.eval_shape(lambda key: half.init(key, size), jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} <= {jnp.dtype(jnp.float32)}
    images = jax.ShapeDtypeStruct((3, size, size, 3), jnp.uint8)
    features = jax.eval_shape(half.apply, variables, images)
    assert features.shape == (3, half.feature_dim) and features.dtype == jnp.float32


@pytest.mark.parametrize("name", ["tiny_cnn", "pixels"])
def test_bytes_and_floats_of_the_same_values_give_the_same_features(name):
    backbone, tiles = get_backbone(name), _tiles(0)
    variables, encode = _variables(backbone, 0), jax.jit(backbone.apply)
    np.testing.assert_array_equal(encode(variables, tiles), encode(variables, tiles.astype(np.float32)))


def test_pixels_are_the_tile_scaled_to_one():
    tiles = _tiles(1)
    features = get_backbone("pixels").apply({}, tiles)
    np.testing.assert_allclose(features, tiles.reshape(2, -1) / 127.5 - 1, atol=1e-6)


def test_pixels_refuse_large_tiles():
    with pytest.raises(ConfigError, match="at most 64 px, not 65"):
        get_backbone("pixels").apply({}, np.zeros((1, 65, 65, 3), np.uint8))


@pytest.mark.parametrize(("name", "block"), [("resnet18", BasicBlock), ("resnet50", Bottleneck)])
def test_resnet_matches_its_twin(name, block):
    """With fewer blocks of each kind; how many there are is seen from the number of parameters."""
    blocks, tiles = (1, 2, 1, 1), _tiles(2, size=33)
    backbone = dataclasses.replace(get_backbone(name), network=ResNet(block, blocks))
    variables = _variables(backbone, 0)
    expected = resnet_features(variables, tiles, blocks, backbone.mean, backbone.spread)
    features = jax.jit(backbone.apply)(variables, tiles)
    np.testing.assert_allclose(features, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "parameters"),
    # torchvision's counts (11,689,512, 21,797,672, 25,557,032) less the 1000-way layer.
    [("resnet18", 11_176_512), ("resnet34", 21_284_672), ("resnet50", 23_508_032)],
)
def test_resnet_has_torchvisions_parameters(name, parameters):
    backbone = get_backbone(name)
    params = jax.eval_shape(lambda key: backbone.init(key, 64), jax.random.key(0))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters
    assert {"conv1", "bn1", "layer1_0", "layer4_1"} <= set(params)


def test_a_tiles_feature_does_not_depend_on_its_batch():
    backbone, tiles = get_backbone("tiny_cnn"), _tiles(3, count=4)
    variables = _variables(backbone, 1)
    encode = jax.jit(backbone.apply)
    alone = np.concatenate([encode(variables, tile[None]) for tile in tiles])
    np.testing.assert_allclose(encode(variables, tiles), alone, atol=1e-5)


def test_tiny_cnn_learns_which_way_a_bar_lies():
    """The mean colour does not tell: an upright and a lying bar are equally bright."""
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 60, (32, 8, 8, 3), dtype=np.uint8)
    labels = np.arange(32) % 2
    for tile, label, at in zip(tiles, labels, rng.integers(0, 8, 32), strict=True):
        (tile if label else tile.transpose(1, 0, 2))[at] = 200
    backbone = get_backbone("tiny_cnn")
    params = {"net": backbone.init(jax.random.key(0), 8), "out": jnp.zeros((128,))}

    def loss(params):
        logits = backbone.apply(params["net"], tiles) @ params["out"]
        return -jnp.mean(jax.nn.log_sigmoid(jnp.where(labels == 1, logits, -logits)))

    @jax.jit
    def step(params):
        value, gradient = jax.value_and_grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient), value

    losses = []
    for _ in range(80):
        params, value = step(params)
        losses.append(float(value))
    assert losses[0] == pytest.approx(np.log(2))
    assert losses[-1] < 0.15


def test_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"'resnet19' .did you mean 'resnet18'.*mobilenet_v2"):
        get_backbone("resnet19")


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((2, 8, 8), np.uint8),
        np.zeros((2, 8, 8, 4), np.uint8),
        np.zeros((2, 8, 8, 3), np.int32),
    ],
)
def test_wrong_images_are_refused(images):
    with pytest.raises(ConfigError, match=r"a backbone takes uint8 or float32"):
        get_backbone("pixels").apply({}, images)


@pytest.mark.parametrize("num_bands", [1, 2, 13])
def test_any_number_of_bands_goes_in(num_bands):
    backbone = get_backbone("tiny_cnn", num_bands=num_bands, rgb_bands=None)
    variables = jax.eval_shape(lambda key: backbone.init(key, 8), jax.random.key(0))
    images = jax.ShapeDtypeStruct((2, 8, 8, num_bands), jnp.uint8)
    assert jax.eval_shape(backbone.apply, variables, images).shape == (2, 128)
    with pytest.raises(ConfigError, match=rf"\[B, H, H, {num_bands}\]"):
        backbone.apply(variables, np.zeros((2, 8, 8, 3), np.uint8))


def test_bands_are_scaled_by_their_own_numbers():
    backbone = get_backbone("resnet18", num_bands=5, rgb_bands=(3, 2, 1))
    assert backbone.mean[3:0:-1] == get_backbone("resnet18").mean
    assert backbone.mean[0] == backbone.mean[4] == pytest.approx(114.495)


@pytest.mark.parametrize("rgb_bands", [(0, 1, 4), (-1, 0, 1), (1, 1, 2)])
def test_impossible_places_of_colours_are_refused(rgb_bands):
    with pytest.raises(ConfigError, match="not three different ones of 4 bands"):
        get_backbone("resnet18", num_bands=4, rgb_bands=rgb_bands)


def test_equal_backbones_are_one_static_argument():
    assert get_backbone("resnet18") == get_backbone("resnet18")
    assert hash(get_backbone("resnet18")) == hash(get_backbone("resnet18"))
