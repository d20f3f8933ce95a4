"""The background's work, done here: its questions are chosen as an experiment's are, by the settings."""

import dataclasses

import numpy as np
import pytest

from anneal_jax.acquisition.registry import ScanSettings, select_pairs
from anneal_jax.acquisition.threshold import estimate_threshold
from anneal_jax.annotation.learning import job
from anneal_jax.annotation.learning.trainer import TrainerProcess
from anneal_jax.answers.reading import Answered
from anneal_jax.config import CHOICES, ExperimentConfig
from anneal_jax.experiments import selection
from anneal_jax.experiments.selection import pair_similarities

CONFIG = ExperimentConfig(archive="folder:elsewhere", steps=20, batch_size=16, transitive="closure")


@pytest.fixture
def answered(classes):
    """One tile compared with 24 others; no similarity was noted when they were asked."""
    pairs = np.array([(0, other) for other in range(1, 25)], np.int32)
    answers = (classes[pairs[:, 0]] == classes[pairs[:, 1]]).astype(np.int8)
    alone = np.zeros(24, np.bool_), np.ones(24, np.bool_)
    return Answered(pairs, answers, np.full(24, np.nan, np.float32), np.zeros(24, np.int32), *alone)


@pytest.fixture
def train(directions, tmp_path, monkeypatch):
    """Do a job; return what the acquisition was given, and the result."""

    def done(config, answered):
        TrainerProcess(tmp_path, config, directions)
        numbers = {"set_id": 1, "answer_ids": np.arange(len(answered.answers))}
        reserved = np.empty((0, 2), np.int32)
        np.savez(tmp_path / "job.snapshot.npz", reserved=reserved, **numbers, **answered._asdict())
        given = []

        def noting(acquisition, view, num_pairs, **settings):
            given.append((view, settings))
            return select_pairs(acquisition, view, num_pairs, **settings)

        monkeypatch.setattr(selection, "select_pairs", noting)
        job.train(tmp_path, "job")
        with np.load(tmp_path / "job.result.npz", allow_pickle=False) as result:
            return *given[0], dict(result)

    return done


@pytest.mark.slow
def test_the_settings_of_the_scan_are_used(train, answered):
    config = dataclasses.replace(
        CONFIG, scan_share=0.5, scan_precision="bfloat16", scan_tile_size=16, candidate_factor=2
    )
    view, settings, result = train(config, answered)
    assert view.scan == ScanSettings("canonical", "bfloat16", 0.5, 16)
    assert settings["candidate_factor"] == 2
    assert len(result["chosen"]) == job.NUM_CHOSEN


@pytest.mark.parametrize("threshold", sorted(set(CHOICES["threshold"]) - {"prequential"}))
def test_the_threshold_is_estimated_as_configured(train, answered, threshold):
    view, _, result = train(dataclasses.replace(CONFIG, threshold=threshold), answered)
    similarities = pair_similarities(result["embeddings"], answered.pair_indices)
    estimate = estimate_threshold(threshold, similarities, answered.answers)
    assert estimate and view.threshold == estimate.threshold


@pytest.mark.parametrize(("num_scored", "estimator"), [(19, "midpoint"), (20, "balanced")])
def test_a_threshold_out_of_sample_wants_enough_answers_that_were_scored(
    train, answered, num_scored, estimator
):
    answered.similarities[:num_scored] = np.linspace(-0.5, 0.5, num_scored)
    view, _, result = train(CONFIG, answered)
    inside = pair_similarities(result["embeddings"], answered.pair_indices)
    similarities = inside if num_scored < 20 else answered.similarities
    estimate = estimate_threshold(estimator, similarities, answered.answers)
    assert estimate and view.threshold == estimate.threshold
