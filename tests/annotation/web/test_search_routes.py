"""Search by example over HTTP: what is found, what a file may be, and what a mark teaches."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from anneal_jax.annotation.learning.trainer import TrainerProcess
from anneal_jax.annotation.search_by_example import (
    ANSWERS_SHOWN,
    calibrate,
    nearest,
    nearest_answers,
    spread_order,
)
from anneal_jax.annotation.web.access import MAX_BODY_BYTES
from anneal_jax.annotation.web.uploads import MAX_UPLOAD_BYTES
from anneal_jax.answers import writing
from anneal_jax.config import ExperimentConfig
from anneal_jax.evaluation.calibration import fit_calibration
from anneal_jax.types import Answer
from tests.annotation.conftest import NUM_TILES, encode_by_colour

TAB = "tab-number-1"
SESSION = {"tab": TAB, "annotator": "Ada", "mode": "pairs"}
OCTETS = {"content-type": "application/octet-stream"}


def image_file(colour=(200, 30, 90), kind="PNG", size=(40, 30), mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, size, colour).save(buffer, kind)
    return buffer.getvalue()


def png_of_declared_size(width, height):
    """A PNG of some bytes whose header declares any size."""
    header = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 99)), (b"IEND", b"")]
    framed = (struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def drop(client, data):
    return client("POST", "/search/drop", content=data, headers=OCTETS)


def mark(client, first, second, answer, key="key-number-1"):
    set_id = client("POST", "/session", json=SESSION).json()["set_id"]
    said = {"tab": TAB, "set_id": set_id, "first": first, "second": second, "answer": answer, "key": key}
    return client("POST", "/volunteer", json=said).json()


def results(client, query):
    response = client("GET", f"/search/results?{query}")
    assert response.status_code == 200, response.text
    return response.json()


def known(found):
    """Return what is known of other tiles and the answer that says so, by tile."""
    return {mark["tile"]: (mark["known"], mark["answer_id"]) for mark in found["marks"]}


def by_cosine(embeddings, query):
    """Plain: every cosine in float64, sorted."""
    cosines = embeddings.astype(np.float64) @ query.astype(np.float64)
    return sorted(range(len(cosines)), key=lambda tile: (-round(cosines[tile], 12), tile)), cosines


def test_a_tile_finds_what_sorting_all_cosines_finds_and_not_itself(client, directions):
    found = results(client, "tile=7")
    order, cosines = by_cosine(directions, directions[7])
    order.remove(7)
    assert [row["tile"] for row in found["results"]] == order[:24]
    np.testing.assert_allclose([r["similarity"] for r in found["results"]], cosines[order[:24]], atol=1e-6)
    assert found["results"][0]["name"] == f"tile{order[0]:02d}.png"
    assert (found["model"], found["answers"]) == (0, [])
    assert (found["name"], found["num_results"]) == ("tile07.png", NUM_TILES - 1)
    assert len(results(client, "tile=7&count=1000")["results"]) == NUM_TILES - 1


def test_a_file_is_searched_by_its_feature_and_shown_from_memory(client, directions):
    taken = drop(client, image_file()).json()
    assert taken["tile"] is None and taken["name"] is None
    found = results(client, f"dropped={taken['dropped']}&count=60")
    feature = encode_by_colour(np.full((1, 1, 3), (200, 30, 90), np.uint8))
    query = feature - directions.mean(axis=0)
    order, cosines = by_cosine(directions, query / np.linalg.norm(query))
    assert [row["tile"] for row in found["results"]] == order
    np.testing.assert_allclose([r["similarity"] for r in found["results"]], cosines[order], atol=1e-6)
    assert (found["marks"], found["name"], found["num_results"]) == ([], None, NUM_TILES)
    picture = client("GET", f"/search/dropped/{taken['dropped']}.jpg")
    with Image.open(io.BytesIO(picture.content)) as image:
        assert (image.format, image.size) == ("JPEG", (512, 512))
        np.testing.assert_allclose(np.asarray(image)[256, 256], (200, 30, 90), atol=3)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF"])
def test_every_kind_of_tile_is_taken(client, kind):
    assert drop(client, image_file(kind=kind)).status_code == 200


def test_a_file_of_the_archive_is_that_tile(client, tiles_folder):
    taken = drop(client, (tiles_folder / "tile07.png").read_bytes()).json()
    assert (taken["tile"], taken["name"]) == (7, "tile07.png")


def test_nothing_that_is_dropped_reaches_a_disk(client, tmp_path, tiles_folder):
    before = [sorted(folder.rglob("*")) for folder in (tmp_path, tiles_folder)]
    taken = drop(client, image_file()).json()
    results(client, f"dropped={taken['dropped']}")
    assert [sorted(folder.rglob("*")) for folder in (tmp_path, tiles_folder)] == before


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"GIF89a", "does not contain a JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP file"),
        (b"<svg xmlns='x'/>", "does not contain a JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP file"),
        (b"file:///etc/passwd", "does not contain a JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP file"),
        (image_file()[:60], "is truncated or corrupt"),
        (png_of_declared_size(100_000, 100_000), "declares more than 67,108,864 pixels"),
        (image_file(30_000, mode="I;16"), "stores more than 8 bits a channel"),
        (b"", "is empty"),
    ],
)
def test_what_is_no_tile_is_refused_in_a_sentence(client, data, sentence):
    response = drop(client, data)
    assert response.status_code == 400
    assert sentence in response.json()["error"]
    assert response.json()["error"].endswith(
        "; drop a JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP file of 8 bits."
    )


def test_only_the_last_files_are_kept(client):
    keys = [drop(client, image_file((shade, 0, 0), size=(8, 8))).json()["dropped"] for shade in range(17)]
    assert client("GET", f"/search/dropped/{keys[1]}.jpg").status_code == 200
    for path in (f"/search/results?dropped={keys[0]}", f"/search/dropped/{keys[0]}.jpg"):
        response = client("GET", path)
        assert response.status_code == 400 and "drop it again" in response.json()["error"]


def test_a_file_is_taken_in_one_place_of_one_type_and_length(client, monkeypatch):
    data = image_file()
    assert client("POST", "/search/drop", json={"file": "x"}).status_code == 415
    assert client("POST", "/search/drop", content=data).status_code == 415
    for kind in ("image/png", "multipart/form-data", "application/x-www-form-urlencoded", "text/plain"):
        assert (
            client("POST", "/search/drop", content=data, headers={"content-type": kind}).status_code == 415
        )
    for path in ("/answer", "/volunteer", "/search/tiles", "/search/drop/", "//search/drop"):
        assert client("POST", path, content=data, headers=OCTETS).status_code in (404, 415)
    assert drop(client, bytes(MAX_UPLOAD_BYTES + 1)).status_code == 413
    assert drop(client, bytes(MAX_BODY_BYTES + 1)).status_code == 400  # read, and no image
    foreign = {**OCTETS, "origin": "http://evil.example"}
    assert client("POST", "/search/drop", content=data, headers=foreign).status_code == 403
    assert client("GET", "/search/drop").status_code == 405

    async def endless():
        for _ in range(5):
            yield bytes(MAX_UPLOAD_BYTES // 4)

    assert client("POST", "/search/drop", content=endless(), headers=OCTETS).status_code == 413


@pytest.mark.parametrize(
    "query",
    [
        "",
        "tile=60",
        "tile=-1",
        "tile=x",
        "dropped=x",
        "tile=3&count=1001",
        "tile=3&count=-1",
        "tile=3&count=٣",
    ],
)
def test_a_wrong_search_is_one_sentence(client, query):
    response = client("GET", f"/search/results?{query}")
    assert response.status_code == 400 and response.json()["error"].endswith(".")


def offered(client, query):
    reply = client("GET", f"/search/tiles?{query}").json()
    return [row["tile"] for row in reply["tiles"]], reply["num_tiles"]


def test_tiles_are_found_by_name_and_the_wall_shows_each_once(client):
    assert offered(client, "text=TILE1") == ([*range(10, 20)], 10)
    assert offered(client, "text=TILE1&offset=8&count=5") == ([18, 19], 10)
    assert offered(client, "text=onerror") == ([0], 1)
    assert offered(client, "text=nothing") == ([], 0)
    pages = [offered(client, f"count=25&offset={start}")[0] for start in (0, 25, 50)]
    assert [len(page) for page in pages] == [25, 25, 10]
    assert sorted(tile for page in pages for tile in page) == [*range(NUM_TILES)]
    for wrong in ("offset=61", "offset=-1", "count=201", "count=x"):
        assert client("GET", f"/search/tiles?{wrong}").status_code == 400


def test_the_wall_shows_every_kind_before_any_twice(directions):
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.arange(8), [40, 30, 20, 10, 6, 5, 4, 3])
    centres = np.linalg.qr(rng.normal(size=(16, 16)))[0][:8].astype(np.float32)
    tiles = centres[kinds] + rng.normal(0, 0.03, (len(kinds), 16)).astype(np.float32)
    tiles /= np.linalg.norm(tiles, axis=1, keepdims=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anneal_jax.annotation.search_by_example._KINDS_SHOWN", 8)
        order = spread_order(tiles, seed=3)
    assert sorted(order.tolist()) == [*range(len(kinds))]
    assert kinds[order[:8]].tolist() == [*range(8)]  # the largest first
    assert kinds[order[8:16]].tolist() == [*range(8)]
    means = np.stack([tiles[kinds == kind].mean(axis=0) for kind in range(8)])
    for kind, tile in enumerate(order[:8].tolist()):
        distances = ((tiles[kinds == kind] - means[kind]) ** 2).sum(axis=1)
        assert np.flatnonzero(kinds == kind)[distances.argmin()] == tile
    np.testing.assert_array_equal(spread_order(directions, seed=1), spread_order(directions, seed=1))


@pytest.mark.parametrize("tiles", [np.ones((1, 4)), np.ones((40, 4)), np.zeros((3, 4))], ids=str)
def test_a_wall_of_equal_tiles_or_of_one_shows_each_once(tiles):
    assert sorted(spread_order(tiles.astype(np.float32), seed=0)) == [*range(len(tiles))]


def test_a_mark_is_a_volunteered_answer_and_can_be_taken_back(client):
    best, worst = (results(client, "tile=7&count=59")["results"][place]["tile"] for place in (0, -1))
    said = mark(client, 7, best, "similar")
    mark(client, worst, 7, "dissimilar", key="key-number-2")
    assert known(results(client, "tile=7")) == {
        best: ("similar", said["answer_id"]),
        worst: ("dissimilar", said["answer_id"] + 1),
    }
    stored = client("GET", "/answers").json()["answers"]
    assert [(row["kind"], row["answer"]) for row in stored] == [
        ("volunteered", "dissimilar"),
        ("volunteered", "similar"),
    ]
    # The other one follows from these two, and is no answer that could be taken back.
    expected = {7: ("similar", said["answer_id"]), worst: ("dissimilar", None)}
    assert known(results(client, f"tile={best}")) == expected
    assert known(client("GET", f"/search/marks?tile={best}").json()) == expected

    body = {"tab": TAB, "answer_id": said["answer_id"], "key": "key-number-3", "set_id": said["set_id"]}
    assert client("POST", "/retract", json=body).json()["num_answers"] == 1
    assert best not in known(results(client, "tile=7"))


def test_the_next_questions_follow_from_marks(client, make_session):
    """What a search answered is not asked, and what follows from it is not asked either."""
    questions = client("POST", "/session", json=SESSION).json()["questions"]
    coming = [(q["first"], q["second"]) for q in questions]
    mark(client, *coming[1], "similar")
    mark(client, *coming[2], "dissimilar", key="key-number-2")
    after = client("POST", "/session", json=SESSION).json()["questions"]
    pairs = [(q["first"], q["second"]) for q in after]
    assert pairs[0] == coming[0] and len(pairs) == 3  # the one on the screen stays
    assert not {coming[1], coming[2]} & set(pairs)


def test_every_source_of_questions_gets_a_mark_and_it_is_trained_on(make_session):
    session = make_session()

    class Hearing:
        def __init__(self):
            self.heard = []

        def start(self):
            return ()

        def add_answer(self, state, said):
            self.heard.append(said[:3])
            return (*state, said)

        def propose(self, state, known):
            return state, iter((int(said.first), 59) for said in state)  # asks on where a mark was made

    sources = {mode: Hearing() for mode in session.plan.sources}
    session.adopt(session.plan._replace(sources=sources))
    assert session.open_tab(TAB, "Ada")["questions"] == []
    session.volunteer(TAB, (9, 4), Answer.SIMILAR, "key-number-1")
    session.volunteer(TAB, (4, 30), Answer.DISSIMILAR, "key-number-2")
    given = [(4, 9, Answer.SIMILAR), (4, 30, Answer.DISSIMILAR)]
    assert sources and all(source.heard == given for source in sources.values())
    view = session.view(TAB)
    assert (view["questions"][0]["first"], view["questions"][0]["second"]) == (4, 59)
    trained = session.trainable()
    assert trained.pair_indices.tolist() == [[4, 9], [4, 30]] and trained.answers.tolist() == [1, 0]


@pytest.mark.slow
def test_a_model_is_trained_on_marks_alone_and_files_are_searched_by_it(
    make_session, directions, classes, tmp_path, monkeypatch
):
    monkeypatch.setenv("XLA_FLAGS", "")
    session = make_session()
    session.open_tab(TAB, "Ada")
    marked = set()
    for tile in range(12):  # a person marks the first eight results of twelve searches
        for found in nearest(directions, directions[tile], 8, own=tile):
            said = Answer(int(classes[tile] == classes[found.tile]))
            session.volunteer(TAB, (tile, found.tile), said, f"key-{tile:03d}-{found.tile:03d}")
            marked.add((tile, found.tile))
    config = ExperimentConfig(archive="folder:elsewhere", steps=100, batch_size=16)
    trainer = TrainerProcess(tmp_path / "annotation", config, directions)
    answers = session.trainable(), session.reserved(), session.standing.trainable_ids()
    trainer.start(*answers, session.set_id)
    deadline, result = time.monotonic() + 300, None
    while result is None and time.monotonic() < deadline and not trainer.failure:
        time.sleep(0.1)
        result = trainer.fetch()
    assert result is not None, trainer.failure
    np.testing.assert_allclose(result.project(directions), result.embeddings, atol=1e-6)
    assert (result.num_answers, result.snapshot.set_id) == (len(marked), session.set_id)
    assert np.abs(result.embeddings @ result.embeddings.T - directions @ directions.T).max() > 0.1


def test_the_nearest_answers_are_those_of_plain_loops(make_session, directions):
    session, rng = make_session(), np.random.default_rng(3)
    session.open_tab(TAB, "Ada")
    for number in range(40):
        pair = rng.choice(NUM_TILES, 2, replace=False).tolist()
        session.volunteer(TAB, tuple(pair), Answer(int(rng.integers(3))), f"key-number-{number}")
    query = directions[11]
    cosines = directions.astype(np.float64) @ query.astype(np.float64)
    newest = {(r.first, r.second): r for r in session.standing.records}
    expected = sorted(
        newest.values(),
        key=lambda r: (
            -max(cosines[r.first], cosines[r.second]),
            -min(cosines[r.first], cosines[r.second]),
        ),
    )[:ANSWERS_SHOWN]
    found = nearest_answers(session.standing.records, directions, query)
    assert [answer.record.answer_id for answer in found] == [r.answer_id for r in expected]
    for answer, record in zip(found, expected, strict=True):
        assert answer.nearer == max((record.first, record.second), key=lambda tile: cosines[tile])
        assert answer.similarity == pytest.approx(cosines[answer.nearer], abs=1e-6)
    assert nearest_answers([], directions, query) == []


def test_the_chance_of_a_result_is_fitted_to_audits_alone(session, client, classes, directions):
    before = results(client, "tile=7")
    assert before["calibration"]["is_known"] is False and before["results"][0]["probability"] is None
    pairs = [sorted(pair) for pair in np.random.default_rng(4).integers(NUM_TILES, size=(90, 2)).tolist()]
    pairs = sorted({tuple(pair) for pair in pairs if pair[0] != pair[1]} - {(0, 1), (2, 3)})
    said = [int(classes[first] == classes[second]) for first, second in pairs]
    said[::10] = [1 - answer for answer in said[::10]]  # people err
    given = [
        writing.Given(*pair, Answer(answer), "Ada", kind="audit", key=f"audit-number-{number}")
        for number, (pair, answer) in enumerate(zip(pairs, said, strict=True))
    ]
    noise = [  # none of these may count: not an audit, unsure, said otherwise later
        writing.Given(0, 1, Answer.SIMILAR, "Ada", kind="volunteered"),
        writing.Given(2, 3, Answer.UNSURE, "Ada", kind="audit"),
        given[0]._replace(answer=Answer(1 - said[0]), key="audit-number-x"),
    ]
    session.store.give([noise[2], *given, *noise[:2]])
    session.catch_up()
    cosines = [float(directions[first] @ directions[second]) for first, second in pairs]
    expected = fit_calibration(cosines, said)
    found, num_audits = calibrate(session.standing.records, directions)
    assert num_audits == len(pairs) == found.num_labels
    assert (found.intercept, found.slope) == pytest.approx((expected.intercept, expected.slope), abs=1e-6)

    after = results(client, "tile=7")
    assert after["calibration"] == {
        "is_known": True,
        "num_audits": len(pairs),
        "fewest": 20,
        "fewest_of_each": 3,
    }
    least = results(client, "tile=7&least=40")["least"]
    assert least["probability"] == pytest.approx(float(expected.probability(0.4)), abs=1e-5)
    assert least["lower"] <= least["probability"] <= least["upper"]
    for row in after["results"]:
        assert row["probability"] == pytest.approx(float(expected.probability(row["similarity"])), abs=1e-5)
        assert row["lower"] <= row["probability"] <= row["upper"]
