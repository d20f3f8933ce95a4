import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.data.digits import open_digits
from anneal_jax.models.backbones import get_backbone
from anneal_jax.training.encoding import encode
from anneal_jax.training.features import standardisation
from anneal_jax.training.finetune import FinetuneLearner, NetworkLoss, NetworkParams
from anneal_jax.training.fitting import _run_chunk
from anneal_jax.training.head_steps import FitSettings, pair_objective
from anneal_jax.training.learner import TrainingPairs

NUM_IMAGES = 70
TRAIN = np.arange(50, dtype=np.int32)


@pytest.fixture(scope="module")
def learner():
    archive = open_digits("", "refuse")
    images = archive.load(np.arange(NUM_IMAGES), 8)
    backbone = get_backbone("tiny_cnn")
    variables = backbone.init(jax.random.key(0), 8)
    mean, scale = standardisation(encode(backbone, variables, images), TRAIN)
    return FinetuneLearner(
        images=images,
        backbone=backbone,
        variables=variables,
        mean=mean,
        scale=scale,
        with_classifier=True,
        seed=0,
        epochs_first=4,
        epochs=2,
        batch_size=8,
        oversample=True,
        augment="none",
        settings=FitSettings(),
    )


@pytest.fixture(scope="module")
def classes():
    return open_digits("", "refuse").labels[:NUM_IMAGES]


def answered_pairs(classes, num_pairs, seed=0):
    rng = np.random.default_rng(seed)
    pairs = np.sort([rng.choice(TRAIN, 2, replace=False) for _ in range(num_pairs)], axis=1)
    labels = classes[pairs[:, 0]] == classes[pairs[:, 1]]
    return TrainingPairs(pairs.astype(np.int32), labels.astype(np.int8))


def embed(learner, params):
    return learner.embed(params, learner.features(params))


def are_equal(first, second):
    return jax.tree.all(jax.tree.map(np.array_equal, first, second))


def test_three_rounds_of_growing_answers_compile_once(learner, classes):
    params = learner.fit_pairs(answered_pairs(classes, 12), 0, None)
    num_compiled = _run_chunk._cache_size()
    for round_index, num_pairs in [(1, 20), (2, 41)]:
        params = learner.fit_pairs(answered_pairs(classes, num_pairs), round_index, params)
    assert _run_chunk._cache_size() == num_compiled
    assert embed(learner, params).shape == (NUM_IMAGES, 256)


def test_a_round_goes_on_from_the_last_and_leaves_it_as_it_was(learner, classes):
    pairs = answered_pairs(classes, 12)
    first = learner.fit_pairs(pairs, 0, None)
    kept = jax.tree.map(np.array, first)
    second = learner.fit_pairs(pairs, 1, first)
    assert are_equal(first, kept)
    kernel, start = (p.backbone["params"]["conv1"]["kernel"] for p in (second, first))
    fresh = learner.template().backbone["params"]["conv1"]["kernel"]
    # Three steps of 1e-3 each from `first`; other weights would lie far away.
    assert 0 < np.abs(kernel - start).max() < 0.02
    assert not np.array_equal(start, fresh)
    assert are_equal(second, learner.fit_pairs(pairs, 1, kept))  # as restored: NumPy arrays
    assert not are_equal(second, learner.fit_pairs(pairs, 1, None))


def test_a_fit_is_fixed_by_seed_round_and_augmentation(learner, classes):
    pairs = answered_pairs(classes, 12)
    params = learner.fit_pairs(pairs, 0, None)
    assert are_equal(params, learner.fit_pairs(pairs, 0, None))
    assert not are_equal(params, learner.fit_pairs(pairs, 3, None))
    for change in ({"seed": 1}, {"augment": "turn"}, {"augment": "full"}):
        other = dataclasses.replace(learner, **change)
        assert not are_equal(params, other.fit_pairs(pairs, 0, None))


def test_the_loss_of_a_batch_goes_through_the_standardised_backbone(learner):
    params = learner.template()
    pairs = np.array([[3, 9], [4, 1]], np.int32)
    labels = np.array([1.0, 0.0], np.float32)
    loss = NetworkLoss(pair_objective, learner.settings, learner.backbone, "none")
    constants = (jnp.asarray(learner.images), learner.mean, learner.scale)
    found = jax.jit(loss.__call__)(
        params, constants, (jnp.asarray(pairs), jnp.asarray(labels)), jax.random.key(0)
    )
    features = encode(learner.backbone, params.backbone, learner.images[[3, 4, 9, 1]])
    standardised = (features - learner.mean[None]) / learner.scale[None]
    expected = pair_objective(
        params.heads, jnp.asarray(standardised), jnp.asarray(labels), learner.settings
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_class_labels_train_even_where_there_are_fewer_tiles_than_a_batch(learner, classes):
    few = dataclasses.replace(learner, batch_size=64)
    params = few.fit_classes(TRAIN, classes[TRAIN])
    before, after = (within_minus_between(embed(few, p), classes) for p in (few.template(), params))
    assert after > before + 0.02


def within_minus_between(embeddings, classes):
    cosines, same = embeddings @ embeddings.T, classes[:, None] == classes[None]
    return cosines[same].mean() - cosines[~same].mean()


def test_statistics_of_batch_norm_get_no_gradient():
    """A scale and shift by stored statistics, as in FrozenBatchNorm, on one pixel."""

    @dataclasses.dataclass(frozen=True)
    class Normed:
        is_rgb = True

        def apply(self, variables, images):
            pixels = images[:, 0, 0].astype(jnp.float32) * variables["params"]["gain"]
            return pixels - variables["batch_stats"]["mean"][None]

    variables = {"params": {"gain": jnp.float32(0.5)}, "batch_stats": {"mean": jnp.ones(3)}}

    def total(heads, features, targets, settings):
        return jnp.sum(features)

    loss = NetworkLoss(total, FitSettings(), Normed(), "turn")
    constants = (jnp.ones((4, 2, 2, 3), jnp.uint8), jnp.zeros(3), jnp.ones(3))
    batch = (jnp.array([[0, 1], [2, 3]]), jnp.array([1.0, 0.0]))
    params = NetworkParams(variables, None)
    gradient = jax.grad(loss)(params, constants, batch, jax.random.key(0)).backbone
    assert gradient["params"]["gain"] == 12.0
    assert gradient["batch_stats"]["mean"].tolist() == [0.0, 0.0, 0.0]
