"""The wall of groups and the sets over HTTP: what is shown, and that each act is stored once."""

import numpy as np
import pytest

from anneal_jax.annotation.web.group_routes import MAX_MOVED
from anneal_jax.types import Answer
from tests.annotation.conftest import NUM_TILES, served
from tests.annotation.web.test_app import SESSION, TAB


@pytest.fixture
def client(tiles_folder, make_session, make_client):
    """A page before three groups, of 4, 3 and 2 tiles, and a tile that is like none."""
    session = make_session()
    session.open_tab(TAB, "Ada")
    said = [(0, 5), (5, 10), (10, 15), (1, 6), (6, 11), (2, 7)]
    for first, second in said:
        session.volunteer(TAB, (first, second), Answer.SIMILAR, f"mark-{first}-{second}")
    session.volunteer(TAB, (0, 3), Answer.DISSIMILAR, "mark-0-3-no")
    with served(tiles_folder, session) as parts:
        client = make_client(parts)
        client.session = session
        yield client


def wall(client, query=""):
    return client("GET", f"/groups/wall{query}").json()


def tiles_of(client, tile):
    return sorted(row["tile"] for row in client("GET", f"/groups/of/{tile}").json()["tiles"])


def act(client, key="act-number-1", **body):
    body = {"tab": TAB, "set_id": client.session.set_id, "act": "move", "key": key} | body
    return client("POST", "/groups/act", json=body)


def test_the_wall_shows_the_largest_group_first_and_pages(client):
    page = wall(client)
    assert [group["size"] for group in page["groups"]] == [4, 3, 2]
    assert (page["num_groups"], page["num_grouped"], page["num_alone"]) == (3, 9, 1)
    assert page["groups"][0]["tiles"][0]["tile"] == page["groups"][0]["tile"]
    second = wall(client, "?offset=1&count=1&shown=2")["groups"]
    assert [(group["number"], len(group["tiles"])) for group in second] == [(2, 2)]
    assert tiles_of(client, 15) == [0, 5, 10, 15]
    assert client("GET", "/groups/alone").json()["tiles"] == [{"tile": 3, "name": "tile03.png"}]
    assert client("GET", "/groups/of/40").status_code == 400
    assert client("GET", "/groups/wall?offset=x").status_code == 400


def test_a_preview_says_what_the_act_then_stores_and_undo_takes_it_back(client):
    before = client.session.answers()
    body = {"act": "move", "tiles": [5, 15], "into": 6}
    promised = client("POST", "/groups/preview", json=body).json()
    assert client.session.answers() == before
    for _ in range(2):  # the second is a repeated request
        assert act(client, tiles=[5, 15], into=6).status_code == 200
    records = client.session.store.records()[len(before) :]
    assert len(records) == promised["num_given"]
    taken_back = [record for record in client.session.store.records() if record.undone_at]
    assert len(taken_back) == promised["num_taken_back"] == 3
    assert tiles_of(client, 6) == [1, 5, 6, 11, 15] and tiles_of(client, 0) == [0, 10]
    undo = {"tab": TAB, "key": "undo-number-1", "set_id": client.session.set_id}
    assert client("POST", "/undo", json=undo).json()["undone"] is not None
    assert tiles_of(client, 6) == [1, 6, 11] and tiles_of(client, 0) == [0, 5, 10, 15]


def test_tiles_are_split_off_and_groups_merged(client):
    assert act(client, tiles=[10, 15], into=None).status_code == 200
    assert tiles_of(client, 10) == [10, 15] and tiles_of(client, 0) == [0, 5]
    assert act(client, "act-number-2", act="merge", tiles=[2, 10], into=1).status_code == 200
    assert tiles_of(client, 1) == [1, 2, 6, 7, 10, 11, 15]
    assert client.session.counters("")["num_contradictions"] == 0


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"tiles": [0], "into": 5}, 409, "there is no tile to move"),
        ({"tiles": [0, 5, 10, 15]}, 409, "already a group of their own"),
        ({"tiles": []}, 400, "list of 1 to 1,000"),
        ({"tiles": [0] * (MAX_MOVED + 1)}, 400, "list of 1 to 1,000"),
        ({"tiles": [0, NUM_TILES]}, 400, "whole numbers below 60"),
        ({"tiles": [0, True]}, 400, "whole numbers below 60"),
        ({"tiles": [0], "into": NUM_TILES}, 400, "no such tile"),
        ({"tiles": [0], "into": -1}, 400, "must be a whole number"),
        ({"tiles": [0], "act": "merge"}, 400, "into must name the group"),
        ({"tiles": [0], "act": "burn"}, 400, "act must be one of"),
        ({"tiles": [0], "into": 1, "set_id": 9}, 409, "reload this page"),
    ],
)
def test_what_cannot_be_done_is_refused_and_nothing_is_stored(client, body, status, message):
    before = client.session.store.path.read_bytes()
    response = act(client, **body)
    assert response.status_code == status and message in response.json()["error"]
    assert client.session.store.path.read_bytes() == before


def test_sets_are_begun_renamed_listed_and_gone_back_to(client):
    land_use = client.session.set_id
    view = client("POST", "/session", json=SESSION).json()

    def post(name, key, **body):
        return client("POST", f"/sets/{name}", json={"tab": TAB, "key": key, "set_id": land_use} | body)

    for _ in range(2):  # the second is a repeated request
        begun = post("begin", "begin-crops", sentence="Same crop").json()
        assert (begun["sentence"], begun["num_answers"]) == ("Same crop", 0)
    response = post("rename", "rename-a-set", sentence="Same plant")
    assert response.status_code == 409  # the page shows the other set
    assert post("go", "back-to-land", to=land_use).json()["num_answers"] == view["num_answers"]
    assert post("rename", "rename-a-set", sentence="Same use of land").json()["set_id"] == land_use
    assert post("begin", "begin-again", sentence="Same use of land").status_code == 409
    assert post("go", "go-nowhere", to=77).status_code == 409
    (only,) = client("GET", "/sets").json()["sets"]
    assert only == {
        "set_id": land_use,
        "sentence": "Same use of land",
        "num_answers": 7,
        "is_present": True,
    }
    response = client("POST", "/sentence", json={"tab": TAB, "sentence": "Something else"})
    assert response.status_code == 409 and "begin another one" in response.json()["error"]


def test_hundreds_of_tiles_of_a_group_of_thousands_are_moved_as_one_act(tmp_path):
    from anneal_jax.annotation.groups import act as act_of
    from anneal_jax.annotation.groups import moved
    from anneal_jax.annotation.questions.plan import SILENT, make_plan
    from anneal_jax.annotation.session import AnnotationSession
    from anneal_jax.answers.store import AnswerStore
    from anneal_jax.answers.writing import Given

    num_tiles, num_moved = 3_000, 300
    directions = np.random.default_rng(0).normal(size=(num_tiles, 8)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    store = AnswerStore(tmp_path / "answers.sqlite", [str(tile) for tile in range(num_tiles)])
    store.set_sentence("Same land use")
    store.give([Given(0, tile, Answer.SIMILAR, "Ada") for tile in range(1, num_tiles - 1)])
    session = AnnotationSession(store, directions, np.arange(num_tiles), make_plan(directions, seed=0))
    session.open_tab(TAB, "Ada", SILENT)
    chosen = range(1, 1 + num_moved)
    act_of(session, TAB, lambda standing: moved(standing, chosen, num_tiles - 1), "act-number-1")
    assert len(session.standing.group_of(num_tiles - 1)) == num_moved + 1
    assert len(session.standing.group_of(0)) == num_tiles - 1 - num_moved
    session.undo(TAB, "undo-number-1")
    assert len(session.standing.group_of(0)) == num_tiles - 1
