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
from anneal_jax.models.vit import POSITION_RESAMPLINGS, VisionTransformer, resample_positions
from tests.models.random_variables import random_variables
from tests.reference.networks import bicubic, vision_transformer_features

SIDE = 4
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


@pytest.mark.parametrize("side", [13, 64, 518 + 1])
def test_tiles_that_patches_do_not_cover_are_refused(side):
    backbone = get_backbone("vit_s14")
    small = dataclasses.replace(backbone, network=VisionTransformer(12, 1, 3))
    with pytest.raises(ConfigError, match=rf"not {side} px; set image_size to \d+ or \d+"):
        jax.eval_shape(lambda key: small.init(key, side), jax.random.key(0))


def test_dinov2s_number_of_parameters():
    """22,056,576 and 86,580,480 in Hugging Face's models, of which a width is the mask token's.

    The position of the class token is part of that token here, which is one more width.
    """
    for name, parameters, width in (("vit_s14", 22_056_576, 384), ("vit_b14", 86_580_480, 768)):
        params = jax.eval_shape(lambda k, n=name: get_backbone(n).init(k, 28), jax.random.key(0))["params"]
        assert sum(leaf.size for leaf in jax.tree.leaves(params)) == parameters - 2 * width
