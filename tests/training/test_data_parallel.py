"""A whole network on eight devices, and on two real processes, learns what it learns on one device."""

import dataclasses
import socket

import jax
import numpy as np
import pytest

from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.resnet import BasicBlock, ResNet
from anneal_jax.seeds import Use, device_key
from anneal_jax.training.feed import HostFeed, ResidentFeed, make_mesh
from anneal_jax.training.finetune import FinetuneLearner, FinetunePlan, NetworkLoss
from anneal_jax.training.frozen import FrozenLearner
from anneal_jax.training.head_steps import FitSettings
from anneal_jax.training.learner import TrainingPairs
from anneal_jax.training.network_fit import fit_network
from anneal_jax.training.optimiser import Schedule
from anneal_jax.training.tile_batches import draw_pair_tiles, pair_shape
from tests.launching import ROOT, Forked  # conftest sets flags, and children import this file

_NUM_TILES, _SIZE = 40, 16


def make_images():
    """Tiles of four colours, each with noise."""
    rng = np.random.default_rng(0)
    colours = rng.integers(60, 196, (4, 1, 1, 3))[np.arange(_NUM_TILES) % 4]
    noise = rng.integers(-60, 60, (_NUM_TILES, _SIZE, _SIZE, 3))
    return (colours + noise).astype(np.uint8)


def make_pairs():
    rng = np.random.default_rng(1)
    pairs = np.sort([rng.choice(_NUM_TILES, 2, replace=False) for _ in range(60)], axis=1)
    labels = pairs[:, 0] % 4 == pairs[:, 1] % 4
    return TrainingPairs(pairs.astype(np.int32), labels.astype(np.int8))


def make_learner(mesh, *, is_resident=True):
    images, backbone = make_images(), get_backbone("tiny_cnn")
    feed = ResidentFeed(images, mesh)
    if not is_resident:
        feed = HostFeed(lambda rows: images[rows], _NUM_TILES, images.shape[1:], mesh)
    return FinetuneLearner(
        feed=feed,
        backbone=backbone,
        variables=jax.tree.map(np.asarray, backbone.init(jax.random.key(0), _SIZE)),
        heads_only=make_heads(128, FitSettings(schedule="cosine")),
        plan=FinetunePlan(epochs_first=3, epochs=1, batch_size=16, augment="turn"),
    )


def make_heads(feature_dim, settings):
    """Heads alone, on features by which the classes can be told apart."""
    rows = np.arange(_NUM_TILES)
    noise = np.random.default_rng(3).normal(size=(_NUM_TILES, feature_dim))
    return FrozenLearner(
        stored_features=(noise + np.eye(feature_dim)[rows % 4]).astype(np.float32),
        mean=np.zeros(feature_dim, np.float32),
        scale=np.ones(feature_dim, np.float32),
        train_images=rows.astype(np.int32),
        with_classifier=True,
        seed=0,
        num_steps=5,
        batch_size=16,
        oversample=True,
        settings=settings,
    )


def losses_of(num_devices, num_steps):
    learner = make_learner(make_mesh(num_devices))
    shape = pair_shape(16, 8)  # the same batches on one device and on eight
    rng = np.random.default_rng(2)
    drawn = draw_pair_tiles(rng, make_pairs(), shape, epochs=num_steps, oversample=True)
    batches = [batch for batch, _ in zip(drawn, range(num_steps), strict=False)]
    return fit_network(
        NetworkLoss(learner.heads_only.settings, learner.backbone, "turn", "frozen"),
        learner.template(),
        (learner.mean, learner.scale),
        batches,
        learner.feed,
        device_key(0, 0, Use.NOISE),
        # The rate of pretrained backbones. Ten times as much solves these tiles within 40 steps, and the
        # little that is left of the loss then differs by up to 1%.
        schedule=Schedule("constant", 1e-4),
        num_epochs=num_steps,
        use="test",
    ).losses


@pytest.mark.soak
def test_the_loss_on_eight_devices_stays_that_of_one_over_fifty_steps():
    one, eight = losses_of(1, 50), losses_of(8, 50)
    assert one.shape == (50,)
    np.testing.assert_allclose(eight, one, rtol=1e-4)
    assert one[-10:].mean() < one[:10].mean()


@pytest.mark.slow
def test_live_statistics_on_eight_devices_are_those_of_one():
    """Each device sees some tiles of a batch; the batch norm of all sees the whole of it."""
    backbone = dataclasses.replace(get_backbone("resnet18"), network=ResNet(BasicBlock, (0, 0, 0, 0)))
    plan = FinetunePlan(2, 1, batch_size=32, augment="turn", batch_norm="live")
    found = []
    for num_devices in (1, 8):
        learner = dataclasses.replace(
            make_learner(make_mesh(num_devices)),
            backbone=backbone,
            variables=jax.tree.map(np.asarray, backbone.init(jax.random.key(0), _SIZE)),
            heads_only=make_heads(64, FitSettings(learning_rate=1e-4)),
            plan=plan,
        )
        found.append(learner.fit_pairs(make_pairs(), 0, None))
    one, eight = found
    assert jax.tree.all(jax.tree.map(lambda x, y: np.allclose(x, y, atol=1e-4), eight, one))
    moved, start = (params.backbone["batch_stats"]["bn1"]["mean"] for params in (eight, learner.template()))
    assert np.abs(moved - start).max() > 1e-2


_CHILD = """
import sys
import jax, numpy as np

address, process, is_resident, out = sys.argv[1:]
jax.distributed.initialize(address, num_processes=2, process_id=int(process))
from anneal_jax.training.feed import make_mesh
from tests.training.test_data_parallel import make_learner, make_pairs

mesh = make_mesh()
assert jax.process_count() == 2 and mesh.size == 4
learner = make_learner(mesh, is_resident=is_resident == "resident")
params = learner.fit_pairs(make_pairs(), 0, None)
features = learner.features(params)
np.savez(out, *jax.tree.leaves(params), features=features, embeddings=learner.embed(params, features))
"""


def _free_address():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.parametrize(
    "kind",
    [pytest.param("resident", marks=pytest.mark.slow), pytest.param("host", marks=pytest.mark.soak)],
)
def test_two_processes_learn_what_one_learns(tmp_path, kind):
    (tmp_path / "child.py").write_text(_CHILD)
    environment = {
        "PYTHONPATH": str(ROOT),
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
    }
    address = _free_address()
    children = [
        Forked(
            *("child.py", address, process, kind, f"out_{process}.npz"),
            stderr=tmp_path / f"stderr_{process}",
            cwd=tmp_path,
            environment=environment,
        )
        for process in range(2)
    ]
    assert [child.wait() for child in children] == [0, 0], (tmp_path / "stderr_0").read_text()
    learner = make_learner(make_mesh(4))
    params = learner.fit_pairs(make_pairs(), 0, None)
    expected = [*jax.tree.leaves(params), learner.features(params)]
    found = [np.load(tmp_path / f"out_{process}.npz") for process in range(2)]
    for of_process in found:
        names = [f"arr_{i}" for i in range(len(expected) - 1)] + ["features"]
        for name, value in zip(names, expected, strict=True):
            np.testing.assert_allclose(of_process[name], value, atol=2e-4, err_msg=name)
            np.testing.assert_array_equal(of_process[name], found[0][name])
    np.testing.assert_array_equal(found[0]["embeddings"], found[1]["embeddings"])
