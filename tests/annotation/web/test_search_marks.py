"""What marks on results do over HTTP: to a file, which has a place of its own, and to the order."""

import numpy as np

from anneal_jax.annotation.refine import TRUST
from tests.annotation.conftest import NUM_TILES, served
from tests.annotation.driving import TAB
from tests.annotation.web.test_search_routes import by_cosine, drop, image_file, known, mark, results
from tests.reference import refine as reference


def say_of_file(client, query, other, answer, key="key-number-1", **more):
    said = {"annotator": "Ada", "other": other, "answer": answer, "key": key}
    return client("POST", "/search/mark", json={**said, **query, **more})


def test_a_mark_of_a_file_is_an_answer_and_can_be_taken_back(
    client, make_session, make_client, tiles_folder
):
    query = {"dropped": drop(client, image_file()).json()["dropped"]}
    set_id = results(client, f"dropped={query['dropped']}")["set_id"]
    for number, (other, answer) in enumerate(
        [(4, "similar"), (9, "dissimilar"), (4, "dissimilar"), (9, "none"), (11, "unsure"), (0, "similar")]
    ):
        reply = say_of_file(client, query, other, answer, f"key-number-{number}", set_id=set_id)
        assert reply.status_code == 200, reply.text
    expected = {4: "dissimilar", 11: "unsure", 0: "similar"}
    assert {mark["tile"]: mark["known"] for mark in reply.json()["marks"]} == expected
    found = results(client, f"dropped={query['dropped']}")
    assert {tile: word for tile, (word, _) in known(found).items()} == expected
    listed = client("GET", "/answers").json()["answers"]
    assert [(row["file"], row["tile"], row["answer"]) for row in listed] == [
        (1, tile, word) for tile, word in reversed(expected.items())
    ]
    assert listed[0]["names"] == ["File 1", "tile0"] and listed[0]["annotator"] == "Ada"
    assert client("GET", "/state").json()["num_answers"] == 0
    assert client("GET", "/search/files").json() == {"files": [{"file": 1, "num_answers": 3}]}

    for number, other in enumerate((4, 11, 0)):  # the file stays where it is, whatever stands about it
        reply = say_of_file(client, {"file": 1}, other, "none", f"key-of-none-{number}", set_id=set_id)
    assert reply.json()["marks"] == [] and client("GET", "/search/files").json() == {"files": []}
    for other, answer in expected.items():
        reply = say_of_file(client, {"file": 1}, other, answer, f"key-again-{other}", set_id=set_id)
    found = results(client, "file=1")
    assert {tile: word for tile, (word, _) in known(found).items()} == expected

    with served(tiles_folder, make_session()) as parts:  # after a restart
        again = make_client(parts)
        assert known(results(again, "file=1")) == known(found)
        assert results(again, "file=1")["results"] == found["results"]
        dropped = drop(again, image_file()).json()["dropped"]
        assert known(results(again, f"dropped={dropped}")) == known(found)
        assert known(again("GET", f"/search/marks?dropped={dropped}").json()) == known(found)
        other = drop(again, image_file((1, 2, 3))).json()["dropped"]
        assert known(results(again, f"dropped={other}")) == {}


def test_a_mark_of_a_file_that_cannot_be_stored_is_one_sentence(client):
    query = {"dropped": drop(client, image_file()).json()["dropped"]}
    set_id = results(client, f"dropped={query['dropped']}")["set_id"]
    for status, sentence, change in [
        (409, "reload this page", {"set_id": set_id + 1}),
        (400, "there is no such tile", {"other": NUM_TILES}),
        (400, "other must be a whole number", {"other": "4"}),
        (400, "drop it again", {"dropped": "x"}),
        (400, "answer must be one of similar, dissimilar, unsure, none", {"answer": "yes"}),
        (400, "annotator must be text", {"annotator": 3}),
        (400, "must be sent to /volunteer", {"tile": 5}),
        (400, "key must be 8 to 64", {"key": "k"}),
    ]:
        said = {"other": 4, "answer": "similar", "set_id": set_id, "key": "key-number-1", **change}
        reply = client("POST", "/search/mark", json={"annotator": "Ada", **query, **said})
        assert (reply.status_code, sentence in reply.json()["error"]) == (status, True), reply.text
    assert client("GET", "/search/files").json() == {"files": []}
    assert say_of_file(client, query, 4, "similar", set_id=set_id).status_code == 200
    reply = say_of_file(client, query, 4, "dissimilar", set_id=set_id)
    assert reply.status_code == 409 and "belongs to another answer" in reply.json()["error"]


def test_marks_re_rank_at_once_those_called_right_first_and_the_wrong_ones_last(client, directions):
    plain = results(client, "tile=7&count=59")
    assert results(client, "tile=7&count=59&refined=1")["results"] == plain["results"]  # no marks yet
    order = [row["tile"] for row in plain["results"]]
    right, wrong = [order[3], order[40]], [order[0], order[5]]
    for number, (tiles, word) in enumerate(((right, "similar"), (wrong, "dissimilar"))):
        for tile in tiles:
            mark(client, 7, tile, word, f"key-number-{number}-{tile}")
    assert [row["tile"] for row in results(client, "tile=7&count=59")["results"]] == order
    found = results(client, "tile=7&count=59&refined=1")
    assert found["is_refined"] and not plain["is_refined"]
    moved = reference.refine(directions[7], directions[right], directions[wrong], TRUST)
    expected, cosines = by_cosine(directions, moved)
    rank = dict.fromkeys(right, -1) | dict.fromkeys(wrong, 1)
    expected = sorted((tile for tile in expected if tile != 7), key=lambda tile: rank.get(tile, 0))
    assert [row["tile"] for row in found["results"]] == expected
    np.testing.assert_allclose(
        [row["similarity"] for row in found["results"]], cosines[expected], atol=1e-6
    )


def test_the_least_cosine_bounds_the_list_and_is_counted_over_the_archive(client, directions):
    cosines = np.delete(directions.astype(np.float64) @ directions[7].astype(np.float64), 7)
    for least in (0, 10, 55, 100):
        found = results(client, f"tile=7&count=5&least={least}")
        expected = int(np.sum(cosines >= least / 100)) if least else NUM_TILES - 1
        assert found["num_results"] == expected
        assert len(found["results"]) == min(5, expected)
        assert found["least"]["probability"] is None
    assert client("GET", "/search/results?tile=7&least=101").status_code == 400
    assert client("GET", "/search/results?tile=7&refined=2").status_code == 400


def test_undo_takes_back_marks_on_files_and_tiles_in_the_order_made(client):
    dropped = drop(client, image_file()).json()["dropped"]
    set_id = results(client, f"dropped={dropped}")["set_id"]
    say_of_file(client, {"dropped": dropped}, 4, "similar", "key-of-mark-1", set_id=set_id)
    mark(client, 7, 9, "dissimilar", "key-of-mark-2")
    say_of_file(client, {"dropped": dropped}, 5, "dissimilar", "key-of-mark-3", set_id=set_id)
    listed = client("GET", "/answers").json()["answers"]
    assert [row["names"] for row in listed] == [
        ["File 1", "tile5"],
        ["tile7", "tile9"],
        ["File 1", "tile4"],
    ]
    for number, row in enumerate([*listed, None]):
        body = {"tab": TAB, "key": f"undo-number-{number}", "set_id": set_id}
        for _ in range(2):  # the second is a repeated request
            undone = client("POST", "/undo", json=body).json()["undone"]
            assert (undone and undone["names"]) == (row and row["names"])
    assert client("GET", "/answers").json()["answers"] == []


def test_a_reply_holds_so_many_marks_those_of_the_listed_tiles_first(client, monkeypatch):
    monkeypatch.setattr("anneal_jax.annotation.web.search_routes._MAX_MARKS", 3)
    order = [row["tile"] for row in results(client, "tile=7&count=59")["results"]]
    for place in range(8):
        word = "dissimilar" if place else "similar"
        mark(client, 7, order[-1 - place], word, f"key-number-{place}")
    found = results(client, "tile=7")
    assert len(found["marks"]) == 3 and (found["num_right"], found["num_wrong"]) == (1, 7)
    among = [order[-6], order[-3]]
    query = f"/search/marks?tile=7&among={among[0]},{among[1]}"
    assert {*among} <= known(client("GET", query).json()).keys()
    refined = results(client, "tile=7&count=59&refined=1")["results"]
    assert refined[0]["tile"] == order[-1]  # also by the marks that were not sent
    for wrong in ("60", "x", ",", ",".join(["1"] * 1001)):
        assert client("GET", f"/search/marks?tile=7&among={wrong}").status_code == 400
