"""Answers as files: from the page, and by command."""

import json

import pytest

from anneal_jax.answers.file_format import parse_answers, write_answers
from tests.annotation.web.test_app import SESSION, TAB
from tests.launching import run_script

FILE = {"content-type": "application/octet-stream"}


def say(client, count, word="similar"):
    view = client("POST", "/session", json=SESSION).json()
    for _ in range(count):
        view = client(
            "POST", "/answer", json={"tab": TAB, "key": view["questions"][0]["key"], "answer": word}
        )
        view = view.json()
    return view


@pytest.mark.parametrize("name", ["answers.csv", "answers.jsonl"])
def test_the_page_gives_all_answers_out_and_takes_a_file_in_once(client, name):
    view = say(client, 3)
    client("POST", "/undo", json={"tab": TAB, "key": "undo-key-1", "set_id": view["set_id"]})
    response = client("GET", f"/{name}")
    assert response.headers["content-disposition"] == f'attachment; filename="{name}"'
    rows = parse_answers(response.content, name)
    assert len(rows) == 3 and [row.undone_at is None for row in rows] == [True, True, False]
    new = rows[0]._replace(key="of-ben", annotator="Ben", answer="dissimilar")
    from anneal_jax.answers.file_format import answers_text

    content = answers_text([*rows, new], "ben.csv").encode()
    for expected in ((1, 3, 1), (0, 4, 1)):
        report = client("POST", "/answers/add?name=ben.csv", content=content, headers=FILE)
        assert tuple(report.json().values()) == expected
    view = client("GET", "/state").json()
    assert view["num_answers"] == 3 and view["num_contradictions"] == 1
    people = client("GET", "/answers").json()["agreement"]
    assert [(row["first"], row["second"], row["share"]) for row in people] == [("Ada", "Ben", 0.0)]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [("a.txt", b"", "neither"), ("a.csv", b"x,y\n1,2\n", "line 1"), ("a.jsonl", b"{", "cannot be read"),
     ("a.csv", b"\xff\xfe", "cannot be read"), ("a.jsonl", b"[" * 100_000, "cannot be read"),
     ("", b"", "neither")],
)  # fmt: skip
def test_a_file_that_is_none_is_reported_and_changes_nothing(client, name, content, said):
    response = client("POST", f"/answers/add?name={name}", content=content, headers=FILE)
    assert response.status_code == 409 and said in response.json()["error"]
    assert client("GET", "/state").json()["num_answers"] == 0


def test_a_file_needs_this_servers_origin_and_its_own_type(client):
    assert client("POST", "/answers/add?name=a.csv", json={}).status_code == 415
    headers = FILE | {"origin": "http://evil.example"}
    assert client("POST", "/answers/add?name=a.csv", content=b"", headers=headers).status_code == 403


def test_files_are_merged_and_what_they_differ_on_is_reported(client, tmp_path):
    say(client, 2)
    rows = parse_answers(client("GET", "/answers.jsonl").content, "a.jsonl")
    ada, ben, both = (tmp_path / name for name in ("ada.csv", "ben.jsonl", "both.csv"))
    write_answers(ada, rows)
    write_answers(ben, [rows[0]._replace(key="of-ben", annotator="Ben", answer="dissimilar"), rows[1]])
    done = run_script("answers", f"--merge={ada},{ben}", f"--export={both}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"3 answers are in {both}.\ndisagreement on ")
    assert "Ada: similar, Ben: dissimilar" in done.stdout
    assert len(parse_answers(both.read_bytes(), "both.csv")) == 3


@pytest.mark.slow
def test_a_workdir_gives_out_and_takes_in_by_command(tiles_folder, tmp_path):
    from anneal_jax.annotation.web.server import opened
    from anneal_jax.config import ExperimentConfig
    from anneal_jax.types import Answer

    config = ExperimentConfig(archive=f"folder:{tiles_folder}", backbone="pixels", image_size=8)
    for name, said in (("ada", Answer.SIMILAR), ("ben", Answer.DISSIMILAR)):
        with opened(config, tmp_path / name, sentence="Alike?", learns=False) as parts:
            view = parts.session.open_tab(TAB, name)
            parts.session.answer(TAB, view["questions"][0]["key"], said, 1.0)
    out = tmp_path / "ben.jsonl"
    assert run_script("answers", f"--workdir={tmp_path / 'ben'}", f"--export={out}").stdout.startswith(
        "1 answers"
    )
    assert json.loads(out.read_text())["annotator"] == "ben"
    done = run_script("answers", f"--workdir={tmp_path / 'ada'}", f"--import={out}")
    assert (
        done.stdout.startswith("1 answers were added, 0 were already here")
        and "disagreement on" in done.stdout
    )
    assert run_script("answers", f"--workdir={tmp_path / 'ada'}", f"--import={out}").stdout.startswith(
        "0 answers were added"
    )
    done = run_script("answers", f"--workdir={tmp_path}", f"--export={out}")
    assert done.returncode == 2 and "contains no answers" in done.stderr


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "there is not enough memory."),
        (OSError("7680 requested and 992 written"), "No space left on device."),
    ],
)
def test_what_the_system_refuses_is_no_500(client, monkeypatch, error, said):
    def refuse(*_):
        raise error

    monkeypatch.setattr("anneal_jax.annotation.web.file_routes.answers_text", refuse)
    response = client("GET", "/answers.csv")
    assert (response.status_code, response.json()) == (507, {"error": said})
