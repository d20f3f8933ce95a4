"""The baselines of active learning on pairs, on a small archive of vectors."""

import dataclasses
import itertools
import math
import pathlib

import numpy as np
import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError
from anneal_jax.experiments import label_baselines
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.experiments.label_baselines import bit_grid, bits_per_label
from anneal_jax.experiments.registry import METHODS
from anneal_jax.experiments.run import run_experiment

NUM_IMAGES, NUM_CLASSES, DIM = 80, 4, 6


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Four clouds in a few directions, and louder noise in the others."""
    rng = np.random.default_rng(7)
    labels = np.arange(NUM_IMAGES) % NUM_CLASSES
    signal = 2.0 * rng.normal(size=(NUM_CLASSES, DIM))[labels] + rng.normal(size=(NUM_IMAGES, DIM))
    noise = 3.0 * rng.normal(size=(NUM_IMAGES, 2 * DIM))
    path = tmp_path_factory.mktemp("archive") / "vectors.npz"
    np.savez(path, embeddings=np.concatenate([signal, noise], axis=1).astype(np.float32), labels=labels)
    return path


def small(vectors: pathlib.Path, **changes: object) -> ExperimentConfig:
    settings = {
        "rounds": 2,
        "steps": 10,
        "batch_size": 16,
        "pairs_per_round": 12,
        "initial_fraction": 0.1,
        "tcal_bits": 60,
        "all_pairs_steps": 10,
    }
    return ExperimentConfig(archive=f"embeddings:{vectors}", **{**settings, **changes})


@pytest.mark.slow
def test_labels_on_the_grid_cost_what_pairs_cost_or_just_less(vectors, tmp_path):
    config = small(vectors)
    grid = bit_grid(config, load_dataset(config))
    pairs = run_experiment(config, tmp_path / "pairs")
    assert grid.tolist() == [row["bits_spent"] for row in pairs.rows]
    labels = run_experiment(small(vectors, supervision="random_labels"), tmp_path / "labels")
    assert [row["num_labelled_images"] for row in labels.rows] == (grid // 2).tolist()
    groups = run_experiment(small(vectors, supervision="group_ask"), tmp_path / "groups")
    spent = np.array([row["bits_spent"] for row in groups.rows])
    assert (spent <= grid[: len(spent)]).all()
    assert (spent[:-1] > grid[: len(spent) - 1] - NUM_CLASSES).all()


def test_tcal_starts_where_the_first_pairs_were_drawn_and_spends_as_much_a_round(
    vectors, tmp_path, monkeypatch
):
    fitted = []
    fit = label_baselines.ClassLearner.fit
    monkeypatch.setattr(
        label_baselines.ClassLearner,
        "fit",
        lambda self, images, *rest: fitted.append(set(images.tolist())) or fit(self, images, *rest),
    )
    rows = run_experiment(small(vectors, supervision="tcal_igarss"), tmp_path / "tcal").rows
    # The first questions go around 6 of 64 training images; each round labels 12 bits' worth of images.
    assert [row["num_labelled_images"] for row in rows] == [6, 12, 18, 24, 30]
    assert [row["bits_spent"] for row in rows] == [12, 24, 36, 48, 60]
    assert all(before < after for before, after in itertools.pairwise(fitted))

    config = small(vectors, initial_partners=9)
    dataset = load_dataset(config)
    pairs = label_baselines.draw_first_pairs(config, dataset)
    assert all(fitted[0] & set(pair) for pair in pairs.tolist())
    assert fitted[0] <= set(dataset.split.train.tolist())


def test_labels_and_all_pairs_cost_what_they_say(vectors, tmp_path):
    num_train = 64
    labels = run_experiment(small(vectors, supervision="class_labels"), tmp_path / "labels").rows
    assert [row["bits_spent"] for row in labels] == [2 * num_train]
    pairs = run_experiment(small(vectors, supervision="all_pairs"), tmp_path / "pairs").rows
    assert [row["bits_spent"] for row in pairs] == [math.comb(num_train, 2)]
    assert pairs[0]["num_labelled_pairs"] == math.comb(num_train, 2)


def test_a_label_costs_log2_of_the_classes_that_training_images_have(vectors):
    dataset = load_dataset(small(vectors))
    assert bits_per_label(dataset) == 2.0
    train = dataset.split.train
    labels = dataset.labels.copy()
    labels[train] = labels[train] % 3
    assert bits_per_label(dataset._replace(labels=labels)) == math.log2(3)
    assert bits_per_label(dataset._replace(labels=np.zeros_like(labels))) == 1.0


@pytest.mark.parametrize("supervision", ["tcal", "all_pairs"])
def test_the_other_regime_is_refused_in_words(tmp_path, supervision):
    config = ExperimentConfig(supervision=supervision, regime="finetune")
    with pytest.raises(ConfigError, match=rf"supervision='{supervision}' only exists in the frozen regime"):
        run_experiment(config, tmp_path)


def test_a_person_who_errs_groups_worse(vectors, tmp_path):
    """Each slip founds one group too many, or spoils one: more questions until all tiles are grouped."""
    plain = small(vectors, supervision="group_ask", rounds=40, steps=1)
    truthful = run_experiment(plain, tmp_path / "truthful").rows[-1]
    errs = run_experiment(dataclasses.replace(plain, oracle_wrong=0.2), tmp_path / "errs").rows[-1]
    assert errs["num_labelled_images"] == truthful["num_labelled_images"]
    assert errs["bits_spent"] > truthful["bits_spent"]


@pytest.mark.parametrize("supervision", [name for name, method in METHODS.items() if not method.can_err])
def test_errors_are_refused_where_nobody_is_asked(tmp_path, supervision):
    config = ExperimentConfig(supervision=supervision, oracle_unsure=0.1)
    with pytest.raises(ConfigError, match=rf"supervision='{supervision}' uses the true labels"):
        run_experiment(config, tmp_path)


@pytest.mark.parametrize("group_loss", ["contrastive", "n_pairs", "srl"])
def test_the_group_loss_is_the_one_named(vectors, tmp_path, group_loss):
    config = small(vectors, supervision="class_labels", group_loss=group_loss, steps=100)
    row = run_experiment(config, tmp_path).rows[0]
    assert row["mean_average_precision_at_5"] > row["mean_average_precision_at_5_features"]
