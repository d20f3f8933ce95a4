"""A warm start as a command: from a recipe to weights that a run takes."""

import dataclasses

import numpy as np
import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ConfigError, WorkdirError
from anneal_jax.experiments import pretrain as pretrain_module
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.experiments.pretrain import pretrain
from anneal_jax.training import factory
from anneal_jax.training.feed import HostFeed, ResidentFeed
from anneal_jax.training.network import load_network
from anneal_jax.training.warmstart import WarmStart
from tests.data.scene_files import write_scene
from tests.launching import run_script


@pytest.fixture
def config(tmp_path):
    """Tiles of five bands of which one is far brighter; no label anywhere."""
    values = np.random.default_rng(0).integers(500, 1500, (5, 48, 64)).astype(np.uint16)
    values[3] += 700
    write_scene(tmp_path / "scenes" / "scene.tif", values)
    return ExperimentConfig(
        archive=f"geotiff:{tmp_path / 'scenes'}?tile=8&bands=1,2,3,4,5&range=0,4000",
        backbone="tiny_cnn",
        image_size=8,
        batch_size=16,
        cache_dir=str(tmp_path / "cache"),
    )


@pytest.fixture
def given(monkeypatch):
    """What the training was called with; it returns the weights that it began with."""
    calls = []

    def fake(backbone, variables, feed, rows, settings):
        calls.append((backbone, variables, feed, rows, settings))
        return WarmStart(variables, np.array([3.0, 2.0], np.float32), 0.5)

    monkeypatch.setattr(pretrain_module, "warm_start", fake)
    return calls


def test_only_training_tiles_take_part_and_bands_are_scaled_by_the_archive(config, given, tmp_path):
    output = tmp_path / "warm.safetensors"
    said = pretrain(config, output, method="simsiam", epochs=7, turns=False)
    backbone, _, feed, rows, settings = given[0]
    assert feed.num_tiles == 48 and len(rows) == 38 == len(set(rows))
    assert (settings.method, settings.epochs, settings.batch_size) == ("simsiam", 7, 16)
    assert not settings.strength.turns
    tiles = open_archive(config.archive).load(rows, 8).astype(np.float64)
    np.testing.assert_allclose(backbone.mean, tiles.mean(axis=(0, 1, 2)), rtol=1e-5)
    np.testing.assert_allclose(backbone.spread, tiles.std(axis=(0, 1, 2)), rtol=1e-5)
    assert "tiny_cnn saw 38 tiles 7 times (simsiam): its loss went from 2.500 to 2.500" in said
    warm = dataclasses.replace(config, image_size=0, pretrained=str(output))
    network = load_network(warm)
    assert (network.backbone, network.image_size) == (backbone, 8)
    pretrain(warm, tmp_path / "again.safetensors", with_all_tiles=True)
    assert given[1][0] == backbone and len(given[1][3]) == 48


def test_the_split_is_that_of_a_run_with_the_same_seed(given, tmp_path):
    config = ExperimentConfig(backbone="tiny_cnn", image_size=8, seed=3, cache_dir=str(tmp_path))
    pretrain(config, tmp_path / "warm.safetensors")
    np.testing.assert_array_equal(given[0][3], load_dataset(config).split.train)


def test_tiles_come_from_the_cache_whichever_feed_they_get(config, monkeypatch):
    archive, network, rows = open_archive(config.archive), load_network(config), np.array([3, 47, 3])
    found = {}
    for fits in (True, False):
        monkeypatch.setattr(factory, "fits_on_device", lambda num_bytes, fits=fits: fits)
        feed = factory.tile_feed(config, archive, network)
        (found[type(feed)],) = feed.blocks([rows])
    assert set(found) == {ResidentFeed, HostFeed}
    for tiles in found.values():
        np.testing.assert_array_equal(tiles, archive.load(rows, 8))


def test_what_cannot_be_written_or_trained_is_reported_before_the_work(config, given, tmp_path):
    with pytest.raises(WorkdirError, match="its folder does not exist"):
        pretrain(config, tmp_path / "absent" / "warm.safetensors")
    with pytest.raises(ConfigError, match=r"must end in .safetensors"):
        pretrain(config, tmp_path / "warm.npz")
    np.savez(tmp_path / "vectors.npz", embeddings=np.ones((20, 3), np.float32))
    vectors = dataclasses.replace(config, archive=f"embeddings:{tmp_path / 'vectors.npz'}")
    with pytest.raises(ConfigError, match="a warm start needs tiles"):
        pretrain(vectors, tmp_path / "warm.safetensors")
    assert not given


@pytest.mark.slow
def test_the_command_writes_weights_that_a_run_takes(tmp_path):
    output = tmp_path / "warm.safetensors"
    done = run_script(
        "warmstart",
        "--config=launch/configs/digits.py",
        "--config.backbone=tiny_cnn",
        "--config.image_size=8",
        f"--config.cache_dir={tmp_path}",
        "--epochs=1",
        "--noturns",
        f"--output={output}",
    )
    assert done.returncode == 0, done.stderr
    assert (
        f"See {output}; give it as --config.pretrained={output} --config.backbone=tiny_cnn" in done.stdout
    )
    network = load_network(ExperimentConfig(backbone="tiny_cnn", pretrained=str(output)))
    assert network.image_size == 8
