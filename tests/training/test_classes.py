import jax
import numpy as np
import pytest

from anneal_jax.models.heads import WIDTHS
from anneal_jax.training.classes import (
    ClassHeads,
    ClassLearner,
    as_head_params,
    class_logits,
    class_objective,
)
from anneal_jax.training.frozen import FrozenLearner
from anneal_jax.training.head_steps import FitSettings
from anneal_jax.training.sampling import draw_group_batches
from tests.compilations import count_compilations
from tests.reference.label_baselines import cross_entropy
from tests.reference.networks import similarity_embedding

NUM_IMAGES, NUM_CLASSES, DIM = 60, 3, 10
CLASSES = (np.arange(NUM_IMAGES) % NUM_CLASSES).astype(np.int32)


@pytest.fixture(scope="module")
def learner():
    rng = np.random.default_rng(3)
    features = 1.5 * rng.normal(size=(NUM_CLASSES, DIM))[CLASSES] + rng.normal(size=(NUM_IMAGES, DIM))
    features = features.astype(np.float32)
    zeros, ones = np.zeros(DIM, np.float32), np.ones(DIM, np.float32)
    frozen = FrozenLearner(
        features,
        zeros,
        ones,
        np.arange(len(features), dtype=np.int32),
        with_classifier=False,
        seed=0,
        num_steps=50,
        batch_size=16,
        settings=FitSettings(feature_dropout=0.1),
    )
    return ClassLearner(frozen, NUM_CLASSES)


def drawn_heads(learner):
    kernel = np.random.default_rng(4).normal(size=(WIDTHS[-1], NUM_CLASSES)).astype(np.float32)
    softmax = {"params": {"kernel": kernel / 16, "bias": np.zeros(NUM_CLASSES, np.float32)}}
    return ClassHeads(learner.frozen.template().similarity, softmax)


def test_classes_are_learnt_and_the_layer_below_embeds(learner):
    seen = np.arange(0, 30, dtype=np.int32)
    heads = learner.fit(seen, CLASSES[seen], 0)
    logits = learner.logits(heads)
    assert logits.shape == (NUM_IMAGES, NUM_CLASSES)
    assert np.mean(logits.argmax(axis=1)[30:] == CLASSES[30:]) > 0.8
    embeddings = learner.frozen.embed(as_head_params(heads), learner.frozen.stored_features)
    np.testing.assert_allclose(
        embeddings, similarity_embedding(heads.similarity, learner.frozen.standardised), atol=1e-5
    )
    template = learner.frozen.template()
    assert jax.tree.structure(as_head_params(heads)) == jax.tree.structure(template)


def test_the_cost_is_the_cross_entropy_of_the_known(learner):
    heads = drawn_heads(learner)
    classes = np.where(np.arange(8) < 5, CLASSES[:8], -1)
    features = jax.numpy.asarray(learner.frozen.standardised[:8])
    cost = jax.jit(class_objective, static_argnums=3)
    found = cost(heads, features, classes, learner.frozen.settings)
    expected = cross_entropy(np.asarray(class_logits(heads, features)), classes)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_logits_are_linear_in_the_layer_that_embeds(learner):
    heads = drawn_heads(learner)
    softmax = {"params": jax.tree.map(np.array, heads.softmax["params"])}
    softmax["params"]["kernel"] *= 2
    softmax["params"]["bias"] += 1
    features = jax.numpy.asarray(learner.frozen.standardised)
    doubled = class_logits(ClassHeads(heads.similarity, softmax), features)
    np.testing.assert_allclose(doubled, 2 * class_logits(heads, features) + 1, rtol=1e-5)


def test_more_images_compile_nothing_new(learner):
    with count_compilations() as compiled:
        for round_index, count in enumerate((5, 16, 40)):
            images = np.arange(count, dtype=np.int32)
            learner.fit(images, CLASSES[:count], round_index)
            learner.frozen.fit_classes(images, CLASSES[:count], round_index)
    assert compiled["_run_chunk"] == 2  # one for each loss


def test_too_few_images_leave_places_empty_and_none_is_doubled():
    images, groups = np.array([7, 8, 9], np.int32), np.array([1, 0, 1], np.int32)
    found = draw_group_batches(np.random.default_rng(0), images, groups, num_steps=4, batch_size=5)
    assert found.images.dtype == found.groups.dtype == np.int32
    assert found.images.shape == found.groups.shape == (4, 5)
    np.testing.assert_array_equal(found.groups[:, 3:], -1)
    for row, group in zip(found.images[:, :3], found.groups[:, :3], strict=True):
        assert sorted(row.tolist()) == [7, 8, 9]
        assert group.tolist() == [int(image != 8) for image in row]
