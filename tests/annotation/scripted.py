"""A person made of a script, before a real server in a process of its own."""

import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import numpy as np

from anneal_jax.answers.glances import AnsweredGlance
from anneal_jax.types import Answer
from tests.annotation.driving import look
from tests.conftest import ROOT
from tests.launching import Forked

START_S = 600.0


class Server:
    """`launch/annotate.py` in a process of its own."""

    def __init__(
        self,
        workdir: pathlib.Path,
        *arguments: str,
        cwd: pathlib.Path = ROOT,
        port: int | None = 0,
        stderr: int | None = None,
        before: str = "",
    ):
        """Start it; `before` is Python that its process runs first."""
        own = [f"--workdir={workdir}", "--nobrowser", "--undefok=browser"]
        own += [] if port is None else [f"--port={port}"]
        app = ["launch/annotate.py"]
        if before:
            run = "import runpy; runpy.run_path('launch/annotate.py', run_name='__main__')"
            app = ["-c", f"import sys; sys.path.insert(0, 'launch'); {before}; {run}"]
        environment = {"XLA_FLAGS": "", "PYTHONPATH": str(ROOT)}
        with tempfile.NamedTemporaryFile(delete=False) as printed:
            self._printed = pathlib.Path(printed.name)
            if stderr is None:
                streams = {"stdout": self._printed, "stderr": self._printed}
                self.process = Forked(*app, *own, *arguments, cwd=cwd, environment=environment, **streams)
            else:  # a terminal is no file
                command, whole = [sys.executable, *app, *own, *arguments], {**os.environ, **environment}
                self.process = subprocess.Popen(command, cwd=cwd, env=whole, stdout=printed, stderr=stderr)
        self.url = self._address()

    def _address(self) -> str:
        deadline, is_running = time.monotonic() + START_S, True
        while time.monotonic() < deadline and is_running:
            is_running = self.process.poll() is None  # looked at before what it has printed by then
            printed = self._printed.read_text("utf-8")
            if found := re.search(r"Open (http://\S+/)\s", printed):
                return found[1]
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the server did not start: {printed}")

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()
        self._printed.unlink(missing_ok=True)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def get(self, path: str) -> dict:
        return json.loads(self.read(path))

    def read(self, path: str) -> bytes:
        with urllib.request.urlopen(self.url + path, timeout=60) as response:
            return response.read()

    def post(self, path: str, body: dict) -> dict:
        return self._send(path, json.dumps(body).encode(), "application/json")

    def send_file(self, path: str, data: bytes) -> dict:
        return self._send(path, data, "application/octet-stream")

    def _send(self, path: str, data: bytes, kind: str) -> dict:
        parts = urlsplit(self.url)
        headers = {"Content-Type": kind, "Origin": f"{parts.scheme}://{parts.netloc}"}
        request = urllib.request.Request(self.url + path, data, headers)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)

    def volunteer(self, pairs, word: str = "similar") -> list[dict]:
        """Say something of pairs as somebody else does meanwhile; return what each brought."""
        tab = {"tab": "tab-of-somebody"}
        set_id = self.post("session", {**tab, "annotator": "Eve", "mode": "none"})["set_id"]
        said = {**tab, "set_id": set_id, "answer": word}
        return [
            self.post(
                "volunteer", said | {"first": first, "second": second, "key": f"eve-says-{first}-{second}"}
            )
            for first, second in pairs
        ]


class Person:
    """Answers by class labels, with mistakes and doubts of a given rate.

    Attributes:
      acknowledged: answer by its key, as the server said that it was saved.
      unacknowledged: the request whose reply never came: route, body and the answers that it stores.
      latencies_s: from sending an answer to having the next question.
    """

    def __init__(self, classes, *, mistakes=0.0, unsure=0.0, seed=0, tab="scripted-tab"):
        self._classes, self._mistakes, self._unsure = classes, mistakes, unsure
        self._rng = np.random.default_rng(seed)
        self._tab = tab
        self.acknowledged: dict[str, str] = {}
        self.unacknowledged: tuple[str, dict, dict[str, str]] | None = None
        self.latencies_s: list[float] = []

    def sit_down(self, server: Server, mode: str = "pairs") -> dict:
        return server.post("session", {"tab": self._tab, "annotator": "Ada", "mode": mode})

    def answer(self, server: Server, view: dict) -> dict:
        """Answer the first question; raises where the server does not say that it is saved."""
        question = view["questions"][0]
        route, said, words = self._said(question)
        body = {"tab": self._tab, "key": question["key"], **said, "elapsed_s": 2.0}
        self.unacknowledged = route, body, words
        start = time.perf_counter()
        view = server.post(route, body)
        self.latencies_s.append(time.perf_counter() - start)
        self.acknowledged |= words
        self.unacknowledged = None
        return view

    def _said(self, question: dict) -> tuple[str, dict, dict[str, str]]:
        """Return the route, what is said, and the answers by their keys that it comes to."""
        key, subject, others = question["key"], question["subject"], question["others"]
        if question["kind"] == "pair":
            word = self.word(question["first"], question["second"])
            return "answer", {"answer": word}, {key: word}
        picked = None if self._rng.random() < self._unsure else look(question, self._classes, self._rng)
        places = None if picked is None else tuple(picked)
        shown = AnsweredGlance(key, question["kind"], subject, tuple(others), places)
        words = {shown.answer_key(other): answer.name.lower() for other, answer in shown.said()}
        return "glance", {"picked": picked}, words

    def repeat(self, server: Server) -> bool:
        """Send the answer again whose reply never came, as the page does; tell whether it was stored."""
        is_stored = False
        if self.unacknowledged is not None:
            route, body, words = self.unacknowledged
            try:
                server.post(route, body)
                self.acknowledged |= words
                is_stored = True
            except urllib.error.HTTPError as error:
                if error.code != 409:  # the server was killed before it had stored it, and says so
                    raise
        self.unacknowledged = None
        return is_stored

    def word(self, first: int, second: int) -> str:
        if self._rng.random() < self._unsure:
            return "unsure"
        is_similar = self._classes[first] == self._classes[second]
        return Answer(int(is_similar != (self._rng.random() < self._mistakes))).name.lower()
