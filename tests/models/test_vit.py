import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anneal_jax.errors import ConfigError
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.rotary import patch_rotation, rotate
from anneal_jax.models.vit import POSITION_RESAMPLINGS, VisionTransformer, resample_positions
from anneal_jax.models.vit_rotary import RotaryVisionTransformer
from tests.models.random_variables import random_variables
from tests.reference.networks import bicubic, turned, vision_transformer_features

SIDE = 4
_rotate = jax.jit(rotate)
_resample = jax.jit(resample_positions, static_argnums=(1, 2))


def _pillow(values, rows, columns):
    """Pillow's bicubic filter is the antialiased one, with coefficient -0.5."""
    planes = [
        Image.fromarray(values[:, :, d]).resize((columns, rows), Image.Resampling.BICUBIC)
        for d in range(values.shape[2])
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)


@given(
    side=st.integers(2, 9),
    grid=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    resampling=st.sampled_from(POSITION_RESAMPLINGS),
)
def test_positions_match_their_twin(side, grid, resampling):
    values = np.random.default_rng(0).normal(size=(side, side, 2)).astype(np.float32)
    if grid == (side, side):
        expected = values
    elif resampling == "bicubic_antialiased":
        expected = _pillow(values, *grid)
    else:
        expected = bicubic(values, *grid, offset=0.1 if resampling == "bicubic_offset" else 0.0)
    resampled = _resample(jnp.asarray(values), grid, resampling)
    np.testing.assert_allclose(resampled, expected, atol=2e-5)


@pytest.mark.parametrize("num_registers", [0, 2])
@pytest.mark.parametrize("size", [28, 56])
def test_features_match_the_twin(num_registers, size):
    network = VisionTransformer(12, 2, 3, num_registers, SIDE, "bicubic")
    tiles = np.random.default_rng(1).normal(size=(2, size, size, 3)).astype(np.float32)
    params = random_variables(lambda key: network.init(key, tiles), 0)["params"]
    positions = bicubic(np.asarray(params["position_embedding"]), size // 14, size // 14)
    expected = vision_transformer_features(params, tiles, 3, positions)
    features = jax.jit(network.apply)({"params": params}, tiles)
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("grid", "quarter", "num_lone"), [((1, 1), 1, 0), ((2, 3), 4, 1), ((5, 2), 3, 5), ((14, 14), 16, 5)]
)
def test_rotary_positions_match_their_twin(grid, quarter, num_lone):
    length = num_lone + grid[0] * grid[1]
    vectors = np.random.default_rng(0).normal(size=(2, length, 3, 4 * quarter)).astype(np.float32)
    found = np.asarray(_rotate(jnp.asarray(vectors), patch_rotation(grid, 4 * quarter, num_lone)))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found[:, :num_lone], vectors[:, :num_lone])
    for tile in range(2):
        for head in range(3):
            expected = turned(vectors[tile, :, head], *grid)
            np.testing.assert_allclose(found[tile, :, head], expected, atol=1e-5)


@given(seed=st.integers(0, 99))
def test_attention_sees_how_far_patches_lie_apart_and_not_where(seed):
    query, key = np.random.default_rng(seed).normal(size=(2, 1, 1, 1, 16)).astype(np.float32)
    rows, columns = grid = (3, 4)
    everywhere = (1, rows * columns, 1, 16)
    queries, keys = (
        np.asarray(_rotate(np.broadcast_to(v, everywhere), patch_rotation(grid, 16, 0)))[0, :, 0]
        for v in (query, key)
    )
    products = (queries @ keys.T).reshape(rows, columns, rows, columns)
    np.testing.assert_allclose(products[:-1, :-1, :-1, :-1], products[1:, 1:, 1:, 1:], atol=1e-4)
    assert abs(products[0, 0, 0, 0] - products[0, 0, 0, 1]) > 1e-6


def test_half_precision_is_turned_in_float32():
    vectors = jnp.asarray(np.random.default_rng(0).normal(size=(1, 4, 1, 8)), jnp.bfloat16)
    rotation = patch_rotation((2, 2), 8, 0)
    found = rotate(vectors, rotation)
    assert found.dtype == jnp.bfloat16
    exact = rotate(vectors.astype(jnp.float32), rotation)
    np.testing.assert_array_equal(found, exact.astype(jnp.bfloat16))


@pytest.mark.parametrize("is_gated", [False, True])
@pytest.mark.parametrize("sides", [(32, 32), (16, 48)])
def test_rotary_features_match_the_twin(is_gated, sides):
    network = RotaryVisionTransformer(24, 2, 3, 2, is_gated)
    tiles = np.random.default_rng(1).normal(size=(2, *sides, 3)).astype(np.float32)
    params = random_variables(lambda key: network.init(key, tiles), 0)["params"]
    expected = vision_transformer_features(params, tiles, 3)
    features = jax.jit(network.apply)({"params": params}, tiles)
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "side", "nearest"),
    [
        ("vit_s14", 13, "14 or 28"),
        ("vit_s14", 64, "56 or 70"),
        ("vit_s14", 519, "518 or 532"),
        ("vit_s16_dinov3", 15, "16 or 32"),
        ("vit_s16_dinov3", 250, "240 or 256"),
    ],
)
def test_tiles_that_patches_do_not_cover_are_refused(name, side, nearest):
    backbone = get_backbone(name)
    small = dataclasses.replace(backbone, network=backbone.network.clone(width=24, depth=1))
    with pytest.raises(ConfigError, match=rf"not {side} px; set image_size to {nearest}\b"):
        jax.eval_shape(lambda key: small.init(key, side), jax.random.key(0))


def test_dinov2s_number_of_parameters():
    """22,056,576 and 86,580,480 in Hugging Face's models, of which a width is the mask token's.

    The position of the class token is part of that token here, which is one more width.
    """
    for name, parameters, width in (("vit_s14", 22_056_576, 384), ("vit_b14", 86_580_480, 768)):
        params = jax.eval_shape(lambda k, n=name: get_backbone(n).init(k, 28), jax.random.key(0))["params"]
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters - 2 * width
