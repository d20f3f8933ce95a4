"""The routes as a browser, and as somebody else, would call them."""

import io
import json
import sqlite3
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anneal_jax.annotation.web.access import MAX_BODY_BYTES, make_access
from anneal_jax.annotation.web.listening import address, exposure
from anneal_jax.annotation.web.pages import PAGES, static_files
from anneal_jax.errors import ConfigError
from tests.annotation.conftest import HOST, served

TAB = "tab-number-1"
SESSION = {"tab": TAB, "annotator": "Ada", "mode": "pairs"}
POSTS = (
    "session", "answer", "glance", "undo", "retract", "correct", "sentence", "volunteer",
    "sets/begin", "sets/go", "sets/rename", "groups/act", "groups/preview", "search/mark",
)  # fmt: skip
GETS = (
    "/", "/details", "/state", "/answers", "/contradiction", "/tile/3.jpg", "/neighbours/3", "/teach",
    "/change", "/groups", "/groups/wall", "/groups/alone", "/sets", "/search/tiles",
    "/search/results?tile=3", "/static/teach.js",
)  # fmt: skip


def test_a_person_answers_undoes_and_changes_mode(client):
    view = client("POST", "/session", json=SESSION).json()
    for _ in range(30):
        key = view["questions"][0]["key"]
        body = {"tab": TAB, "key": key, "answer": "similar", "elapsed_s": 1.2}
        response = client("POST", "/answer", json=body)
        assert response.status_code == 200
        view = response.json()
        assert client("POST", "/answer", json=body).json()["num_answers"] == view["num_answers"]
    assert view["num_answers"] == 30 and view["num_known"] > 30
    undo = {"tab": TAB, "key": "undo-key-1", "set_id": view["set_id"]}
    view = client("POST", "/undo", json=undo).json()
    assert view["num_answers"] == 29 and view["undone"]["annotator"] == "Ada"
    doubtful = client("POST", "/session", json=SESSION | {"mode": "mgue"}).json()
    assert doubtful["mode"] == "mgue" and all(q["kind"] == "pair" for q in doubtful["questions"])
    undone = client("POST", "/undo", json=undo | {"key": "undo-key-2"}).json()
    assert undone["undone"] is not None
    body = {"tab": TAB, "key": undone["questions"][0]["key"], "answer": "similar"}
    assert client("POST", "/answer", json=body).json()["num_answers"] == 29
    page = client("GET", "/answers?answer=similar&offset=5").json()
    assert page["num_answers"] == 29 and len(page["answers"]) == 24
    assert client("GET", "/answers?text=nobody").json()["num_answers"] == 0


def test_what_six_tiles_find_before_and_after_a_model(client, make_session):
    found = client("GET", "/change").json()
    assert (found["before"], found["now"], len(found["queries"])) == (0, 0, 6)
    for query in found["queries"]:
        assert (
            query["before"] == query["now"] and query["tile"] not in query["now"] and len(query["now"]) == 5
        )
    assert client("GET", "/change").json() == found  # the same six tiles each time


def test_tiles_are_pictures_made_anew_and_neighbours_are_named(client):
    picture = client("GET", "/tile/0.jpg")
    assert picture.headers["content-type"] == "image/jpeg"
    image = Image.open(io.BytesIO(picture.content))
    assert image.format == "JPEG" and image.size == (512, 512)
    near = client("GET", "/neighbours/0").json()
    assert near["name"].startswith("a<img") and len(near["neighbours"]) == 10  # a text; the page escapes it
    assert 0 not in [row["tile"] for row in near["neighbours"]]


@pytest.mark.parametrize("path", GETS)
def test_every_answer_forbids_what_the_page_does_not_need(client, path):
    response = client("GET", path)
    assert response.status_code == 200
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "script-src 'self';" in policy and "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert "no-store" in response.headers["cache-control"] or path.startswith("/tile")
    assert "server" not in response.headers and "access-control-allow-origin" not in response.headers


def test_pages_hold_no_inline_script_or_style_and_name_no_other_site(client):
    for path in (*(f"/{page.path}" for page in PAGES), *(f"/static/{name}" for name in static_files())):
        text = client("GET", path).text
        assert "innerHTML" not in text and "eval(" not in text and "style=" not in text
        assert " onclick" not in text.split("<body")[0] or path.endswith(".js")
        assert text.count("<script") == text.count('<script src="static/')
        assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("path", GETS)
@pytest.mark.parametrize("token", ["", "wrong", "../..", "x" * 32])
def test_nothing_is_reported_without_the_token(client, path, token):
    assert client("GET", path, token=token).status_code == 404
    assert client("POST", "/session", token=token, json=SESSION).status_code in (404, 405)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "[::1", "a@b"]
)
def test_another_host_is_refused(client, host):
    for path in GETS:
        assert client("GET", path, headers={"host": host}).status_code == 403
    assert client("POST", "/session", json=SESSION, headers={"host": host}).status_code == 403


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "http://localhost:9999", f"https//{HOST}", f"http://{HOST}.evil.example",
     f"file://{HOST}", "http://[", ""],
)  # fmt: skip
@pytest.mark.parametrize("name", POSTS)
def test_no_page_of_another_origin_writes(client, make_session, origin, name):
    assert client("POST", f"/{name}", json=SESSION, headers={"origin": origin}).status_code == 403
    assert client("GET", "/state", headers={"origin": origin}).status_code == 403
    assert client("GET", "/state").json()["num_answers"] == 0


def test_warnings_stay_on_the_page(app, make_client):
    client = make_client(app)
    assert client("GET", "/state").json()["warnings"] == []


def test_a_write_without_an_origin_is_refused(app):
    import asyncio

    import httpx

    async def go():
        asgi, access = app
        transport = httpx.ASGITransport(asgi)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as http:
            return await http.post(f"/{access.token}/session", json=SESSION)

    assert asyncio.run(go()).status_code == 403


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""]
)
def test_only_json_is_read(client, kind):
    response = client("POST", "/session", content=json.dumps(SESSION), headers={"content-type": kind})
    assert response.status_code == 415


def test_a_long_body_is_refused_whatever_it_declares(client):
    headers = {"content-type": "application/json"}
    long = b'{"tab": "' + b"x" * (MAX_BODY_BYTES + 1) + b'"}'
    assert client("POST", "/session", content=long, headers=headers).status_code == 413

    async def chunks():
        for _ in range(100):
            yield b"x" * 1000

    assert client("POST", "/session", content=chunks(), headers=headers).status_code == 413


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_other_methods_are_refused(client, method):
    assert client(method, "/answer").status_code == 405


@pytest.mark.parametrize(
    "path",
    ["/tile/60.jpg", "/tile/-1.jpg", "/tile/1e3.jpg", "/tile/٣.jpg", "/tile/999999999999999999.jpg",
     "/tile/..%2f..%2fetc%2fpasswd.jpg", "/tile/tile01.png", "/static/../app.py", "/static/..%2fapp.py",
     "/static/%2e%2e/app.py", "/static/teach.html%00", "//etc/passwd", "/answers.sqlite"],
)  # fmt: skip
def test_no_path_leads_out(client, path):
    response = client("GET", path)
    assert response.status_code in (400, 404)
    assert b"import" not in response.content


@pytest.mark.parametrize("body", [[], 3, "x", {}, {"tab": 3}, SESSION | {"mode": "x"}])
@pytest.mark.parametrize("name", POSTS)
def test_a_wrong_body_is_one_sentence(client, name, body):
    response = client("POST", f"/{name}", json=body)
    assert response.status_code in (400, 409) and response.json()["error"].endswith(".")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.fixed_dictionaries(
    {},
    optional={
        "tab": st.just(TAB) | JSON,
        "key": st.text("ab-_0", min_size=6, max_size=70) | JSON,
        "annotator": st.text(max_size=600) | JSON,
        "mode": st.sampled_from(["pairs", "glances"]) | JSON,
        "answer": st.sampled_from(["similar", "dissimilar", "unsure"]) | JSON,
        "answer_id": st.integers() | JSON,
        "first": st.integers(-2, 70) | JSON,
        "second": st.integers(-2, 70) | JSON,
        "other": st.integers(-2, 70) | JSON,
        "file": st.integers(0, 3) | JSON,
        "elapsed_s": st.floats() | JSON,
        "sentence": st.text(max_size=600) | JSON,
        "set_id": st.integers(1, 9) | JSON,
        "picked": st.lists(st.integers(-1, 13), max_size=13) | JSON,
        "to": st.integers(1, 9) | JSON,
        "act": st.sampled_from(["move", "merge"]) | JSON,
        "tiles": st.lists(st.integers(-2, 70), max_size=5) | JSON,
        "into": st.integers(-2, 70) | JSON,
    },
)


@pytest.fixture(scope="module")
def fuzzed(tiles_folder, tmp_path_factory):
    from anneal_jax.annotation.questions.cold_start import unit_directions
    from anneal_jax.annotation.questions.plan import make_plan
    from anneal_jax.annotation.session import AnnotationSession
    from anneal_jax.answers.store import AnswerStore

    directions = unit_directions(np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32))
    store = AnswerStore(tmp_path_factory.mktemp("fuzz") / "answers.sqlite", [str(i) for i in range(60)])
    session = AnnotationSession(store, directions, np.arange(60), make_plan(directions, seed=0))
    session.open_tab(TAB, "Ada")
    with served(tiles_folder, session) as parts:
        yield parts


def _call(parts, method, path, **options):
    import asyncio

    import httpx

    async def go():
        asgi, access = parts
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(asgi), base_url=f"http://{HOST}"
        ) as http:
            headers = {"origin": f"http://{HOST}", "content-type": "application/json"}
            return await http.request(method, f"/{access.token}{path}", headers=headers, **options)

    return asyncio.run(go())


@settings(max_examples=150)
@given(name=st.sampled_from(POSTS), body=FIELDS | JSON)
def test_no_body_breaks_the_server(fuzzed, name, body):
    response = _call(fuzzed, "POST", f"/{name}", content=json.dumps(body).encode())
    assert response.status_code in (200, 400, 409), response.text


@settings(max_examples=100)
@given(name=st.sampled_from(POSTS), body=st.binary(max_size=200))
def test_no_bytes_break_the_server(fuzzed, name, body):
    assert _call(fuzzed, "POST", f"/{name}", content=body).status_code in (200, 400, 409)


PLACES = [
    "/tile/",
    "/neighbours/",
    "/static/",
    "/answers?offset=",
    "/answers?text=",
    "/state?annotator=",
    "/",
]


@settings(max_examples=150)
@given(place=st.sampled_from(PLACES), rest=st.text(max_size=30))
def test_no_path_breaks_the_server(fuzzed, place, rest):
    from urllib.parse import quote

    response = _call(fuzzed, "GET", place + quote(rest.encode("utf-8", "surrogatepass")))
    assert response.status_code in (200, 307, 400, 404)


def test_a_full_disk_is_reported_and_nothing_is_acknowledged(client, monkeypatch):
    from anneal_jax.answers import writing

    view = client("POST", "/session", json=SESSION).json()
    body = {"tab": TAB, "key": view["questions"][0]["key"], "answer": "similar"}

    def full(*_):
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(writing, "give", full)
        response = client("POST", "/answer", json=body)
    assert response.status_code == 507 and "was not stored" in response.json()["error"]
    assert client("GET", "/state").json()["num_answers"] == 0
    assert (
        client("POST", "/answer", json=body).json()["num_answers"] == 1
    )  # the same key, when there is room


def test_an_allowed_host_may_call_and_frame_and_is_reported(tiles_folder, make_session):
    with served(tiles_folder, make_session(), allowed_hosts=["tunnel.example"]) as parts:
        own = {"host": "tunnel.example", "origin": "https://tunnel.example"}
        response = _with(parts, own)
        assert response.status_code == 200
        assert "frame-ancestors https://tunnel.example" in response.headers["content-security-policy"]
        assert _with(parts, own | {"origin": "https://other.example"}).status_code == 403
        assert _with(parts, own | {"host": "other.example"}).status_code == 403
    access = make_access("127.0.0.1", ["tunnel.example"])
    assert address(access, "127.0.0.1", 8765) == f"http://127.0.0.1:8765/{access.token}/"
    (also,) = exposure(access, "127.0.0.1", 8765)
    assert "tunnel.example" in also
    (exposed,) = exposure(make_access("0.0.0.0"), "0.0.0.0", 8765)
    assert exposed.startswith("Exposed: anyone who reaches 0.0.0.0:8765")


def test_the_address_that_is_reported_is_answered_also_where_it_is_written_in_capitals():
    access = make_access("0.0.0.0", ["Tunnel.Example"])
    assert access.may_call(urlsplit(address(access, "0.0.0.0", 8765)).netloc)
    assert access.may_call("tunnel.example") and access.may_write(
        "https://tunnel.example", "tunnel.example"
    )
    assert not access.may_call("evil.example")


@pytest.mark.parametrize(
    "name",
    ["tunnel.example:8443", "https://tunnel.example", "tunnel.example/", "ada@tunnel.example", "*.example",
     "x; script-src *", "::1", "[::1]", ""],
)  # fmt: skip
def test_an_allowed_host_that_is_no_name_is_refused_in_a_sentence(name):
    with pytest.raises(ConfigError, match=r"give the name alone, as in tunnel\.example") as caught:
        make_access("127.0.0.1", ["good.example", name])
    assert repr(name) in str(caught.value)


def test_the_curve_is_that_of_the_present_sentence(tiles_folder, make_session, make_client):
    rows = [{"set_id": set_id, "refusal": ""} for set_id in (1, 2)]
    with served(tiles_folder, make_session(), learning=SimpleNamespace(curve=rows, to_json=dict)) as parts:
        assert make_client(parts)("GET", "/answers").json()["curve"] == rows[1:]


def test_what_a_page_says_under_another_sentence_is_refused_and_changes_nothing(client):
    view = client("POST", "/session", json=SESSION).json()
    shown = client("GET", "/search/results?tile=3").json()
    body = {"tab": TAB, "key": view["questions"][0]["key"], "answer": "similar"}
    client("POST", "/answer", json=body)
    page = client("GET", "/answers").json()
    assert view["set_id"] == shown["set_id"] == page["set_id"]
    begin = {"tab": TAB, "sentence": "Same roof colour", "key": "begin-roofs"}
    now = client("POST", "/sets/begin", json=begin).json()
    assert now["set_id"] != view["set_id"]
    (row,) = page["answers"]
    said = {"tab": TAB, "key": "another-key", "set_id": view["set_id"]}
    for name, more in {
        "volunteer": {"first": 3, "second": shown["results"][0]["tile"], "answer": "similar"},
        "correct": {"answer_id": row["answer_id"], "answer": "dissimilar"},
        "retract": {"answer_id": row["answer_id"]},
        "undo": {},
    }.items():
        response = client("POST", f"/{name}", json=said | more)
        assert response.status_code == 409, name
        assert response.json()["error"] == "the sentence is now 'Same roof colour'; reload this page."
        response = client("POST", f"/{name}", json={key: said[key] for key in ("tab", "key")} | more)
        assert response.status_code == 400 and "set_id" in response.json()["error"]
    assert client("GET", "/answers").json()["answers"] == []
    client("POST", "/sets/go", json={"tab": TAB, "to": view["set_id"], "key": "back-to-it"})
    assert client("GET", "/answers").json()["answers"] == [row]
    assert client("POST", "/undo", json=said).json()["undone"] is not None


def _with(parts, headers):
    import asyncio

    import httpx

    async def go():
        asgi, access = parts
        async with httpx.AsyncClient(transport=httpx.ASGITransport(asgi), base_url="http://x") as http:
            return await http.post(f"/{access.token}/session", json=SESSION, headers=headers)

    return asyncio.run(go())


def test_two_servers_never_share_a_token():
    tokens = {make_access("127.0.0.1").token for _ in range(100)}
    assert len(tokens) == 100 and min(map(len, tokens)) >= 32
