"""Every route, called with whatever can be sent: no 500, no way out of the page, no write from elsewhere.

Models come into use meanwhile.

Requests are put together below HTTP, as a server hands them on, so that no client tidies them up before.
"""

import asyncio
import json
from typing import NamedTuple
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from starlette.types import ASGIApp

from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import begin
from anneal_jax.annotation.learning.loop import LearningLoop
from anneal_jax.annotation.learning.trainer import Result, Snapshot
from anneal_jax.annotation.questions.by_belief import BeliefQuestions
from anneal_jax.annotation.questions.cold_start import unit_directions
from anneal_jax.annotation.questions.plan import make_plan
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.access import Access
from anneal_jax.annotation.web.app import page_routes
from anneal_jax.answers.file_answers import SaidOfFile, say_of_file
from anneal_jax.answers.store import AnswerStore
from anneal_jax.experiments.belief_rounds import Outlook
from anneal_jax.training.projection import centring
from anneal_jax.types import Answer
from tests.annotation.conftest import HOST, IdleTrainer, served
from tests.annotation.web.test_app import FIELDS, JSON, TAB

OWN = f"http://{HOST}"
SECRET = b"what lies outside"
WAYS_OUT = [
    "..",
    "../..",
    "../../secret.txt",
    "/etc/passwd",
    "%2e%2e",
    "..%2f",
    "\\..\\",
    "....//",
    "\0",
    "~root",
]


@pytest.fixture(scope="module")
def page(tiles_folder, tmp_path_factory):
    """A server whose store and tiles lie beside a file that it must never show."""
    (tiles_folder.parent / "secret.txt").write_bytes(SECRET)
    features = np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    folder = tmp_path_factory.mktemp("fuzz")
    store = AnswerStore(folder / "answers.sqlite", [str(i) for i in range(60)])
    graph = neighbour_graph(unit_directions(features))
    by_belief = BeliefQuestions(BeliefSession(np.arange(60, dtype=np.int32), graph, begin(graph)))
    plan = make_plan(unit_directions(features), seed=0, project=centring(features), by_belief=by_belief)
    session = AnnotationSession(store, unit_directions(features), np.arange(60), plan)
    session.open_tab(TAB, "Ada", "glances")
    say_of_file(store, SaidOfFile("ab" * 32, features[0], 3, Answer.SIMILAR, "Ada"))
    learning = LearningLoop(session, Trainings(session, features), folder, seed=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anneal_jax.annotation.learning.loop.UNTRIED_FROM", 0)
        with served(tiles_folder, session, learning=learning) as (app, access):
            for path in (
                "tiles",
                "results",
            ):  # the first of each clusters or compiles, which is no request's fault
                own = [(b"host", HOST.encode())]
                assert call(app, "GET", f"/{access.token}/search/{path}", b"tile=3", own, b"")[0] == 200
            yield Page(app, access, session, learning)


class Page(NamedTuple):
    """A server, and what it serves."""

    app: ASGIApp
    access: Access
    session: AnnotationSession
    learning: LearningLoop


class Trainings(IdleTrainer):
    """A trainer that leaves a model with every tenth look, as good as the features: it is used."""

    def __init__(self, session, features):
        self.session, self.features, self.turn = session, features, 0

    def fetch(self):
        self.turn += 1
        if self.turn % 10:
            return None
        chosen, project = np.array([(0, self.turn % 59 + 1)], np.int32), centring(self.features)
        embeddings = project(self.features)
        taught = frozenset(record.answer_id for record in self.session.standing.records)
        return Result(
            Snapshot(self.session.set_id, taught, frozenset()),
            embeddings,
            chosen,
            project,
            Outlook(0.2, 9, 60),
        )


ROUTES = [(route.path, sorted(route.methods or ())) for route in page_routes()]
"""The templates below the token, such as `/tile/{tile}.jpg`, each with its methods."""


def call(app, method, path, query, headers, body):
    """Send one request; return status, headers and content."""
    sent = []

    async def go():
        coming = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def receive():
            return next(coming, {"type": "http.disconnect"})

        async def send(message):
            sent.append(message)

        await app(
            {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method,
             "scheme": "http", "path": path, "raw_path": path.encode("utf-8", "replace"), "root_path": "",
             "query_string": query, "headers": headers, "client": ("127.0.0.1", 9),
             "server": ("127.0.0.1", 8765)},
            receive, send,
        )  # fmt: skip

    asyncio.run(go())
    content = b"".join(message.get("body", b"") for message in sent[1:])
    return sent[0]["status"], dict(sent[0]["headers"]), content


def filled(template, draw):
    """Fill the places of a template with numbers, names and ways out."""
    value = st.one_of(
        st.integers(-2, 70).map(str), st.sampled_from(WAYS_OUT), st.text(max_size=12), st.just("a" * 32)
    )
    while "{" in template:
        before, _, rest = template.partition("{")
        template = before + draw(value) + rest.partition("}")[2]
    return template


GOOD = st.fixed_dictionaries(
    {
        "tab": st.just(TAB),
        "annotator": st.sampled_from(["Ada", "Ben"]),
        "mode": st.sampled_from(["glances", "pairs", "mgue", "none"]),
        "key": st.text("ab", min_size=8, max_size=12),
        "answer": st.sampled_from(["similar", "dissimilar", "unsure"]),
        "answer_id": st.integers(1, 9),
        "act": st.sampled_from(["move", "merge"]),
        "tiles": st.lists(st.integers(0, 59), min_size=1, max_size=6),
        "into": st.none() | st.integers(0, 59),
        "to": st.integers(1, 4),
        "first": st.integers(0, 59),
        "second": st.integers(0, 59),
        "other": st.integers(0, 59),
        "file": st.just(1),
        "sentence": st.sampled_from(["Same land use", "Same roof"]),
        "set_id": st.integers(1, 3),
        "tile": st.integers(-1, 59),
        "name": st.text(max_size=9),
        "rows": st.lists(
            st.fixed_dictionaries(
                {"tile": st.integers(-1, 60)},
                optional={
                    "similarity": st.none() | st.floats(-1, 1),
                    "mark": st.sampled_from([None, "", "right", "wrong", "unsure", "?"]),
                },
            ),
            max_size=3,
        ),
        "picked": st.none() | st.lists(st.integers(0, 4), max_size=4),
    }
)
"""What every route that takes JSON may find good."""


ASPECTS = ("place", "method", "query", "body", "host", "origin", "kind", "length", "wild")
SOME = st.sets(st.sampled_from(ASPECTS), max_size=2) | st.just(set(ASPECTS))
"""What of a request is drawn as it comes; the rest is as the page would send it."""


@st.composite
def requests(draw, page):
    """Draw a request: often a good one but for one thing or two."""
    template, methods = draw(st.sampled_from(ROUTES))
    odd = draw(SOME)

    def either(aspect, good, bad):
        return draw(bad) if aspect in odd else good

    path = filled(template, draw)
    path += either("place", "", (st.sampled_from(WAYS_OUT) | st.text(max_size=8)).map("/{}".format))
    anything = st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "X"])
    method = either("method", "POST" if "POST" in methods else "GET", anything)
    names = st.sampled_from(
        [
            "tile",
            "text",
            "offset",
            "answer",
            "annotator",
            "count",
            "dropped",
            "file",
            "refined",
            "least",
            "name",
        ]
    )
    values = (
        st.integers(-2, 70).map(str)
        | st.text(max_size=12)
        | st.sampled_from(["a.csv", "a.jsonl", *WAYS_OUT])
    )
    asked = either("query", {"tile": "3", "name": "a.csv"}, st.dictionaries(names, values, max_size=3))
    as_json = (GOOD | FIELDS | JSON).map(lambda value: json.dumps(value).encode())
    good = draw(GOOD)
    issued = [question["key"] for question in page.session.view(TAB)["questions"]]
    if issued and template in ("/answer", "/glance"):
        good["key"] = draw(st.sampled_from(issued))
    body = either("body", json.dumps(good).encode(), as_json | st.binary(max_size=200))
    host = either("host", HOST, st.sampled_from(["evil.example", "127.0.0.1.evil.example", "", "[::1"]))
    origins = ["http://evil.example", "null", "http://localhost:1", None]
    origin = either("origin", OWN, st.sampled_from(origins))
    is_file = template in ("/search/drop", "/answers/add") or template.startswith("/export/results.")
    kind = either(
        "kind",
        f"application/{'octet-stream' if is_file else 'json'}",
        st.sampled_from(["application/json", "application/octet-stream", "text/plain"]),
    )
    length = either("length", str(len(body)), st.sampled_from(["", "-1", "1e9", "99999999999"]))
    headers = [("host", host), ("content-type", kind), ("content-length", length)]
    headers += [("origin", origin)] if origin is not None else []
    wild = st.dictionaries(
        st.sampled_from(["cookie", "range", "x-forwarded-host", "expect"]), st.text(max_size=9)
    )
    headers += either("wild", {}, wild).items()
    encoded = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
    query = urlencode(asked, errors="replace").encode()
    return method, f"/{page.access.token}{path}", query, encoded, body, host == HOST, origin


def check(page, request):
    asyncio.run(page.learning.advance(at_once))
    assert page.learning.to_json()["training_failure"] == ""
    method, path, query, headers, body, is_host_own, origin = request
    before = stored(page)
    status, sent_headers, content = call(page.app, method, path, query, headers, body)
    assert status < 500, (status, content)
    assert SECRET not in content and b"root:x:" not in content
    assert (
        sent_headers[b"x-content-type-options"] == b"nosniff"
        and b"access-control-allow-origin" not in sent_headers
    )
    is_own = is_host_own and (origin == OWN if method == "POST" else origin in (None, OWN))
    if not is_own:
        assert status == 403
    if not is_own or method not in ("POST",):
        assert stored(page) == before
    return status


def stored(page):
    """Return the bytes of the answers, the sentences and all else that is stored."""
    return page.session.store.path.read_bytes()


async def at_once(work, *arguments):
    return work(*arguments)


@settings(max_examples=150)
@given(data=st.data())
def test_no_request_breaks_the_server_leads_out_or_writes_from_elsewhere(page, data):
    check(page, data.draw(requests(page)))


@pytest.mark.soak
@settings(max_examples=20_000, derandomize=False, print_blob=True)
@given(data=st.data())
def test_twenty_thousand_requests_break_nothing(page, data):
    check(page, data.draw(requests(page)))


@settings(max_examples=60)
@given(token=st.text(max_size=40), rest=st.sampled_from(["/state", "/answers.csv", "/tile/3.jpg", ""]))
def test_no_other_token_opens_anything(page, token, rest):
    assume(token != page.access.token)
    headers = [(b"host", HOST.encode())]
    status, _, content = call(page.app, "GET", f"/{token}{rest}", b"", headers, b"")
    assert status == 404 and page.access.token.encode() not in content


@pytest.mark.parametrize(
    "name",
    [
        "session",
        "answer",
        "glance",
        "undo",
        "retract",
        "correct",
        "volunteer",
        "sets/begin",
        "sets/rename",
        "groups/act",
        "search/mark",
    ],
)
def test_what_is_good_but_for_its_origin_or_host_writes_nothing(page, name):
    """A sentence no more than an answer; and the same from the page itself is taken."""
    session = page.session
    word = name.replace("/", "-")
    view = session.open_tab(TAB, "Ada", "glances" if name == "glance" else "pairs")
    while name == "glance" and view["questions"][0]["kind"] == "pair":
        view = session.answer(TAB, view["questions"][0]["key"], Answer.DISSIMILAR, 1.0)
    session.volunteer(TAB, (3, 4), Answer.SIMILAR, f"mark-before-{word}")
    body = {"tab": TAB, "annotator": "Ada", "mode": "pairs", "answer": "similar", "set_id": session.set_id}
    say_of_file(session.store, SaidOfFile("ab" * 32, np.ones(16, np.float32), 9, Answer.SIMILAR, "Ada"))
    body |= {
        "first": 3,
        "second": 5,
        "file": 1,
        "other": 7,
        "sentence": f"Same {name}",
        "picked": [],
        "act": "move",
        "tiles": [40],
        "into": 3,
        "answer_id": session.standing.records[-1].answer_id,
    }
    key = view["questions"][0]["key"] if name in ("answer", "glance") else f"key-of-{word}"
    content = json.dumps(body | {"key": key}).encode()
    before = stored(page)

    def send(host, origin):
        headers = {"host": host, "origin": origin, "content-type": "application/json"}
        headers["content-length"] = str(len(content))
        encoded = [(key.encode(), value.encode()) for key, value in headers.items()]
        return call(page.app, "POST", f"/{page.access.token}/{name}", b"", encoded, content)[0]

    for host, origin in ((HOST, "http://evil.example"), ("evil.example", OWN), (HOST, "null")):
        assert send(host, origin) == 403 and stored(page) == before
    assert send(HOST, OWN) == 200
    assert (stored(page) == before) == (name == "session")


def test_models_come_into_use_meanwhile(page):
    page.session.open_tab(TAB, "Ada")
    page.session.volunteer(TAB, (6, 7), Answer.SIMILAR, "mark-to-learn-from")
    for _ in range(11):
        own = [(b"host", HOST.encode())]
        check(page, ("GET", f"/{page.access.token}/state", b"", own, b"", True, None))
    assert page.session.plan.version > 0


def test_every_route_is_among_those_that_are_called():
    paths = {path for path, _ in ROUTES}
    assert {
        "/answer",
        "/glance",
        "/change",
        "/undo",
        "/sentence",
        "/tile/{tile}.jpg",
        "/search/drop",
        "/search/mark",
        "/answers/add",
        "/export/results.zip",
    } <= paths
    assert {"/sets/begin", "/groups/act", "/groups/wall", "/groups/of/{tile}"} <= paths
    assert len(paths) >= 28
