import jax
import numpy as np
import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.training import factory
from anneal_jax.training.factory import make_learner
from anneal_jax.training.feed import HostFeed, ResidentFeed


@pytest.mark.parametrize("image_size", [8, 12])
def test_pixels_can_be_finetuned_at_any_image_size(image_size):
    config = ExperimentConfig(
        archive="digits", backbone="pixels", regime="finetune", image_size=image_size, group_loss="info_nce"
    )
    dataset = load_dataset(config)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=True)
    params = learner.template()
    kernel = params.heads.similarity["params"]["dense_0"]["kernel"]
    assert jax.tree.leaves(params.backbone) == []
    assert kernel.shape[0] == image_size**2 * 3
    features = learner.features(params)
    assert learner.embed(params, features[:2]).shape == (2, 256)


def test_tiles_that_do_not_fit_on_the_device_are_read_from_the_cache(monkeypatch, tmp_path):
    config = ExperimentConfig(
        archive="digits", backbone="pixels", regime="finetune", image_size=4, cache_dir=str(tmp_path)
    )
    data = load_dataset(config)
    resident = make_learner(config, data.archive, data.split.train, with_classifier=False)
    monkeypatch.setattr(factory, "fits_on_device", lambda num_bytes: num_bytes < 1797 * 4 * 4 * 3)
    read = make_learner(config, data.archive, data.split.train, with_classifier=False)
    assert isinstance(resident.feed, ResidentFeed)
    assert isinstance(read.feed, HostFeed)
    np.testing.assert_array_equal(read.features(read.template()), resident.features(read.template()))
