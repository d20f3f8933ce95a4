"""Learning beside the page: a process of its own that may die, and never keeps an answer waiting."""

import asyncio
import os
import signal
import time

import numpy as np
import pytest

from anneal_jax.annotation.learning.loop import LearningLoop
from anneal_jax.annotation.learning.trainer import AGAIN_AFTER, FIRST_AFTER, TrainerProcess
from anneal_jax.annotation.questions.plan import make_plan
from anneal_jax.annotation.sets import begin_set
from anneal_jax.config import ExperimentConfig
from anneal_jax.types import Answer
from tests.annotation.driving import TAB, answers_of, run

pytestmark = pytest.mark.slow  # each test trains in a process of its own

CONFIG = ExperimentConfig(archive="folder:elsewhere", steps=50, batch_size=16, transitive="closure")


@pytest.fixture
def learning(tmp_path, make_session, directions, monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.setenv("XLA_FLAGS", "")
    monkeypatch.setattr("anneal_jax.annotation.learning.loop.UNTRIED_FROM", 0)  # no evidence is waited for
    session = make_session()
    trainer = TrainerProcess(tmp_path / "annotation", CONFIG, directions)
    learning = LearningLoop(session, trainer, tmp_path / "annotation", seed=0)
    yield session, trainer, learning
    learning.close()


async def in_writer_thread(work, *args):
    return work(*args)


def advance(learning):
    asyncio.run(learning.advance(in_writer_thread))


def wait(trainer, learning, patience_s=240.0):
    deadline = time.monotonic() + patience_s
    while trainer.is_busy:
        assert time.monotonic() < deadline
        advance(learning)
        time.sleep(0.05)


def test_a_model_is_trained_beside_and_adopted_with_its_questions(learning, classes, tmp_path):
    session, trainer, learning = learning
    view = run(session, answers_of(classes), FIRST_AFTER - 1)
    advance(learning)
    assert not trainer.is_busy  # too few
    view = run(session, answers_of(classes), AGAIN_AFTER, view)
    advance(learning)
    assert trainer.is_busy
    num_trained = len(session.standing.trainable_ids())
    os.kill(trainer.process_id, signal.SIGSTOP)
    run(session, answers_of(classes), 5, view)  # nobody waits for the model, however long it takes
    assert trainer.fetch() is None and trainer.is_busy
    os.kill(trainer.process_id, signal.SIGCONT)
    wait(trainer, learning)
    assert trainer.failure == "" and session.plan.version == num_trained
    assert np.isfinite(session.plan.embeddings).all()
    assert session.plan.embeddings.shape[1] == 256 + session.plan.project.mean.size  # features beside
    (row,) = learning.curve
    assert row["model_answers"] == 0 and row["num_answers"] >= num_trained
    question = session.view(TAB)["questions"][1]  # the first one was chosen before there was a model
    session.answer(TAB, question["key"], Answer.SIMILAR, 1.0)
    similarities = session.trainable().similarities  # kept with the answer, to estimate the threshold by
    assert np.isfinite(similarities[-1]) and np.isnan(similarities[:-1]).all()
    assert not list((tmp_path / "annotation").glob("*.snapshot.npz"))
    assert LearningLoop(session, trainer, tmp_path / "annotation", seed=0).curve == learning.curve


def test_a_model_in_use_outlives_its_server_while_its_answers_stand(
    learning, classes, directions, make_session, tmp_path
):
    session, trainer, learning = learning
    run(session, answers_of(classes), FIRST_AFTER + 5)
    advance(learning)
    wait(trainer, learning)
    embeddings = session.plan.embeddings
    assert session.plan.version > 0

    def start_again(features=directions):
        session.adopt(make_plan(features, seed=0))
        again = TrainerProcess(tmp_path / "annotation", CONFIG, features)
        return again, LearningLoop(session, again, tmp_path / "annotation", seed=0)

    again, _ = start_again()
    np.testing.assert_array_equal(session.plan.embeddings, embeddings)
    answer_ids = session.standing.trainable_ids()
    assert not again.is_due(answer_ids, session.set_id)  # it knows what it was trained on
    start_again(directions[:, ::-1].copy())
    assert session.plan.version == 0  # other features
    session.retract(TAB, min(answer_ids), "retract-it-1")
    again, _ = start_again()
    assert session.plan.version == 0
    assert again.is_due(session.standing.trainable_ids(), session.set_id)
    model = tmp_path / "annotation" / "model.npz"
    model.write_bytes(model.read_bytes()[:-200])
    assert start_again()[0].kept() is None


def test_a_killed_job_is_reported_and_the_next_one_comes(learning, classes):
    session, trainer, learning = learning
    view = run(session, answers_of(classes), FIRST_AFTER + 5)
    advance(learning)
    os.kill(trainer.process_id, signal.SIGKILL)
    wait(trainer, learning)
    assert "ended with code -9" in trainer.failure and session.plan.version == 0
    advance(learning)
    assert not trainer.is_busy  # not again on the same answers
    run(session, answers_of(classes), AGAIN_AFTER + 5, view)
    wait_started(trainer, learning)
    wait(trainer, learning)
    assert trainer.failure == "" and session.plan.version > 0


def wait_started(trainer, learning):
    advance(learning)
    assert trainer.is_busy


def test_what_was_learnt_for_another_sentence_is_dropped(learning, classes):
    session, trainer, learning = learning
    run(session, answers_of(classes), FIRST_AFTER + 5)
    advance(learning)
    begin_set(session, TAB, "Something else", "begin-a-set")
    wait(trainer, learning)
    assert session.plan.version == 0 and learning.curve == []


def test_a_job_is_of_low_priority_and_ends_with_its_server(learning, classes, processes):
    session, trainer, learning = learning
    run(session, answers_of(classes), FIRST_AFTER + 5)
    advance(learning)
    deadline = time.monotonic() + 60
    process_id = trainer.process_id
    while os.getpriority(os.PRIO_PROCESS, process_id) < 15:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    while len(os.sched_getaffinity(process_id)) > 1:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    (process,) = processes
    process.stdin.close()  # as when the server is killed
    assert process.wait(60) == 1
