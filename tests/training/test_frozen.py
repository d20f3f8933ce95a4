import jax
import numpy as np
import pytest

from anneal_jax.errors import ConfigError
from anneal_jax.evaluation.ranking import rank_archive, relevance
from anneal_jax.training import blocks, frozen
from anneal_jax.training.features import standardisation
from anneal_jax.training.frozen import FrozenLearner
from anneal_jax.training.head_steps import FitSettings
from anneal_jax.training.learner import TrainingPairs
from tests.compilations import count_compilations

NUM_IMAGES, FEATURE_DIM = 60, 10
CLASSES = (np.arange(NUM_IMAGES) % 3).astype(np.int32)
TRAIN = np.arange(0, NUM_IMAGES, 2, dtype=np.int32)


def make_features():
    """Features that tell three classes apart, away from the origin and unevenly scaled."""
    rng = np.random.default_rng(0)
    centres = 2.0 * rng.normal(size=(3, FEATURE_DIM))
    features = centres[CLASSES] + rng.normal(size=(NUM_IMAGES, FEATURE_DIM))
    return (5.0 + features * np.linspace(0.1, 3.0, FEATURE_DIM)).astype(np.float32)


def make_learner(**changes):
    features = make_features()
    mean, scale = standardisation(features, TRAIN)
    arguments = {
        "stored_features": features,
        "mean": mean,
        "scale": scale,
        "train_images": TRAIN,
        "with_classifier": False,
        "seed": 0,
        "num_steps": 10,
        "batch_size": 16,
        "oversample": True,
        "settings": FitSettings(),
    }
    return FrozenLearner(**{**arguments, **changes})


def answered_pairs(num_pairs, seed=0):
    rng = np.random.default_rng(seed)
    pairs = np.sort([rng.choice(TRAIN, 2, replace=False) for _ in range(num_pairs)], axis=1)
    labels = CLASSES[pairs[:, 0]] == CLASSES[pairs[:, 1]]
    return TrainingPairs(pairs.astype(np.int32), labels.astype(np.int8))


def leaves(params):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params)]


def are_equal(first, second):
    return all(np.array_equal(x, y) for x, y in zip(leaves(first), leaves(second), strict=True))


def embed(learner, params):
    return learner.embed(params, learner.features(params))


def separation(embeddings):
    """Mean cosine within a class minus mean cosine between classes."""
    cosines = embeddings @ embeddings.T
    same = CLASSES[:, None] == CLASSES[None]
    return cosines[same].mean() - cosines[~same].mean()


def test_constants_standardise_the_training_images():
    learner = make_learner()
    np.testing.assert_allclose(learner.standardised[TRAIN].mean(axis=0), 0.0, atol=1e-5)
    np.testing.assert_allclose(learner.standardised[TRAIN].std(axis=0), 1.0, atol=1e-5)
    np.testing.assert_array_equal(learner.features(None), make_features())


def test_features_reach_the_device_once_for_all_fits():
    learner = make_learner()
    first = learner.standardised
    learner.fit_pairs(answered_pairs(20), 0, None)
    assert isinstance(first, jax.Array)
    assert learner.standardised is first


def test_many_tiles_are_embedded_and_tabulated_in_blocks(monkeypatch):
    learner = make_learner(with_classifier=True)
    params = learner.template()
    whole, tables = embed(learner, params), learner.classifier_tables(params, make_features())
    monkeypatch.setattr(blocks, "BLOCK_ROWS", 16)
    np.testing.assert_allclose(embed(learner, params), whole, atol=1e-5)
    again = learner.classifier_tables(params, make_features())
    np.testing.assert_allclose(again.as_first, tables.as_first, atol=1e-4)
    np.testing.assert_allclose(again.as_second, tables.as_second, atol=1e-4)


@pytest.mark.parametrize("by_classes", [False, True])
def test_a_fit_that_diverges_is_refused_with_its_rate_and_use(by_classes):
    learner = make_learner(settings=FitSettings(learning_rate=1e30))
    with pytest.raises(
        ConfigError, match=r"'round 3: train' diverged.* learning rate 1e\+30; set a smaller"
    ):
        if by_classes:
            learner.fit_classes(TRAIN, CLASSES[TRAIN], 3, use="round 3: train")
        else:
            learner.fit_pairs(answered_pairs(20), 3, None, use="round 3: train")


@pytest.mark.parametrize("with_classifier", [False, True])
def test_three_rounds_of_growing_answers_compile_once(with_classifier):
    learner = make_learner(with_classifier=with_classifier)
    with count_compilations() as compiled:
        for round_index, num_pairs in enumerate([20, 33, 70]):
            learner.fit_pairs(answered_pairs(num_pairs), round_index, None)
    assert compiled["_run_chunk"] == 1


def test_a_fit_is_fixed_by_seed_and_round_and_by_nothing_before():
    learner, pairs = make_learner(), answered_pairs(30)
    params = learner.fit_pairs(pairs, 1, None)
    assert are_equal(params, learner.fit_pairs(pairs, 1, params, use="again"))
    assert not are_equal(params, learner.fit_pairs(pairs, 2, None))
    assert not are_equal(params, make_learner(seed=1).fit_pairs(pairs, 1, None))


@pytest.mark.parametrize("label", [0, 1])
def test_answers_of_one_class_train(label):
    pairs = answered_pairs(30)
    rows = pairs.labels == label
    learner = make_learner(with_classifier=True)
    params = learner.fit_pairs(TrainingPairs(pairs.pair_indices[rows], pairs.labels[rows]), 0, None)
    assert all(np.isfinite(leaf).all() for leaf in leaves(params))


def test_embeddings_learn_the_classes_from_pairs_and_from_labels():
    learner = make_learner(num_steps=100)
    untrained = separation(embed(learner, learner.template()))
    by_pairs = embed(learner, learner.fit_pairs(answered_pairs(200), 0, None))
    by_labels = embed(learner, learner.fit_classes(TRAIN, CLASSES[TRAIN]))
    assert by_pairs.shape == (NUM_IMAGES, 256)
    np.testing.assert_allclose(np.linalg.norm(by_pairs, axis=1), 1.0, atol=1e-5)
    assert separation(by_pairs) > untrained + 0.2
    assert separation(by_labels) > untrained + 0.2


def test_heads_that_know_few_tiles_fall_behind_the_features_of_the_others():
    """So more steps do not close the gap; more tiles do, or the features next to what was learnt."""
    rng = np.random.default_rng(2)
    classes = (np.arange(720) % 8).astype(np.int32)
    features = (rng.normal(size=(8, 48))[classes] + 2 * rng.normal(size=(720, 48))).astype(np.float32)
    train = np.arange(240, dtype=np.int32)
    mean, scale = standardisation(features, train)
    learner = make_learner(
        stored_features=features, mean=mean, scale=scale, train_images=train, num_steps=100, batch_size=64
    )

    def precision(vectors):
        ids = range(240, 720)
        ranking = rank_archive(vectors[240:], vectors[240:], 3, query_ids=ids, archive_ids=ids)
        return np.mean(relevance(classes[240:], classes[240:], ranking))

    def fit(num_known):
        pairs = np.sort([rng.choice(num_known, 2, replace=False) for _ in range(400)], axis=1)
        labels = classes[pairs[:, 0]] == classes[pairs[:, 1]]
        return learner.fit_pairs(TrainingPairs(pairs.astype(np.int32), labels.astype(np.int8)), 0, None)

    of_few = fit(num_known=16)
    few, many = (precision(embed(learner, params)) for params in (of_few, fit(num_known=240)))
    alone, beside = precision(learner.standardised), learner.beside_features(of_few, 0.5)
    assert few < alone - 0.05
    assert precision(embed(learner, beside)) > few + 0.05
    assert many > alone + 0.05


@pytest.mark.parametrize("most", [256, 2])
def test_main_directions_are_those_of_the_training_images(monkeypatch, most):
    monkeypatch.setattr(frozen, "MAX_DIRECTIONS", most)
    learner = make_learner()
    standard = np.asarray(learner.standardised, np.float64)
    _, _, directions = np.linalg.svd(standard[TRAIN], full_matrices=False)
    expected = standard @ directions[:most].T
    found = standard @ learner.main_directions
    assert found.shape[1] == min(most, FEATURE_DIM)
    np.testing.assert_allclose(np.abs(found), np.abs(expected), atol=1e-3)  # a direction has no sign


def test_main_directions_are_those_of_a_bounded_number_of_images(monkeypatch):
    monkeypatch.setattr(frozen, "MAX_SPANNED", 7)
    spanned = make_learner().spanned
    assert len(TRAIN) / 2 > 7 >= len(spanned) > 3
    assert np.isin(spanned, TRAIN).all()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_embeddings_hold_the_features_beside_what_was_learnt(share):
    learner = make_learner()
    params = learner.template()
    both = embed(learner, learner.beside_features(params, share)).astype(np.float64)
    learnt = embed(learner, params).astype(np.float64)
    kept = np.asarray(learner.standardised, np.float64)
    kept /= np.linalg.norm(kept, axis=1, keepdims=True)
    assert both.shape[1] == learnt.shape[1] + FEATURE_DIM
    np.testing.assert_allclose(
        both @ both.T, (1 - share) * learnt @ learnt.T + share * kept @ kept.T, atol=1e-5
    )
    again = learner.beside_features(learner.beside_features(params, 0.9), share)
    np.testing.assert_array_equal(embed(learner, again), both.astype(np.float32))


def test_template_has_the_shapes_of_a_fit():
    learner = make_learner(with_classifier=True)
    template, params = learner.template(), learner.fit_pairs(answered_pairs(20), 0, None)
    assert jax.tree.structure(template) == jax.tree.structure(params)
    assert [leaf.shape for leaf in leaves(template)] == [leaf.shape for leaf in leaves(params)]
