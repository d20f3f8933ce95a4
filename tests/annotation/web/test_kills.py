"""Power cuts under a scripted person: nothing acknowledged is lost, nothing is doubled."""

import http.client
import io
import os
import random
import signal
import threading
import time
import urllib.error

import numpy as np
import pytest
from PIL import Image

from anneal_jax.data.archives import open_archive
from anneal_jax.errors import WorkdirError
from anneal_jax.experiments.answered_workdir import train_on_answers
from anneal_jax.experiments.run import run_experiment
from anneal_jax.files.workdir import read_config
from anneal_jax.retrieval.embedder import load_embedder
from tests.annotation.scripted import Person, Server

LATEST_S = 3.0


def answer_until_killed(workdir, flags, person, moment_s):
    """Serve, answer, and kill the server at a moment of its life; tell whether an answer was stored
    whose reply the kill before had cut off.
    """
    with Server(workdir, *flags) as server:
        timer = threading.Timer(moment_s, server.process.kill)
        timer.start()
        is_stored = False
        try:
            person.sit_down(server, "glances")
            is_stored = person.repeat(server)
            view = person.sit_down(server, "glances")
            while view["questions"]:
                view = person.answer(server, view)
        except urllib.error.HTTPError:  # a refusal is no power cut
            raise
        except (OSError, http.client.HTTPException, ValueError):
            pass  # no connection, half a reply, or half of its JSON
        finally:
            timer.cancel()
            timer.join()
    return is_stored


def kill_often(folder, workdir, num_kills):
    classes = np.arange(60) % 5
    person = Person(classes, mistakes=0.1, unsure=0.2)
    flags = (f"--archive=folder:{folder}", "--sentence=Same land use", "--backbone=tiny_cnn")
    rng = random.Random(0)
    num_repeated = sum(
        answer_until_killed(workdir, flags, person, rng.uniform(0.0, LATEST_S)) for _ in range(num_kills)
    )
    with Server(workdir, *flags) as server:
        person.sit_down(server)
        num_repeated += person.repeat(server)
        print(f"{num_repeated} answers were stored whose replies were lost")
        rows = all_rows(server)
        num_answers = server.get("state")["num_answers"]
    return person, rows, num_answers


def check(person, workdir, folder, num_kills, rows, num_answers):
    from anneal_jax.answers.store import AnswerStore

    store = AnswerStore(workdir / "answers.sqlite", open_archive(f"folder:{folder}").ids)
    # What was stored without a reply was acknowledged when it was said again; what was not is not there.
    by_key = {record.key: record.answer.name.lower() for record in store.records()}
    assert by_key == person.acknowledged and len(by_key) == num_answers == len(rows)
    # No pair is stored twice, under whatever keys, but where an old one was put again to measure.
    asked = [(record.first, record.second) for record in store.records() if record.kind != "repeat"]
    assert len(set(asked)) == len(asked)
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


class Marker:
    """Marks results of one dropped file at random, and keeps what the server said that it was saved."""

    def __init__(self, file: bytes):
        self.file, self.rng = file, random.Random(0)
        self.acknowledged: dict[int, str] = {}
        self.unacknowledged: dict | None = None

    def sit_down(self, server):
        """Drop the file, say again what may be lost, and return the address of what is known."""
        dropped = server.send_file("search/drop", self.file)["dropped"]
        self.set_id = server.get("state")["set_id"]
        if self.unacknowledged is not None:
            self.say(server, {**self.unacknowledged, "dropped": dropped})
        return dropped

    def mark(self, server, dropped):
        word = self.rng.choice(["similar", "dissimilar", "unsure", "none"])
        key = f"mark-{self.rng.getrandbits(64):016x}"
        said = {"annotator": "Ada", "other": self.rng.randrange(60), "answer": word, "key": key}
        self.say(server, {**said, "dropped": dropped, "set_id": self.set_id})

    def say(self, server, body):
        self.unacknowledged = body
        server.post("search/mark", body)
        self.acknowledged[body["other"]], self.unacknowledged = body["answer"], None


def mark_until_killed(workdir, flags, marker, moment_s):
    with Server(workdir, *flags) as server:
        timer = threading.Timer(moment_s, server.process.kill)
        timer.start()
        try:
            dropped = marker.sit_down(server)
            while True:
                marker.mark(server, dropped)
        except urllib.error.HTTPError:  # a refusal is no power cut
            raise
        except (OSError, http.client.HTTPException, ValueError):
            pass
        finally:
            timer.cancel()
            timer.join()


@pytest.mark.slow
def test_kills_lose_no_mark_of_a_file(tiles_folder, tmp_path):
    flags = (f"--archive=folder:{tiles_folder}", "--sentence=Same land use", "--backbone=pixels")
    with Image.open(tiles_folder / "tile30.png") as image, io.BytesIO() as file:
        image.transpose(Image.Transpose.ROTATE_180).save(file, "PNG")
        marker = Marker(file.getvalue())
    for moment_s in (0.3, 1.0, 2.0):
        mark_until_killed(tmp_path / "work", flags, marker, moment_s)
    with Server(tmp_path / "work", *flags) as server:
        dropped = marker.sit_down(server)
        marker.mark(server, dropped)
        marks = server.get(f"search/marks?dropped={dropped}")["marks"]
        assert server.get("state")["num_answers"] == 0
    expected = {tile: word for tile, word in marker.acknowledged.items() if word != "none"}
    assert {mark["tile"]: mark["known"] for mark in marks} == expected


class Restless:
    """Answers before one server, and takes everything back where nothing is left, or when asked to."""

    def __init__(self, server, person):
        self.server, self.person = server, person
        self.view = person.sit_down(server)
        self.num_undone, self.is_forwards = 0, True

    def step(self):
        if self.is_forwards and self.view["questions"]:
            self.view = self.person.answer(self.server, self.view)
            return
        key = f"undo-key-{self.num_undone}"
        undo = {"tab": "scripted-tab", "key": key, "set_id": self.view["set_id"]}
        self.view = self.server.post("undo", undo)
        self.num_undone += self.view["undone"] is not None
        self.is_forwards = self.view["num_answers"] == 0

    def num_adopted(self):
        return sum(not row["refusal"] for row in self.server.get("answers")["curve"])


def kill_trainers(folder, workdir, num_kills):
    """Answer and undo before one server, whose trainings are killed at random moments of their lives.

    How long such a life is, the first one tells, which is let be. After the last kill a model is adopted.
    """
    rng, num_killed, lengths_s = random.Random(0), 0, []
    job, began_s, moment_s = None, 0.0, float("inf")
    deadline_s = time.monotonic() + 120 * (num_kills + 2)
    with Server(
        workdir, f"--archive=folder:{folder}", "--sentence=Same land use", "--backbone=tiny_cnn"
    ) as server:
        restless = Restless(server, Person(np.arange(60) % 5))
        while num_killed < num_kills:
            assert time.monotonic() < deadline_s
            restless.step()
            time.sleep(0.05)  # a job is of low priority: who answers without a pause lets it starve
            jobs = children_of(server.process.pid)
            if job is not None and job not in jobs:  # it came to its end
                lengths_s.append(time.monotonic() - began_s)
                job = None
            elif job is None and jobs:
                (job,), began_s = jobs, time.monotonic()
                moment_s = began_s + rng.uniform(0.0, max(lengths_s)) if lengths_s else float("inf")
            elif job is not None and time.monotonic() > moment_s:
                os.kill(job, signal.SIGKILL)
                num_killed, job = num_killed + 1, None
                restless.is_forwards = rng.random() < 0.7
                while children_of(server.process.pid):  # until the server has seen it
                    time.sleep(0.05)
        num_adopted = restless.num_adopted()
        while restless.num_adopted() == num_adopted:
            assert time.monotonic() < deadline_s
            restless.step()
            time.sleep(0.05)
        rows = all_rows(server)
        num_acknowledged = len(restless.person.acknowledged)
        assert restless.view["num_answers"] == len(rows) == num_acknowledged - restless.num_undone
    print(
        f"{num_killed} trainings of up to {max(lengths_s):.1f} s killed, {num_acknowledged} acknowledged, "
        f"{restless.num_undone} undone, {num_adopted} models adopted before the last kill"
    )


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
    recipe = ("--config=launch/configs/digits.py", "--config.steps=5")  # little training
    flags = (f"--archive=folder:{tiles_folder}", "--sentence=Same land use", *recipe)
    person = Person(np.arange(60) % 5)
    with Server(workdir, *flags) as server:
        with pytest.raises(AssertionError, match="is already open at http"):
            Server(workdir, *flags)
        view = person.sit_down(server, "mgue")
        for _ in range(30):
            view = person.answer(server, view)
    config = read_config(workdir)
    with pytest.raises(WorkdirError, match="a person's answers"):
        run_experiment(config, workdir)
    sentence = train_on_answers(config, workdir)
    assert (
        sentence.startswith("Trained on the groups that 30 answers")
        and "no questions were asked" in sentence
    )
    assert train_on_answers(config, workdir).startswith("No questions were asked, and nothing has changed")
    tiles = open_archive(f"folder:{tiles_folder}")
    embeddings = load_embedder(workdir).embed_archive(tiles, np.arange(60))
    assert embeddings.shape == (60, 256 + 192) and np.isfinite(embeddings).all()
