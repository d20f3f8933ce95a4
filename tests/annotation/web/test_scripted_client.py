"""A simulated person before the real page, over HTTP."""

import io
import json
import socket
import threading
import urllib.request

import pytest
import uvicorn

from anneal_jax import AnnealError
from anneal_jax.annotation.web.scripted_client import answer_page
from anneal_jax.pairs.oracle import ClassOracle


@pytest.fixture
def url(app):
    asgi, access = app
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(asgi, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/{access.token}/"
    server.should_exit = True
    thread.join()
    listener.close()


def test_every_answer_is_stored_as_it_was_said(url, classes):
    assert answer_page(url, ClassOracle(classes), 12, name="Ada") == 12
    with urllib.request.urlopen(url + "answers", timeout=60) as response:
        rows = json.load(response)["answers"]
    assert len(rows) == 12 and {row["annotator"] for row in rows} == {"Ada"}
    said = [row["answer"] for row in rows]
    alike = [classes[row["first"]] == classes[row["second"]] for row in rows]
    assert said == ["similar" if is_alike else "dissimilar" for is_alike in alike]
    assert 0 < sum(alike) < 12


def test_another_simulation_goes_on_behind_the_answers_that_stand(url, classes):
    for _ in range(2):
        assert answer_page(url, ClassOracle(classes), 5) == 5
    with urllib.request.urlopen(url + "answers", timeout=60) as response:
        assert json.load(response)["num_answers"] == 10


def test_it_ends_where_nothing_is_left_to_ask(classes, monkeypatch):
    question = {"key": "a-first-key", "first": 0, "second": 5}
    views = iter([b'{"questions": [%s]}' % json.dumps(question).encode(), b'{"questions": []}'])
    posted = []

    def reply(request, timeout):
        posted.append(request)
        return io.BytesIO(next(views))

    monkeypatch.setattr(urllib.request, "urlopen", reply)
    assert answer_page("http://here/token/", ClassOracle(classes), 100) == 1
    assert [sent.full_url for sent in posted] == ["http://here/token/session", "http://here/token/answer"]
    said = json.loads(posted[1].data)
    assert said["answer"] == "similar" and said["key"] == "a-first-key"


def test_what_is_refused_or_not_there_is_said(url, classes):
    with pytest.raises(AnnealError, match="the page refused session: Open the whole address"):
        answer_page(url[:-2] + "/", ClassOracle(classes), 1)
    with pytest.raises(AnnealError, match=r"cannot be reached .*is its server running\?"):
        answer_page("http://127.0.0.1:1/token/", ClassOracle(classes), 1)
