"""Power cuts under a scripted person: nothing acknowledged is lost, nothing is doubled."""

import os
import random
import signal
import threading
import time
import urllib.error

import numpy as np
import pytest

from anneal_jax.annotated import train_on_answers
from anneal_jax.data.archives import open_archive
from anneal_jax.embedder import load_embedder
from anneal_jax.errors import WorkdirError
from anneal_jax.experiment import run_experiment
from anneal_jax.workdir import read_config
from tests.annotation.scripted import Person, Server

LATEST_S = 3.0


def answer_until_killed(workdir, flags, person, moment_s):
    """Serve, answer, and kill the server at a moment of its life; return whether it was under way."""
    with Server(workdir, *flags) as server:
        timer = threading.Timer(moment_s, server.process.kill)
        timer.start()
        try:
            view = person.sit_down(server)
            while view["questions"]:
                view = person.answer(server, view)
        except (urllib.error.URLError, ConnectionError, OSError, ValueError):
            return
        finally:
            timer.cancel()
            timer.join()


def kill_often(folder, workdir, num_kills):
    classes = np.arange(60) % 5
    person = Person(classes, mistakes=0.1, unsure=0.2)
    flags = (f"--archive=folder:{folder}", "--sentence=Same land use")
    rng = random.Random(0)
    for _ in range(num_kills):
        answer_until_killed(workdir, flags, person, rng.uniform(0.0, LATEST_S))
    with Server(workdir, *flags) as server:
        rows = all_rows(server)
        num_answers = server.get("state")["num_answers"]
    return person, rows, num_answers


def check(person, workdir, folder, num_kills, rows, num_answers):
    from anneal_jax.pairs.store import AnswerStore

    store = AnswerStore(workdir / "answers.sqlite", open_archive(f"folder:{folder}").ids)
    by_key = {record.key: record.answer.name.lower() for record in store.records()}
    assert len(by_key) == len(store.records()) == num_answers == len(rows)
    lost = {key for key, word in person.acknowledged.items() if by_key.get(key) != word}
    assert lost == set()
    # At most the one answer of each kill may be stored without its reply.
    assert len(by_key) - len(person.acknowledged) <= num_kills
    print(f"{num_kills} kills, {len(person.acknowledged)} acknowledged, {len(by_key)} stored")


@pytest.mark.slow
def test_five_kills_lose_and_double_nothing(tiles_folder, tmp_path):
    found = kill_often(tiles_folder, tmp_path / "work", 5)
    check(found[0], tmp_path / "work", tiles_folder, 5, *found[1:])
    assert found[0].acknowledged  # how many, the machine decides


@pytest.mark.soak
def test_fifty_kills_lose_and_double_nothing(tiles_folder, tmp_path):
    found = kill_often(tiles_folder, tmp_path / "work", 50)
    check(found[0], tmp_path / "work", tiles_folder, 50, *found[1:])


def kill_trainers(folder, workdir, num_kills):
    """Answer and undo before one server, whose trainings are killed at random moments of their lives."""
    person, rng = Person(np.arange(60) % 5), random.Random(0)
    num_killed, num_undone, is_forwards, deadline = 0, 0, True, None
    with Server(workdir, f"--archive=folder:{folder}", "--sentence=Same land use") as server:
        view = person.sit_down(server)
        while num_killed < num_kills:
            if is_forwards and view["questions"]:
                view = person.answer(server, view)
            else:
                undo = {"tab": "scripted-tab", "key": f"undo-key-{num_undone}", "set_id": view["set_id"]}
                view = server.post("undo", undo)
                num_undone += view["undone"] is not None
                is_forwards = view["num_answers"] == 0
            jobs = children_of(server.process.pid)
            deadline = (deadline or time.monotonic() + rng.uniform(0.0, LATEST_S)) if jobs else None
            if deadline and time.monotonic() > deadline:
                for process_id in jobs:
                    os.kill(process_id, signal.SIGKILL)
                    num_killed += 1
                is_forwards, deadline = rng.random() < 0.7, None
        rows = all_rows(server)
        assert view["num_answers"] == len(rows) == len(person.acknowledged) - num_undone
    print(f"{num_killed} trainings killed, {len(person.acknowledged)} acknowledged, {num_undone} undone")


@pytest.mark.slow
def test_five_killed_trainings_cost_no_answer(tiles_folder, tmp_path):
    kill_trainers(tiles_folder, tmp_path / "work", 5)


@pytest.mark.soak
def test_fifty_killed_trainings_cost_no_answer(tiles_folder, tmp_path):
    kill_trainers(tiles_folder, tmp_path / "work", 50)


def all_rows(server):
    rows = []
    while page := server.get(f"answers?offset={len(rows)}")["answers"]:
        rows += page
    return rows


def children_of(process_id):
    import psutil

    return [child.pid for child in psutil.Process(process_id).children()]


@pytest.mark.slow
def test_a_second_server_is_refused_and_a_run_trains_on_the_answers(tiles_folder, tmp_path, capsys):
    workdir = tmp_path / "work"
    flags = (f"--archive=folder:{tiles_folder}", "--sentence=Same land use", "--backbone=pixels")
    person = Person(np.arange(60) % 5)
    with Server(workdir, *flags) as server:
        with pytest.raises(AssertionError, match="another run is using"):
            Server(workdir, *flags)
        view = person.sit_down(server, "groups")
        for _ in range(30):
            view = person.answer(server, view)
    config = read_config(workdir)
    with pytest.raises(WorkdirError, match="a person's answers"):
        run_experiment(config, workdir)
    told = train_on_answers(config, workdir)
    assert told.startswith("Trained on the groups that 30 answers") and "nothing was asked" in told
    assert train_on_answers(config, workdir).startswith("Nothing was asked, and nothing is new")
    tiles = open_archive(f"folder:{tiles_folder}")
    embeddings = load_embedder(workdir).embed_archive(tiles, np.arange(60))
    assert embeddings.shape == (60, 256) and np.isfinite(embeddings).all()
