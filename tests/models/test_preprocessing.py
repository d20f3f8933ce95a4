import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.errors import WeightsError, WorkdirError
from anneal_jax.files.workdir import settle_config
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.preprocessing import read_preprocessing
from anneal_jax.models.pretrained import as_pretrained, load_pretrained, preparation, prepared_by
from anneal_jax.training.network import input_size, prepared_backbone

# As on the hub beside timm/resnet18.tv_in1k and facebook/dinov2-small.
TIMM = {
    "architecture": "resnet18",
    "num_classes": 1000,
    "pretrained_cfg": {
        "tag": "tv_in1k",
        "input_size": [3, 224, 224],
        "interpolation": "bilinear",
        "crop_pct": 0.875,
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}
TRANSFORMERS = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
    "resample": 3,
    "rescale_factor": 0.00392156862745098,
    "size": {"shortest_edge": 256},
}


def _written(folder, **files):
    for stem, value in files.items():
        (folder / f"{stem}.json").write_text(json.dumps(value))
    return folder


def test_timms_config(tmp_path):
    found = read_preprocessing(_written(tmp_path, config=TIMM))
    assert found.image_size == 224 and found.resampling == "bilinear"
    np.testing.assert_allclose(found.mean, get_backbone("resnet18").mean)
    np.testing.assert_allclose(found.spread, get_backbone("resnet18").spread)


def test_timms_older_config_has_everything_in_one_place(tmp_path):
    flat = {**TIMM["pretrained_cfg"], "architecture": "resnet18", "input_size": [3, 288, 288]}
    assert read_preprocessing(_written(tmp_path, config=flat)).image_size == 288


@pytest.mark.parametrize(
    ("changes", "size"),
    [({}, 224), ({"do_center_crop": False}, 256), ({"do_center_crop": False, "size": 96}, 96)],
)
def test_transformers_preprocessor(tmp_path, changes, size):
    files = _written(tmp_path, preprocessor_config=TRANSFORMERS | changes, config={"model_type": "dinov2"})
    found = read_preprocessing(files)
    assert found.image_size == size and found.resampling == "bicubic"
    np.testing.assert_allclose(found.mean, (123.675, 116.28, 103.53))


def test_another_scale_of_values(tmp_path):
    changed = TRANSFORMERS | {"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]}
    found = read_preprocessing(_written(tmp_path, preprocessor_config=changed))
    np.testing.assert_allclose(found.mean + found.spread, 127.5)
    unscaled = _written(tmp_path, preprocessor_config=TRANSFORMERS | {"do_normalize": False})
    found = read_preprocessing(unscaled)
    np.testing.assert_allclose(found.mean + found.spread, (0, 0, 0, 255, 255, 255))


@pytest.mark.parametrize("config", [None, {"rounds": 6}, ["architecture"]])
def test_nothing_is_read_from_other_files(tmp_path, config):
    assert read_preprocessing(_written(tmp_path, config=config)) is None


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.5, 0.5]},
        {"std": [0.2, 0.0, 0.2]},
        {"mean": [0.5, float("nan"), 0.5]},
        {"input_size": [3, 224]},
        {"input_size": [3, 224.5, 224.5]},
        {"interpolation": "random"},
        {"std": None},
    ],
)
def test_what_cannot_be_used_is_refused(tmp_path, change):
    changed = TIMM | {"pretrained_cfg": TIMM["pretrained_cfg"] | change}
    with pytest.raises(WeightsError, match=r"preprocessing next to the weights in .* cannot be used"):
        read_preprocessing(_written(tmp_path, config=changed))


def test_a_torn_file_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"cannot read .*config\.json"):
        read_preprocessing(tmp_path)


def _file(folder, **files):
    save_file({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)}, folder / "model.safetensors")
    return _written(folder, **files) / "model.safetensors"


@pytest.mark.parametrize("other", ["resnetblur50", "resnet50d", "resnet50"])
def test_weights_of_another_network_with_the_same_names_are_refused(tmp_path, other):
    file = _file(tmp_path, config=TIMM | {"architecture": other})
    with pytest.raises(WeightsError, match=rf"are for '{other}', which is not the network of 'resnet18'"):
        as_pretrained(get_backbone("resnet18"), file)
    assert as_pretrained(get_backbone("resnet18"), _file(tmp_path, config=TIMM)).name == "resnet18"


def test_strides_in_other_places_are_refused(tmp_path):
    file = _file(tmp_path, config={"model_type": "resnet", "downsample_in_bottleneck": True})
    with pytest.raises(WeightsError, match="with downsample_in_bottleneck"):
        as_pretrained(get_backbone("resnet50"), file)


def test_a_run_is_prepared_as_the_files_say_and_remembers_it(tmp_path):
    file = _file(tmp_path, preprocessor_config=TRANSFORMERS | {"do_center_crop": False})
    config = ExperimentConfig(backbone="resnet18", pretrained=str(file))
    backbone = prepared_backbone(config)
    assert (backbone.default_image_size, backbone.resampling) == (256, "bicubic")
    inputs = {"preprocessing": preparation(backbone)}
    (tmp_path / "preprocessor_config.json").unlink()
    file.unlink()
    assert prepared_backbone(config, inputs) == backbone
    assert input_size(config, inputs) == 256


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True)])
def test_a_run_does_not_go_on_when_the_files_beside_its_weights_come_or_go(tmp_path, before, after):
    bicubic = dataclasses.replace(get_backbone("resnet18"), resampling="bicubic")
    with_preprocessing = {"weights": "aa", "preprocessing": preparation(bicubic)}
    without = {"weights": "aa"}
    config = ExperimentConfig()
    settle_config(tmp_path, config, with_preprocessing if before else without)
    settle_config(tmp_path, config, with_preprocessing if before else without)
    with pytest.raises(WorkdirError, match="the preprocessing changed after"):
        settle_config(tmp_path, config, with_preprocessing if after else without)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "vit_s14"])
def test_a_backbones_own_preparation_needs_no_words(name):
    backbone = get_backbone(name)
    assert preparation(backbone) == ""
    assert prepared_by(backbone, "") is backbone


def test_tiles_are_resized_by_the_filter_that_is_asked_for():
    archive = open_archive("digits")
    first, second = (archive.load([0], 32, name).astype(int) for name in ("bilinear", "bicubic"))
    np.testing.assert_array_equal(first, archive.load([0], 32))
    assert np.abs(first - second).max() > 5


def test_a_kind_of_file_that_the_backbone_is_not_read_from_is_refused(tmp_path):
    file = _file(tmp_path)
    with pytest.raises(WeightsError, match=r"'mobilenet_v2' must be a \.npz file"):
        load_pretrained(get_backbone("mobilenet_v2"), file)
