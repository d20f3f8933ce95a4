"""What is promised of the network and of files: nothing leaves this machine, and no pickle is loaded."""

import asyncio
import contextlib
import ipaddress
import os
import pathlib
import socket
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest

from anneal_jax.annotation.learning import job
from anneal_jax.annotation.learning.loop import LearningLoop
from anneal_jax.annotation.learning.trainer import TrainerProcess
from anneal_jax.annotation.web.server import serve
from anneal_jax.config import ExperimentConfig
from tests.annotation.scripted import Person, Server
from tests.annotation.web.test_app import SESSION, TAB
from tests.annotation.web.test_search_routes import (
    OCTETS,
    drop,
    image_file,
    mark,
    results,
)

URL = "http://192.0.2.1/tile.png"  # of a network that is kept for documentation


def test_it_listens_on_this_machine_alone_unless_asked(tiles_folder, tmp_path, monkeypatch):
    import uvicorn

    bound, ready = [], []
    monkeypatch.setattr(
        uvicorn.Server, "run", lambda self, sockets: bound.extend(one.getsockname() for one in sockets)
    )
    config = ExperimentConfig(archive=f"folder:{tiles_folder}", backbone="pixels", image_size=8)
    serve(config, tmp_path / "work", port=0, on_ready=lambda url, notes: ready.append((url, notes)))
    assert [name for name, _ in bound] == ["127.0.0.1"]
    ((url, notes),) = ready
    assert url.startswith(f"http://127.0.0.1:{bound[0][1]}/") and not any(
        "Exposed" in note for note in notes
    )


@pytest.fixture
def no_network(monkeypatch):
    """Refuse every connection and every name that leads out of this machine; what was tried is listed."""
    tried = []

    def refused(*arguments, **named):
        tried.append(arguments)
        raise AssertionError(f"the network was asked for {arguments}")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refused)
    for name in ("create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, refused)
    return tried


def test_addresses_are_texts_and_are_never_fetched(client, no_network):
    view = client("POST", "/session", json=SESSION | {"annotator": URL}).json()
    for word in ("similar", "dissimilar", "unsure"):
        body = {"tab": TAB, "key": view["questions"][0]["key"], "answer": word}
        view = client("POST", "/answer", json=body).json()
    assert view["num_answers"] == 3
    assert client("GET", f"/search/tiles?text={URL}").json()["tiles"] == []
    found = results(client, "tile=7")["results"]
    mark(client, 7, found[0]["tile"], "similar")
    assert drop(client, URL.encode()).status_code == 400
    taken = drop(client, image_file()).json()
    assert results(client, f"dropped={taken['dropped']}")["results"]
    assert client("GET", f"/search/results?dropped={URL}").status_code == 400
    rows = client("GET", "/answers.csv").content
    for name, content, status in (("answers.csv", rows, 200), (f"{URL}.jsonl", URL.encode(), 409)):
        path = f"/answers/add?name={name}"
        assert client("POST", path, content=content, headers=OCTETS).status_code == status
    begun = {"tab": TAB, "sentence": URL, "key": "begin-another-set"}
    assert client("POST", "/sets/begin", json=begun).json()["sentence"] == URL
    assert no_network == []


# A process of its own, and those that it starts, with every use of the network written down.

WATCHER = """
    import os, sys

    def watch(event, arguments):
        if event in ("socket.connect", "socket.bind", "socket.sendto", "socket.getaddrinfo"):
            place = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
            host = place[0] if isinstance(place, tuple) else place
            is_local = host in (None, "", "localhost", "::1") or str(host).startswith(("127.", "/", "\\0"))
            if event == "socket.bind" and host == "":
                is_local = False
            if not is_local:
                with open(os.environ["WATCHED"], "a") as file:
                    file.write(f"{event} {host}\\n")
                raise OSError(f"{event} {host} is refused")

    sys.addaudithook(watch)
"""


@pytest.fixture
def watched(tmp_path, monkeypatch):
    """Let every process of this test write down what of the network it uses beyond this machine."""
    (tmp_path / "sitecustomize.py").write_text(textwrap.dedent(WATCHER))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("WATCHED", str(tmp_path / "watched.txt"))
    return tmp_path / "watched.txt"


@pytest.mark.slow
def test_answers_a_training_and_a_search_use_no_network(tiles_folder, tmp_path, watched):
    import psutil

    out = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    assert (
        b"is refused"
        in subprocess.run([sys.executable, "-c", out], check=False, capture_output=True).stderr
    )
    assert watched.read_text() == "socket.getaddrinfo 192.0.2.1\n"
    watched.unlink()
    person = Person(np.arange(60) % 5)
    recipe = ("--config=launch/configs/digits.py", "--config.steps=20")  # little training
    flags = (f"--archive=folder:{tiles_folder}", "--sentence=Same land use", *recipe)
    with Server(tmp_path / "work", *flags) as server:
        process, places = psutil.Process(server.process.pid), set()
        view = person.sit_down(server)
        deadline = time.monotonic() + 240
        while not (view["num_answers"] >= 25 and (view["on_trial"] or view["model_answers"])):
            assert time.monotonic() < deadline and view["questions"]
            if view["num_answers"] < 40:
                view = person.answer(server, view)
            else:
                time.sleep(0.2)
                view |= server.get("state")
            assert view["training_failure"] == ""
            for one in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):  # a job that has just ended
                    places |= {
                        end.ip
                        for connection in one.net_connections("inet")
                        for end in (connection.laddr, connection.raddr)
                        if end
                    }
        assert server.get("search/results?tile=3")["results"]
    assert places and all(ipaddress.ip_address(place).is_loopback for place in places)
    assert not watched.exists(), watched.read_text()


class Harm:
    """What runs code as soon as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def save_pickled(path, harmed, names):
    """Write a .npz whose arrays hold a pickle, and see that it would do harm."""
    harm = np.array([Harm(harmed)], object)
    np.savez(path, allow_pickle=True, **dict.fromkeys(names, harm))
    with np.load(path, allow_pickle=True) as loaded:
        assert loaded[names[0]] is not None and harmed.exists()
    harmed.unlink()


def test_a_pickled_result_is_refused_and_reported(make_session, directions, tmp_path, monkeypatch):
    session = make_session()
    trainer = TrainerProcess(
        tmp_path / "annotation", ExperimentConfig(archive="folder:nowhere"), directions
    )
    learning = LearningLoop(session, trainer, tmp_path / "annotation", seed=0)
    harmed, names = (
        tmp_path / "harmed",
        ("pair_indices", "set_id", "answer_ids", "embeddings", "chosen", "doubt"),
    )
    start = subprocess.Popen

    def start_ended(command, **options):
        *_, folder, job = command
        save_pickled(f"{folder}/{job}.result.npz", harmed, names)
        process = start([sys.executable, "-c", ""], **options)
        process.wait()
        return process

    monkeypatch.setattr(subprocess, "Popen", start_ended)
    trainer.start(session.trainable(), session.reserved(), frozenset(), session.set_id)

    async def in_writer_thread(work, *arguments):
        return work(*arguments)

    asyncio.run(learning.advance(in_writer_thread))
    assert not harmed.exists() and session.plan.version == 0
    assert "allow_pickle=False" in learning.to_json()["training_failure"]


def test_a_pickled_snapshot_is_refused_by_the_job(directions, tmp_path):
    folder, harmed = tmp_path / "annotation", tmp_path / "harmed"
    TrainerProcess(folder, ExperimentConfig(archive="folder:nowhere"), directions)
    names = ("pair_indices", "answers", "similarities", "round_indices", "reserved")
    save_pickled(folder / "job.snapshot.npz", harmed, names)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        job.train(folder, "job")
    assert not harmed.exists() and not (folder / "job.result.npz").exists()
