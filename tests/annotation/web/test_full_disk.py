"""A disk that is full, for once a real one: a file system of a few hundred kilobytes."""

import pytest

from anneal_jax.answers.store import AnswerStore
from tests.annotation.conftest import NUM_TILES, served
from tests.annotation.web.test_app import SESSION, TAB
from tests.small_disks import small_disk


@pytest.fixture
def full_disk(tmp_path):
    """A file system of 320 kB; needs the right to mount one."""
    with small_disk(tmp_path / "disk", "320k") as folder:
        yield folder


@pytest.fixture
def client_on(tiles_folder, directions, make_client):
    """Return a client of a server whose answers lie in a folder."""
    import contextlib

    import numpy as np

    from anneal_jax.annotation.questions.plan import make_plan
    from anneal_jax.annotation.session import AnnotationSession

    with contextlib.ExitStack() as stack:

        def make(folder):
            store = AnswerStore(folder / "answers.sqlite", [f"tile{i}" for i in range(NUM_TILES)])
            store.set_sentence("Same land use")
            session = AnnotationSession(
                store, directions, np.arange(NUM_TILES), make_plan(directions, seed=0)
            )
            return make_client(stack.enter_context(served(tiles_folder, session)))

        yield make


def test_a_full_disk_is_reported_and_what_was_acknowledged_is_there(full_disk, client_on):
    client = client_on(full_disk)
    view = client("POST", "/session", json=SESSION).json()
    (full_disk / "ballast").write_bytes(b"x" * 100_000)
    acknowledged = []
    while True:
        key = view["questions"][0]["key"]
        body = {"tab": TAB, "key": key, "answer": "unsure"}
        response = client("POST", "/answer", json=body)
        if response.status_code != 200:
            break
        view = response.json()
        acknowledged.append(key)
    assert response.status_code == 507 and len(acknowledged) > 10
    assert "no room left" in response.json()["error"] and "free some space" in response.json()["error"]
    assert client("GET", "/state").json()["num_answers"] == len(acknowledged)
    (full_disk / "ballast").unlink()
    assert client("POST", "/answer", json=body).json()["num_answers"] == len(acknowledged) + 1
    store = AnswerStore(full_disk / "answers.sqlite", [f"tile{i}" for i in range(NUM_TILES)])
    assert {record.key for record in store.records()} == {*acknowledged, key}
