import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.data.digits import open_digits
from anneal_jax.errors import ConfigError
from anneal_jax.models.backbones import get_backbone
from anneal_jax.models.resnet import BasicBlock, ResNet
from anneal_jax.seeds import Use, device_key
from anneal_jax.training import frozen
from anneal_jax.training.augment import augment
from anneal_jax.training.encoding import encode
from anneal_jax.training.features import standardisation
from anneal_jax.training.feed import ResidentFeed, make_mesh
from anneal_jax.training.finetune import FinetuneLearner, FinetunePlan, NetworkLoss
from anneal_jax.training.frozen import FrozenLearner
from anneal_jax.training.head_steps import FitSettings, init_heads, pair_objective
from anneal_jax.training.learner import TrainingPairs, centred, represent
from anneal_jax.training.tile_batches import BatchShape, TileBatch, draw_pair_tiles
from tests.compilations import count_compilations

NUM_IMAGES = 70
TRAIN = np.arange(50, dtype=np.int32)
PLAN = FinetunePlan(epochs_first=4, epochs=2, batch_size=8)
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def learner():
    archive = open_digits("", "refuse")
    images = archive.load(np.arange(NUM_IMAGES), 8)
    backbone = get_backbone("tiny_cnn")
    variables = backbone.init(jax.random.key(0), 8)
    features = encode(backbone, variables, images)
    mean, scale = standardisation(features, TRAIN)
    return FinetuneLearner(
        feed=ResidentFeed(images, make_mesh(1)),
        backbone=backbone,
        variables=variables,
        heads_only=FrozenLearner(
            stored_features=features,
            mean=mean,
            scale=scale,
            train_images=TRAIN,
            with_classifier=True,
            seed=0,
            num_steps=50,
            batch_size=8,
            oversample=True,
            settings=FitSettings(),
            heads_use=Use.HEADS,
        ),
        plan=PLAN,
    )


@pytest.fixture(scope="module")
def classes():
    return open_digits("", "refuse").labels[:NUM_IMAGES]


def replan(learner, **changes):
    return dataclasses.replace(learner, plan=learner.plan._replace(**changes))


def with_heads(learner, **changes):
    return dataclasses.replace(learner, heads_only=dataclasses.replace(learner.heads_only, **changes))


UNSCALED = {"mean": np.zeros(64, np.float32), "scale": np.ones(64, np.float32)}


def answered_pairs(classes, num_pairs, seed=0):
    rng = np.random.default_rng(seed)
    pairs = np.sort([rng.choice(TRAIN, 2, replace=False) for _ in range(num_pairs)], axis=1)
    labels = classes[pairs[:, 0]] == classes[pairs[:, 1]]
    return TrainingPairs(pairs.astype(np.int32), labels.astype(np.int8))


def embed(learner, params):
    return learner.embed(params, learner.features(params))


def are_equal(first, second):
    return jax.tree.all(jax.tree.map(np.array_equal, first, second))


@pytest.mark.slow
def test_three_rounds_of_growing_answers_compile_once(learner, classes):
    # With answers held out, which are more each round.
    learner = with_heads(replan(learner, holdout_fraction=0.2), settings=FitSettings(schedule="cosine"))
    params = None
    with count_compilations() as compiled:
        for round_index, num_pairs in enumerate([12, 20, 41]):
            params = learner.fit_pairs(answered_pairs(classes, num_pairs), round_index, params)
    assert compiled["_run_chunk"] == 2  # for the heads and for the network
    assert compiled["_loss_of"] == 1
    assert embed(learner, params).shape == (NUM_IMAGES, 256)


def test_a_round_goes_on_from_the_last_and_leaves_it_as_it_was(learner, classes):
    pairs = answered_pairs(classes, 12)
    first = learner.fit_pairs(pairs, 0, None)
    kept = jax.tree.map(np.array, first)
    second = learner.fit_pairs(pairs, 1, first)
    assert are_equal(first, kept)
    kernel, start = (p.backbone["params"]["conv1"]["kernel"] for p in (second, first))
    fresh = learner.template().backbone["params"]["conv1"]["kernel"]
    # A few steps of 1e-3 each from `first`; other weights would lie far away.
    assert 0 < np.abs(kernel - start).max() < 0.02
    assert not np.array_equal(start, fresh)
    assert are_equal(second, learner.fit_pairs(pairs, 1, kept))
    assert not are_equal(second, learner.fit_pairs(pairs, 1, None))


def test_embeddings_may_hold_the_features_learnt_which_no_later_round_trains(learner, classes, monkeypatch):
    monkeypatch.setattr(frozen, "MAX_DIRECTIONS", 3)  # so few that those of the first features differ
    pairs = answered_pairs(classes, 12)
    first = learner.fit_pairs(pairs, 0, None)
    both = learner.beside_features(first, 0.4)
    features, learnt = learner.features(first), embed(learner, first).astype(np.float64)
    kept = ((features - learner.mean) / learner.scale).astype(np.float64)
    _, _, directions = np.linalg.svd(kept[learner.heads_only.train_images], full_matrices=False)
    kept = kept @ directions[:3].T
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    found = embed(learner, both)
    np.testing.assert_allclose(found @ found.T, 0.6 * learnt @ learnt.T + 0.4 * kept @ kept.T, atol=1e-5)
    assert are_equal(learner.fit_pairs(pairs, 1, both), learner.fit_pairs(pairs, 1, first))


def test_a_fit_is_fixed_by_seed_and_round(learner, classes):
    pairs = answered_pairs(classes, 12)
    params = learner.fit_pairs(pairs, 0, None)
    assert are_equal(params, learner.fit_pairs(pairs, 0, None))
    others = [
        learner.fit_pairs(pairs, 3, None),
        with_heads(learner, seed=1).fit_pairs(pairs, 0, None),
    ]
    assert not any(are_equal(params, other) for other in others)


def test_augmentation_reaches_a_fit(learner, classes):
    batch = drawn_batch(classes)
    losses = [
        float(loss_and_gradient(replan(learner, augment=name), batch)[0]) for name in ("none", "turn")
    ]
    assert losses[0] != losses[1]


def test_heads_are_drawn_apart_from_the_backbone_of_the_same_seed(learner):
    def heads(use):
        return init_heads(device_key(0, 0, use), len(learner.mean), with_classifier=True)

    found = learner.template().heads
    assert are_equal(found, heads(Use.HEADS))
    assert not are_equal(found, heads(Use.WEIGHTS))  # by which a random backbone is drawn


@pytest.fixture(scope="module")
def normed(learner):
    """A learner whose backbone has batch norm, with statistics that leave no symmetry for an error."""
    backbone = dataclasses.replace(get_backbone("resnet18"), network=ResNet(BasicBlock, (1, 0, 0, 0)))
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        return leaf if path[-1].key == "kernel" else rng.uniform(0.3, 0.9, leaf.shape).astype(np.float32)

    variables = jax.tree_util.tree_map_with_path(draw, backbone.init(jax.random.key(0), 16))
    images = rng.integers(0, 256, (NUM_IMAGES, 16, 16, 3), dtype=np.uint8)
    return dataclasses.replace(
        learner,
        feed=ResidentFeed(images, make_mesh(1)),
        backbone=backbone,
        variables=variables,
        heads_only=dataclasses.replace(learner.heads_only, **UNSCALED),
    )


def loss_and_gradient(learner, batch):
    """Return those of a batch, as the learner's plan has it, and its tiles."""

    def loss(params, tiles, batch):
        return learner.loss()(params, (learner.mean, learner.scale), tiles, batch, KEY)[0]

    (tiles,) = learner.feed.blocks([batch.rows])
    return (*jax.jit(jax.value_and_grad(loss))(learner.template(), tiles, batch), tiles)


def two_towers(learner, batch, tiles):
    """Encode both images of each pair, however often a tile comes, and take the mean as it is written."""
    is_pair = batch.weights > 0
    towers, labels = tiles[batch.places[is_pair]], batch.targets[is_pair]

    def loss(params, towers):
        features = [learner.backbone.apply(params.backbone, towers[:, side]) for side in (0, 1)]
        standardised = (jnp.concatenate(features) - learner.mean[None]) / learner.scale[None]
        return pair_objective(params.heads, standardised, labels, learner.heads_only.settings)

    return jax.jit(jax.value_and_grad(loss))(learner.template(), towers)


def drawn_batch(classes):
    """The last batch of a draw, which has padding."""
    rng, shape = np.random.default_rng(0), BatchShape(12, 16)
    drawn = draw_pair_tiles(rng, answered_pairs(classes, 40), shape, epochs=4, oversample=True)
    batch = [timed.batch for timed in drawn][-1]
    assert not batch.is_tile.all() and not batch.weights.all()
    return batch


@pytest.mark.parametrize(
    ("name", "choice"), [("learner", "none"), pytest.param("normed", "full", marks=pytest.mark.soak)]
)
def test_loss_and_gradient_equal_those_of_two_towers(request, classes, name, choice):
    """Also with batch norm in inference mode, and with one augmentation of each tile."""
    learner = replan(request.getfixturevalue(name), augment=choice)
    batch = drawn_batch(classes)
    share = np.count_nonzero(batch.weights) / 16
    found, gradient, tiles = loss_and_gradient(learner, batch)
    pictures = np.asarray(augment(choice, KEY, tiles, is_rgb=True))
    assert np.array_equal(pictures, tiles) == (choice == "none")
    expected, twin = two_towers(learner, batch, pictures)
    assert float(found) == pytest.approx(share * float(expected), rel=1e-5)
    for one, other in zip(jax.tree.leaves(gradient), jax.tree.leaves(twin), strict=True):
        np.testing.assert_allclose(one, share * other, rtol=1e-5, atol=1e-5 * np.abs(other).max())
    padding = np.where(batch.is_tile, batch.rows, 31).astype(np.int32)
    assert are_equal((found, gradient), loss_and_gradient(learner, batch._replace(rows=padding))[:2])


@pytest.mark.slow
def test_class_labels_train_even_where_there_are_fewer_tiles_than_a_batch(learner, classes):
    few = replan(learner, batch_size=64)
    params = few.fit_classes(TRAIN, classes[TRAIN])
    before, after = (within_minus_between(embed(few, p), classes) for p in (few.template(), params))
    assert after > before + 0.02


def within_minus_between(embeddings, classes):
    cosines, same = embeddings @ embeddings.T, classes[:, None] == classes[None]
    return cosines[same].mean() - cosines[~same].mean()


def test_heads_learn_alone_before_the_first_fit(learner, classes):
    pairs, alone, one_step = answered_pairs(classes, 30), learner.heads_only, replan(learner, max_steps=1)
    trained, at_random = alone.fit_pairs(pairs, 0, None), alone.template()
    assert largest_change(trained, at_random) > 5e-3
    first = one_step.fit_pairs(pairs, 0, None)
    assert 0 < largest_change(first.heads, trained) < ONE_STEP
    unprepared = replan(one_step, heads_first=False).fit_pairs(pairs, 0, None)
    assert 0 < largest_change(unprepared.heads, at_random) < ONE_STEP
    # Later rounds have trained heads to go on from.
    later = one_step.fit_pairs(pairs, 1, first)
    assert 0 < largest_change(later.heads, first.heads) < ONE_STEP
    weights = np.linspace(1, 2, len(TRAIN))
    by_classes = replan(one_step, batch_size=64).fit_classes(TRAIN, classes[TRAIN], 2, weights=weights)
    expected = alone.fit_classes(TRAIN, classes[TRAIN], 2, weights=weights)
    assert 0 < largest_change(by_classes.heads, expected) < ONE_STEP


def test_prepared_heads_keep_up_with_the_features(learner, classes):
    """In a few steps of the whole network heads that begin at random learn too little."""

    def lead(heads_first):
        short = replan(learner, max_steps=5, heads_first=heads_first, backbone_rate=0.1)
        model = represent(short, short.fit_classes(TRAIN, classes[TRAIN]))
        own = precision(centred(model.features, TRAIN), classes)
        return precision(model.embeddings, classes) - own

    assert lead(heads_first=True) > max(-0.01, lead(heads_first=False) + 0.03)


def precision(vectors, classes, cut_off=3):
    """Share of tiles of the same class among the nearest, each tile a query among all others."""
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T - 2 * np.eye(len(vectors))
    nearest = np.argsort(-cosines, axis=1)[:, :cut_off]
    return np.mean(classes[nearest] == classes[:, None])


ONE_STEP = 1.01 * FitSettings().learning_rate
"""Adam's first step moves no number by more than its rate."""


def largest_change(tree, other):
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(np.abs(x - y).max()), tree, other)))


def test_the_backbone_takes_smaller_steps_than_the_heads(learner, classes):
    pairs, start = answered_pairs(classes, 30), learner.template()
    found = replan(learner, backbone_rate=0.01).fit_pairs(pairs, 0, None)
    moved = jax.tree.map(lambda x, y: float(np.abs(x - y).max()), start, found)
    backbone, heads = (
        moved.backbone["params"]["conv2"]["kernel"],
        moved.heads.similarity["params"]["dense_1"]["kernel"],
    )
    assert 0 < backbone < 0.03 * heads


def test_bfloat16_computes_and_float32_is_kept(learner, classes):
    half, full = (replan(learner, compute_dtype=dtype) for dtype in ("bfloat16", "float32"))
    batch = drawn_batch(classes)
    (loss, gradient, tiles), (loss_full, gradient_full, _) = (
        loss_and_gradient(each, batch) for each in (half, full)
    )
    assert float(loss) == pytest.approx(float(loss_full), rel=2e-2)
    features, features_full = (
        np.asarray(jax.jit(each.loss().backbone.apply)(learner.variables, tiles)) for each in (half, full)
    )
    # Eight bits of a number's fraction, rounded a few times over.
    assert 1e-4 < np.abs(features - features_full).max() / np.abs(features_full).max() < 1e-2
    # A gradient differs by more, where rounding switches a rectified unit on or off.
    assert relative_norm(gradient, gradient_full) < 0.4
    fitted = replan(half, max_steps=1).fit_pairs(answered_pairs(classes, 12), 0, None)
    assert {leaf.dtype for leaf in jax.tree.leaves((fitted, gradient))} == {np.dtype(np.float32)}
    assert features.dtype == learner.features(fitted).dtype == np.float32


def relative_norm(found, expected):
    """How far one tree lies from another, as a share of its length."""
    found, expected = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]) for tree in (found, expected)
    )
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.slow
def test_live_batch_norm_is_kept_with_the_parameters_and_never_sees_padding(learner, classes):
    stem = dataclasses.replace(get_backbone("resnet18"), network=ResNet(BasicBlock, (0, 0, 0, 0)))
    live = dataclasses.replace(
        replan(learner, epochs_first=1, batch_norm="live", heads_first=False),
        backbone=stem,
        variables=stem.init(jax.random.key(0), 8),
        heads_only=dataclasses.replace(learner.heads_only, with_classifier=False, **UNSCALED),
    )
    params, images = live.template(), open_digits("", "refuse").load(np.arange(NUM_IMAGES), 8)
    loss = NetworkLoss(live.heads_only.settings, stem, "none", "live")
    batch = TileBatch(
        rows=np.zeros(4, np.int32),
        is_tile=np.array([True, True, True, False]),
        places=np.array([[0, 1], [2, 1]], np.int32),
        targets=np.array([1.0, 0.0], np.float32),
        weights=np.ones(2, np.float32),
    )
    run = jax.jit(lambda tiles: loss(params, (live.mean, live.scale), tiles, batch, jax.random.key(0)))
    one, other = run(images[[3, 4, 5, 6]]), run(images[[3, 4, 5, 60]])
    assert are_equal(one, other)
    moved = one[1]["batch_stats"]["bn1"]
    kernel = np.asarray(params.backbone["params"]["conv1"]["kernel"])
    scaled = np.asarray(stem._scale(jnp.asarray(images[[3, 4, 5]])))
    maps = np.asarray(
        jax.lax.conv_general_dilated(
            scaled, kernel, (2, 2), [(3, 3), (3, 3)], dimension_numbers=("NHWC", "HWIO", "NHWC")
        ),
        np.float64,
    )
    np.testing.assert_allclose(moved["mean"], 0.1 * maps.mean(axis=(0, 1, 2)), atol=1e-5)
    np.testing.assert_allclose(moved["var"], 0.9 + 0.1 * maps.var(axis=(0, 1, 2)), rtol=1e-4)
    fitted = live.fit_pairs(answered_pairs(classes, 6), 0, None)
    before = params.backbone["batch_stats"]["bn1"]["mean"]
    assert np.abs(fitted.backbone["batch_stats"]["bn1"]["mean"] - before).min() > 0


def test_live_batch_norm_needs_a_network_that_has_it(learner):
    with pytest.raises(ConfigError, match=r"tiny_cnn has none.*Choose one of resnet18.*batch_norm=frozen"):
        learner.backbone.apply_live(learner.variables, np.zeros((1, 8, 8, 3), np.uint8), np.ones(1, bool))
