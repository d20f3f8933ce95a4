"""Weights as this package writes them: what `save_pretrained` writes, `pretrained` reads."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from anneal_jax.errors import WeightsError
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.pretrained import (
    as_pretrained,
    load_pretrained,
    preparation,
    save_pretrained,
    weights_digest,
)
from tests.models.random_variables import random_variables


@pytest.fixture
def trained():
    """A network of five bands with a preparation of its own."""
    backbone = get_backbone("tiny_cnn", num_bands=5, rgb_bands=None)
    return dataclasses.replace(
        backbone,
        mean=(1.5, 2.0, 3.0, 4.0, 5.0),
        spread=(2.0,) * 5,
        default_image_size=20,
        resampling="bicubic",
    )


def test_what_is_written_is_read_with_its_preparation(trained, tmp_path):
    variables = random_variables(lambda key: trained.init(key, 8), 0)
    file = tmp_path / "warm.safetensors"
    save_pretrained(file, trained, variables)
    fresh = get_backbone("tiny_cnn", num_bands=5, rgb_bands=None)
    found = as_pretrained(fresh, str(file))
    assert found == trained
    assert json.loads(preparation(found))["resampling"] == "bicubic"
    loaded = load_pretrained(found, str(file))
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, variables))
    assert len(weights_digest(str(file))) == 64


def test_a_network_with_statistics_is_kept_whole(tmp_path):
    backbone = get_backbone("resnet18")
    variables = random_variables(lambda key: backbone.init(key, 32), 0)
    save_pretrained(tmp_path / "warm.safetensors", backbone, variables)
    loaded = load_pretrained(backbone, tmp_path / "warm.safetensors")
    assert jax.tree.all(jax.tree.map(np.array_equal, loaded, variables))


def test_what_does_not_fit_is_refused(trained, tmp_path):
    file = tmp_path / "warm.safetensors"
    save_pretrained(file, trained, random_variables(lambda key: trained.init(key, 8), 0))
    with pytest.raises(WeightsError, match=r"weights of 'tiny_cnn', not of 'resnet18'"):
        load_pretrained(get_backbone("resnet18"), file)
    with pytest.raises(WeightsError, match=r"1 of 6 arrays: params/conv1/kernel is \(3, 3, 5, 32\)"):
        load_pretrained(get_backbone("tiny_cnn"), file)
    with pytest.raises(WeightsError, match=r"for tiles of 5 bands, but these have 3"):
        as_pretrained(get_backbone("tiny_cnn"), file)
    with pytest.raises(WeightsError, match=r"give the file that suffix"):
        save_pretrained(tmp_path / "warm.npz", trained, {})
    vit = get_backbone("vit_s14")
    save_pretrained(tmp_path / "vit.safetensors", vit, {"params": {"cls_token": np.zeros(1, np.float32)}})
    with pytest.raises(WeightsError, match=r"weights of 'vit_s14', not of 'tiny_cnn'; set `backbone`"):
        as_pretrained(get_backbone("tiny_cnn"), tmp_path / "vit.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="not an intact safetensors file"):
        load_pretrained(trained, file)
