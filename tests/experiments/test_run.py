"""The whole loop on a small archive of vectors: what it leaves, and that a kill loses nothing."""

import dataclasses
import pathlib

import numpy as np
import pytest

from anneal_jax.answers.store import AnswerStore
from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ArchiveError, ConfigError, WeightsError, WorkdirError
from anneal_jax.experiments.round_log import read_rounds, without_times
from anneal_jax.experiments.run import run_experiment
from anneal_jax.pairs.canonical import count_pairs, pair_keys
from anneal_jax.pairs.transitive import expand_one_step
from anneal_jax.reporting.run_report import summarise
from anneal_jax.retrieval.embedder import load_embedder
from anneal_jax.types import Answer
from tests.compilations import count_compilations
from tests.experiments.breaking import run_in_process
from tests.small_tiles import write_digits

NUM_IMAGES, NUM_CLASSES, DIM = 80, 4, 6


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Four clouds in a few directions, and louder noise in the others."""
    rng = np.random.default_rng(7)
    labels = np.arange(NUM_IMAGES) % NUM_CLASSES
    centres = 2.0 * rng.normal(size=(NUM_CLASSES, DIM))
    signal = centres[labels] + rng.normal(size=(NUM_IMAGES, DIM))
    noise = 3.0 * rng.normal(size=(NUM_IMAGES, 2 * DIM))
    embeddings = np.concatenate([signal, noise], axis=1).astype(np.float32)
    path = tmp_path_factory.mktemp("archive") / "vectors.npz"
    np.savez(path, embeddings=embeddings, labels=labels)
    return path


def small(vectors: pathlib.Path, **changes: object) -> ExperimentConfig:
    settings = {"rounds": 2, "steps": 10, "batch_size": 16, "pairs_per_round": 12, "initial_fraction": 0.1}
    return ExperimentConfig(archive=f"embeddings:{vectors}", **{**settings, **changes})


@pytest.mark.parametrize("diversity", [True, False])
@pytest.mark.parametrize("acquisition", ["random", "bcgue", "mgue"])
def test_every_round_asks_k_new_pairs_and_logs_them(vectors, tmp_path, acquisition, diversity):
    config = small(vectors, acquisition=acquisition, diversity=diversity)
    outcome = run_experiment(config, tmp_path)

    rows = read_rounds(tmp_path / "rounds.jsonl")
    assert rows == outcome.rows
    assert [row["round_index"] for row in rows] == [0, 1, 2]
    assert np.diff([row["bits_spent"] for row in rows]).tolist() == [12, 12]
    assert all(0.0 <= row["mean_average_precision_at_5"] <= 1.0 for row in rows)
    assert (rows[1]["threshold"] is not None) == (acquisition == "mgue")

    store = AnswerStore(tmp_path / "answers.sqlite", outcome.dataset.archive.ids)
    answered = store.answered(2)
    keys = pair_keys(answered.pair_indices, NUM_IMAGES)
    assert np.unique(keys).size == keys.size == rows[-1]["bits_spent"]
    assert np.isin(answered.pair_indices, outcome.dataset.split.train).all()
    labels = outcome.dataset.labels[answered.pair_indices]
    np.testing.assert_array_equal(answered.answers, labels[:, 0] == labels[:, 1])
    assert (tmp_path / "checkpoints" / "2").is_dir()


def test_a_derived_pair_is_never_asked(vectors, tmp_path):
    outcome = run_experiment(small(vectors, acquisition="random", rounds=3), tmp_path)
    store = AnswerStore(tmp_path / "answers.sqlite", outcome.dataset.archive.ids)
    for last in range(3):
        before = store.answered(last)
        derived = expand_one_step(before.pair_indices, before.answers, NUM_IMAGES)
        asked = store.answered(last + 1)
        asked = asked.pair_indices[asked.round_indices == last + 1]
        common = np.intersect1d(pair_keys(derived.pair_indices, NUM_IMAGES), pair_keys(asked, NUM_IMAGES))
        assert derived.pair_labels.size > 0
        assert common.size == 0


def test_systems_that_share_a_seed_share_split_and_first_round(vectors, tmp_path):
    shared = ("bits_spent", "mean_average_precision_at_5", "yes_share")
    first_rows = []
    for name in ("random", "mgue"):
        outcome = run_experiment(small(vectors, acquisition=name, rounds=0), tmp_path / name)
        first_rows.append([outcome.rows[0][field] for field in shared])
    assert first_rows[0] == first_rows[1]


def test_an_emptied_store_beside_a_log_is_refused(vectors, tmp_path):
    run_experiment(small(vectors, rounds=0), tmp_path)
    (tmp_path / "answers.sqlite").unlink()
    (tmp_path / "answers.sqlite.seal").unlink()
    with pytest.raises(WorkdirError, match="answer store next to it does not"):
        run_experiment(small(vectors, rounds=1), tmp_path)


def test_a_changed_setting_is_refused_by_name(vectors, tmp_path):
    run_experiment(small(vectors, rounds=0), tmp_path)
    with pytest.raises(WorkdirError, match=r"margin was 0\.1 and is now 0\.2"):
        run_experiment(small(vectors, rounds=0, margin=0.2), tmp_path)


MOMENTS = [
    ("add_round", 1),
    ("record_all", 1),
    ("record_all", 20),
    ("save", 1),
    ("measure", 1),
    ("append_round", 1),
    ("record_all", 5),
    ("record_all", 6),
    ("save", 1),
    ("add_round", 1),
]


@pytest.mark.slow
def test_kill_9_at_ten_moments_changes_nothing(vectors, tmp_path):
    config = small(vectors)
    for moment in [*MOMENTS, None]:
        run_in_process(config, tmp_path / "killed", killed_at=moment)
    run_in_process(config, tmp_path / "unbroken")
    killed, unbroken = (
        without_times(read_rounds(tmp_path / name / "rounds.jsonl")) for name in ("killed", "unbroken")
    )
    assert killed == unbroken


def test_an_empty_pool_ends_the_run_with_a_message(vectors, tmp_path):
    config = small(vectors, pairs_per_round=2000, rounds=5, acquisition="mgue")
    outcome = run_experiment(config, tmp_path)
    assert len(outcome.rows) < 6
    assert "pool was empty" in outcome.notes[-1]
    assert "questions, because no more were left" in outcome.notes[-2]
    num_train = len(outcome.dataset.split.train)
    last = outcome.rows[-1]
    assert last["num_labelled_pairs"] + last["num_derived_pairs"] == count_pairs(num_train)


@pytest.mark.parametrize("answer", [Answer.SIMILAR, Answer.DISSIMILAR])
@pytest.mark.parametrize("acquisition", ["bcgue", "mgue"])
def test_a_run_with_only_one_kind_of_answer_still_works(vectors, tmp_path, acquisition, answer):
    config = small(vectors, acquisition=acquisition, rounds=2)
    outcome = run_experiment(config, tmp_path, annotator=lambda first, second: answer)
    assert [row["yes_share"] for row in outcome.rows] == [float(answer)] * 3
    if acquisition == "mgue":
        assert [row["threshold"] for row in outcome.rows[1:]] == [0.55, 0.55]


def test_unsure_answers_cost_a_bit_and_teach_nothing(vectors, tmp_path):
    def half_sure(first: int, second: int) -> Answer:
        return Answer.UNSURE if second % 2 else Answer(first % NUM_CLASSES == second % NUM_CLASSES)

    outcome = run_experiment(small(vectors, transitive="none"), tmp_path, annotator=half_sure)
    answered = AnswerStore(tmp_path / "answers.sqlite", outcome.dataset.archive.ids).answered(2)
    num_unsure = int(np.sum(answered.answers == Answer.UNSURE))
    last = outcome.rows[-1]
    assert num_unsure > 0
    assert last["bits_spent"] == len(answered.answers)
    assert last["num_labelled_pairs"] == last["bits_spent"] - num_unsure
    keys = pair_keys(answered.pair_indices, NUM_IMAGES)
    assert np.unique(keys).size == keys.size


def test_learning_beats_the_features(vectors, tmp_path):
    outcome = run_experiment(small(vectors, rounds=3, pairs_per_round=60, steps=150), tmp_path)
    last = outcome.rows[-1]
    assert last["mean_average_precision_at_5"] > last["mean_average_precision_at_5_features"]


@pytest.mark.slow
def test_finetune_runs_on_tiles_goes_on_from_the_round_before_and_compiles_once(tmp_path):
    config = ExperimentConfig(
        archive=write_digits(tmp_path / "tiles", 80),
        cache_dir=str(tmp_path / "cache"),
        backbone="tiny_cnn",
        pretrained="none",
        image_size=8,
        regime="finetune",
        augment="none",
        rounds=2,
        steps=5,
        pairs_per_round=20,
        initial_fraction=0.1,
        epochs_first=1,
        epochs=1,
        batch_size=32,
        feature_share=0.2,
    )
    num_compiled = []
    with count_compilations() as compiled:
        outcome = run_experiment(
            config, tmp_path / "run", on_round=lambda row: num_compiled.append(compiled["_run_chunk"])
        )
    assert num_compiled == [2, 2, 2]  # for the heads and for the network
    num_known = [row["num_labelled_pairs"] for row in outcome.rows]
    assert num_known == sorted(set(num_known))
    broken = dataclasses.replace(config, rounds=0)
    run_experiment(broken, tmp_path / "resumed")
    resumed = run_experiment(config, tmp_path / "resumed")
    assert len(outcome.rows) == 3
    assert without_times(resumed.rows) == without_times(outcome.rows)


def test_vectors_cannot_be_finetuned(vectors, tmp_path):
    with pytest.raises(ConfigError, match="needs tiles"):
        run_experiment(small(vectors, regime="finetune"), tmp_path)


def test_an_archive_without_labels_is_refused_in_words(tmp_path):
    np.savez(tmp_path / "bare.npz", embeddings=np.random.default_rng(0).normal(size=(20, 3)))
    config = ExperimentConfig(archive=f"embeddings:{tmp_path / 'bare.npz'}")
    with pytest.raises(ArchiveError, match="label"):
        run_experiment(config, tmp_path / "run")


def test_a_person_loses_no_answer_when_they_stop(vectors, tmp_path):
    given = []

    def interrupted(first: int, second: int) -> Answer:
        if len(given) == 3:
            raise KeyboardInterrupt
        given.append((first, second))
        return Answer.SIMILAR

    with pytest.raises(KeyboardInterrupt):
        run_experiment(small(vectors, acquisition="random"), tmp_path, annotator=interrupted)
    ids = run_experiment(small(vectors, acquisition="random"), tmp_path).dataset.archive.ids
    stored = AnswerStore(tmp_path / "answers.sqlite", ids).answered(0)
    assert stored.pair_indices[:3].tolist() == [list(pair) for pair in given]
    assert (stored.answers[:3] == Answer.SIMILAR).all()


def test_other_vectors_under_the_same_path_are_refused(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(2):
        labels = np.arange(NUM_IMAGES) % NUM_CLASSES
        np.savez(tmp_path / "v.npz", embeddings=rng.normal(size=(NUM_IMAGES, 3 * DIM)), labels=labels)
        if not (tmp_path / "run").exists():
            run_experiment(small(tmp_path / "v.npz", rounds=0), tmp_path / "run")
    with pytest.raises(WorkdirError, match="the tiles changed after"):
        run_experiment(small(tmp_path / "v.npz", rounds=1), tmp_path / "run")


def test_too_few_tiles_to_ask_about_are_refused_with_their_number(tmp_path):
    np.savez(
        tmp_path / "v.npz",
        embeddings=np.random.default_rng(0).normal(size=(12, 5)),
        labels=np.arange(12) % 2,
    )
    config = small(tmp_path / "v.npz", train_fraction=0.1, query_fraction=0.4)
    with pytest.raises(ConfigError, match="1 training tiles contain no pair"):
        run_experiment(config, tmp_path / "run")


def test_a_wrong_weights_file_does_not_bind_the_workdir(tmp_path):
    config = ExperimentConfig(
        archive="digits", backbone="mobilenet_v2", pretrained=str(tmp_path / "no.npz")
    )
    with pytest.raises(WeightsError):
        run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


def test_queries_with_nothing_to_find_are_counted_and_not_shown(tmp_path):
    rng = np.random.default_rng(5)
    labels = np.append(np.arange(60) % 3, [3, 4, 5, 6])  # four classes of one vector each
    np.savez(tmp_path / "v.npz", embeddings=rng.normal(size=(64, 5)), labels=labels)
    config = small(tmp_path / "v.npz", rounds=0, query_fraction=0.4, train_fraction=0.4)
    outcome = run_experiment(config, tmp_path / "run")
    num_queries = len(outcome.dataset.split.query)
    num_measured = int(np.sum(outcome.retrieval.num_relevant > 0))
    assert 0 < num_measured < num_queries
    sentence = summarise(config, outcome)
    assert f"{num_measured} of {num_queries} queries, because the others have nothing to find" in sentence


def test_a_refused_archive_leaves_no_config_behind(tmp_path):
    config = ExperimentConfig(archive=f"folder:{tmp_path / 'absent'}")
    with pytest.raises(ArchiveError):
        run_experiment(config, tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.slow
def test_a_classifier_that_nobody_scores_by_matters_where_the_backbone_learns(tmp_path):
    def run(train_classifier):
        config = ExperimentConfig(
            archive="digits",
            image_size=8,
            backbone="tiny_cnn",
            regime="finetune",
            augment="none",
            acquisition="random",
            train_classifier=train_classifier,
            rounds=0,
            steps=3,
            epochs_first=1,
            initial_fraction=0.01,
            batch_size=32,
        )
        workdir = tmp_path / train_classifier
        run_experiment(config, workdir)
        tiles = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
        return load_embedder(workdir).embed(tiles)

    without, beside = run("where_scored"), run("always")
    assert np.abs(without - beside).max() > 1e-3
