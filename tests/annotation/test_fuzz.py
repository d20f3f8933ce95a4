"""Every route, called with whatever can be sent: no 500, no way out of the page, no write from elsewhere.

Requests are put together below HTTP, as a server hands them on, so that no client tidies them up before.
"""

import asyncio
import json
from urllib.parse import urlencode

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.annotation.conftest import HOST, served
from tests.annotation.test_app import FIELDS, JSON, TAB

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
    from anneal_jax.annotation.desk import Desk
    from anneal_jax.annotation.guide import make_guide
    from anneal_jax.annotation.projection import centring
    from anneal_jax.annotation.questions import unit_directions
    from anneal_jax.pairs.store import AnswerStore

    (tiles_folder.parent / "secret.txt").write_bytes(SECRET)
    features = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    store = AnswerStore(tmp_path_factory.mktemp("fuzz") / "answers.sqlite", [str(i) for i in range(60)])
    guide = make_guide(unit_directions(features), seed=0, project=centring(features))
    desk = Desk(store, unit_directions(features), np.arange(60), guide)
    desk.open_tab(TAB, "Ada")
    with served(tiles_folder, desk) as (app, access):
        yield app, access, store


def routes_of(app):
    """Return the templates below the token, such as `/tile/{tile}.jpg`, each with its methods."""
    (mount,) = app._app.routes
    return [(route.path, sorted(route.methods)) for route in mount.routes]


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


@st.composite
def requests(draw, app, token):
    """Draw a request: often a good one but for one thing."""
    template, methods = draw(st.sampled_from(routes_of(app)))
    path = filled(template, draw)
    if draw(st.integers(0, 4)) == 0:
        path = f"{path}/{draw(st.sampled_from(WAYS_OUT) | st.text(max_size=8))}"
    method = draw(st.sampled_from(methods) | st.sampled_from(["GET", "POST", "PUT", "DELETE", "HEAD", "X"]))
    names = st.sampled_from(
        ["tile", "text", "offset", "answer", "annotator", "count", "dropped", "anchor", "name"]
    )
    values = (
        st.integers(-2, 70).map(str)
        | st.text(max_size=12)
        | st.sampled_from(["a.csv", "a.jsonl", *WAYS_OUT])
    )
    query = urlencode(draw(st.dictionaries(names, values, max_size=3)), errors="replace").encode()
    body = draw((FIELDS | JSON).map(lambda value: json.dumps(value).encode()) | st.binary(max_size=200))
    host = draw(st.sampled_from([HOST] * 4 + ["evil.example", "127.0.0.1.evil.example", "", "[::1"]))
    origin = draw(st.sampled_from([OWN] * 4 + ["http://evil.example", "null", "http://localhost:1", None]))
    kind = draw(st.sampled_from(["application/json", "application/octet-stream", "text/plain"]))
    length = draw(st.sampled_from([str(len(body))] * 6 + ["", "-1", "1e9", "99999999999"]))
    headers = [("host", host), ("content-type", kind), ("content-length", length)]
    headers += [("origin", origin)] if origin is not None else []
    wild = st.dictionaries(
        st.sampled_from(["cookie", "range", "x-forwarded-host", "expect"]), st.text(max_size=9)
    )
    headers += draw(wild).items()
    encoded = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
    return method, f"/{token}{path}", query, encoded, body, host == HOST, origin


def check(page, request):
    app, _, store = page
    method, path, query, headers, body, is_host_own, origin = request
    before = len(store.records())
    status, told, content = call(app, method, path, query, headers, body)
    assert status < 500, (status, content)
    assert SECRET not in content and b"root:x:" not in content
    assert told[b"x-content-type-options"] == b"nosniff" and b"access-control-allow-origin" not in told
    is_own = is_host_own and (origin == OWN if method == "POST" else origin in (None, OWN))
    if not is_own:
        assert status == 403
    if not is_own or method not in ("POST",):
        assert len(store.records()) == before
    return status


@settings(max_examples=150)
@given(data=st.data())
def test_no_request_breaks_the_server_leads_out_or_writes_from_elsewhere(page, data):
    check(page, data.draw(requests(page[0], page[1].token)))


@pytest.mark.soak
@settings(max_examples=20_000, derandomize=False, print_blob=True)
@given(data=st.data())
def test_twenty_thousand_requests_break_nothing(page, data):
    check(page, data.draw(requests(page[0], page[1].token)))


@settings(max_examples=60)
@given(token=st.text(max_size=40), rest=st.sampled_from(["/state", "/answers.csv", "/tile/3.jpg", ""]))
def test_no_other_token_opens_anything(page, token, rest):
    app, access, _ = page
    assume(token != access.token)
    headers = [(b"host", HOST.encode())]
    status, _, content = call(app, "GET", f"/{token}{rest}", b"", headers, b"")
    assert status == 404 and access.token.encode() not in content


def test_every_route_is_among_those_that_are_called(page):
    paths = {path for path, _ in routes_of(page[0])}
    assert {"/answer", "/undo", "/sentence", "/tile/{tile}.jpg", "/search/drop", "/answers/add"} <= paths
    assert len(paths) >= 25
