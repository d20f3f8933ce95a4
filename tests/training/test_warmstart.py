import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.errors import ConfigError
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.resnet import BasicBlock, ResNet
from anneal_jax.seeds import Use, device_key
from anneal_jax.training import warmstart
from anneal_jax.training.feed import HostFeed, ResidentFeed, make_mesh
from anneal_jax.training.warmstart import WarmStartSettings, _step, warm_start
from tests.compilations import count_compilations
from tests.training.watched_bar import WatchedBar, counted

ROWS = np.arange(4, 28, dtype=np.int32)
SETTINGS = WarmStartSettings(method="vicreg", epochs=6, batch_size=8)


def coloured_tiles(bands):
    """Tiles of noise around a level of their own in each band."""
    rng = np.random.default_rng(0)
    levels = rng.integers(40, 200, (30, 1, 1, bands))
    return (levels + rng.integers(-30, 30, (30, 8, 8, bands))).astype(np.uint8)


@pytest.mark.parametrize(
    ("method", "bands"), [("vicreg", 3), pytest.param("simsiam", 5, marks=pytest.mark.slow)]
)
def test_the_loss_falls_and_features_do_not_collapse(method, bands):
    backbone = get_backbone("tiny_cnn", num_bands=bands, rgb_bands=(0, 1, 2) if bands == 3 else None)
    variables = backbone.init(jax.random.key(0), 8)
    kept = jax.tree.map(np.array, variables)
    feed = ResidentFeed(coloured_tiles(bands), make_mesh(1))
    settings = dataclasses.replace(SETTINGS, method=method)
    result = warm_start(backbone, variables, feed, ROWS, settings)
    assert result.losses.shape == (18,)
    assert result.losses[-4:].mean() < result.losses[:4].mean()
    assert result.spread > 0.05
    assert jax.tree.all(jax.tree.map(np.array_equal, variables, kept))
    assert jax.tree.structure(result.variables) == jax.tree.structure(variables)
    assert not np.array_equal(
        result.variables["params"]["conv1"]["kernel"], kept["params"]["conv1"]["kernel"]
    )


def test_it_is_fixed_by_its_seed_whatever_the_feed_and_compiles_once(monkeypatch):
    backbone = get_backbone("tiny_cnn")
    variables = backbone.init(jax.random.key(0), 8)
    images = coloured_tiles(3)
    read = set()

    def load(rows):
        read.update(rows.tolist())
        return images[rows]

    resident = ResidentFeed(images, make_mesh(1))
    calls = []
    bar = WatchedBar(calls)
    with count_compilations() as compiled:
        with monkeypatch.context() as patched:
            patched.setattr(warmstart, "tqdm", bar)
            patched.setattr(warmstart, "_step", counted(_step, calls))
            first = warm_start(backbone, variables, resident, ROWS, SETTINGS)
        other = warm_start(backbone, variables, resident, ROWS, dataclasses.replace(SETTINGS, seed=1))
    assert compiled["_step"] == 1
    # The loss of the step before, while the next is under way.
    assert bar.shown == [(step + 2, f"{loss:.3f}") for step, loss in enumerate(first.losses[:-1])]
    assert (first.losses != other.losses).any()
    host = HostFeed(load, len(images), images.shape[1:], make_mesh(1))
    second = warm_start(backbone, variables, host, ROWS, SETTINGS)
    np.testing.assert_array_equal(first.losses, second.losses)
    assert read == set(ROWS.tolist())  # no tile that was kept away


def test_a_batch_that_devices_cannot_share_is_cut_to_one_that_they_can(monkeypatch):
    sizes = []

    def count(task, state, tiles, key):
        sizes.append(len(tiles))
        return state, (jnp.zeros(()), jnp.zeros(()))

    monkeypatch.setattr(warmstart, "_step", count)
    nothing = warmstart._State({"backbone": {}}, {}, ())
    keys = []
    monkeypatch.setattr(warmstart._Task, "initial", lambda *given: keys.append(given[-1]) or nothing)
    monkeypatch.setattr(jax, "jit", lambda function, **_: function)  # nothing to compile
    backbone, variables = get_backbone("tiny_cnn"), {"params": {"scale": np.ones(1, np.float32)}}
    feed = ResidentFeed(coloured_tiles(3), make_mesh(8))
    settings = dataclasses.replace(SETTINGS, epochs=1, batch_size=13)
    warm_start(backbone, variables, feed, ROWS, settings)
    assert sizes == [8, 8, 8]
    # The projector's weights are drawn apart from those of a random backbone of the same seed.
    assert keys == [device_key(0, 0, Use.PROJECTOR)] != [device_key(0, 0, Use.WEIGHTS)]
    with pytest.raises(ConfigError, match="a step of 7 tiles cannot be shared by 8 devices; set"):
        warm_start(backbone, variables, feed, ROWS[:7], settings)


@pytest.mark.slow
def test_statistics_of_batch_norm_move_with_the_pictures():
    short = ResNet(BasicBlock, (1, 1, 1, 1))
    backbone = dataclasses.replace(get_backbone("resnet18"), network=short)
    variables = backbone.init(jax.random.key(0), 8)
    feed = ResidentFeed(coloured_tiles(3), make_mesh(1))
    settings = dataclasses.replace(SETTINGS, epochs=1)
    result = warm_start(backbone, variables, feed, ROWS, settings)
    assert jax.tree.structure(result.variables) == jax.tree.structure(variables)
    moved = result.variables["batch_stats"]["bn1"]
    assert np.abs(moved["mean"]).max() > 0.01
    assert np.isfinite(backbone.apply(result.variables, coloured_tiles(3))).all()


def test_what_cannot_be_trained_is_one_sentence(monkeypatch):
    backbone = get_backbone("tiny_cnn")
    feed = ResidentFeed(coloured_tiles(3), make_mesh(1))
    variables = backbone.init(jax.random.key(0), 8)
    with pytest.raises(ConfigError, match="needs two tiles at least, and 1 are given"):
        warm_start(backbone, variables, feed, ROWS[:1], SETTINGS)
    with pytest.raises(ConfigError, match="'pixels' has nothing that could learn"):
        warm_start(get_backbone("pixels"), {}, feed, ROWS, SETTINGS)
    monkeypatch.setattr(warmstart, "_step", lambda task, state, *_: (state, (jnp.inf, jnp.zeros(()))))
    with pytest.raises(ConfigError, match=r"diverged: its loss is inf at the learning rate 0.001"):
        warm_start(backbone, variables, feed, ROWS, SETTINGS)
