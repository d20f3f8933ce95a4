"""A page's workdir is searched as it is: by the model that the page would use, or a better one."""

import csv

import numpy as np
import pytest

from anneal_jax.annotation.learning.trainer import FOLDER, Result, Snapshot, kept_features
from anneal_jax.annotation.search_by_example import nearest
from anneal_jax.annotation.web.server import opened
from anneal_jax.annotation.workdir_index import open_searched
from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import WorkdirError
from anneal_jax.experiments.answered_workdir import opened_answers
from anneal_jax.experiments.belief_rounds import Outlook
from anneal_jax.reporting.answers_report import train_and_report
from anneal_jax.training.projection import centring
from anneal_jax.types import Answer
from tests.launching import run_script

TAB = "tab-number-1"


@pytest.fixture
def workdir(tiles_folder, tmp_path):
    """A workdir with some answers and no model."""
    config = ExperimentConfig(
        archive=f"folder:{tiles_folder}",
        backbone="pixels",
        pretrained="none",
        supervision="belief_ask",
        steps=3,
    )
    with opened(config, tmp_path / "work", sentence="Same land use") as context:
        session = context.session
        session.open_tab(TAB, "Ada")
        for number, (first, second, said) in enumerate(
            [(3, 5, Answer.SIMILAR), (5, 9, Answer.SIMILAR), (3, 20, Answer.DISSIMILAR)]
        ):
            session.volunteer(TAB, (first, second), said, f"key-number-{number}")
        context.learning.close()
    return tmp_path / "work"


def test_results_are_those_of_the_page_and_know_its_answers(workdir, tiles_folder):
    searched = open_searched(workdir)
    assert "no model was trained" in searched.index.notes[0]
    (found,) = searched.search(["tile03.png"], 59, conditions={})
    features = kept_features(workdir / FOLDER)
    expected = nearest(centring(features)(features), centring(features)(features)[3], 59, own=3)
    assert found.rows == [result.tile for result in expected]
    marks = {row: mark for row, mark in zip(found.rows, found.marks, strict=True) if mark}
    assert marks == {5: "right", 9: "right", 20: "wrong"}
    groups = {row: group for row, group in zip(found.rows, found.groups, strict=True) if group}
    assert groups == {5: "like tile03.png", 9: "like tile03.png"}


def test_a_file_finds_its_own_tile_first(workdir, tiles_folder):
    searched = open_searched(workdir)
    (found,) = searched.search([f"file:{tiles_folder / 'tile12.png'}"], 3, conditions={})
    assert found.ids[0] == "tile12.png" and found.similarities[0] == pytest.approx(1, abs=1e-5)
    with pytest.raises(WorkdirError, match="leave out --checkpoint"):
        searched.search([str(tiles_folder / "tile12.png")], 3, conditions={}, checkpoint="runs/other")


def test_the_command_line_copies_while_the_page_is_open(workdir, tiles_folder, tmp_path):
    from anneal_jax.files.workdir import locked

    command = ["search", f"--index={workdir}", "--query=tile03.png", "--k=4"]
    with locked(workdir):
        done = run_script(*command, f"--copy_to={tmp_path / 'out'}")
    assert (done.returncode, done.stderr) == (0, "")
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            assert (tmp_path / "out" / row["file"]).read_bytes() == (tiles_folder / row["id"]).read_bytes()


def test_the_model_of_the_page_is_used_while_all_its_answers_stand(workdir, monkeypatch):
    features = kept_features(workdir / FOLDER)
    project = centring(features + np.arange(features.shape[1], dtype=np.float32))
    with opened_answers(workdir, read_only=True) as store:
        snapshot = Snapshot(store.present_set(), frozenset({1, 2}), frozenset())
    model = Result(snapshot, project(features), np.empty((0, 2), np.int32), project, Outlook(0.2, None, 0))
    monkeypatch.setattr("anneal_jax.annotation.workdir_index.kept_model", lambda *_: model)
    searched = open_searched(workdir)
    assert searched.index.notes == ("Searched by the page's model, trained on 2 answers.",)
    np.testing.assert_array_equal(searched.index.column("vectors")[0], project(features))
    with opened_answers(workdir) as store:
        store.retract(2, annotator="Ada", key="key-number-9")
    assert "no model was trained" in open_searched(workdir).index.notes[0]


@pytest.mark.slow
def test_the_report_shows_queries_before_and_after_and_the_next_command(workdir):
    said = train_and_report(workdir)
    assert f"See {workdir / 'report.html'}" in said and f"launch/search.py --index={workdir}" in said
    page = (workdir / "report.html").read_text("utf-8")
    assert "data:image/png;base64," in page and "launch/search.py" in page
    searched = open_searched(workdir)
    assert "launch/run.py trained on all 3 answers" in searched.index.notes[0]
    assert train_and_report(workdir).startswith("No questions were asked, and nothing has changed")


def test_tiles_that_changed_are_refused(workdir, tmp_path):
    path = workdir / "inputs.json"
    path.write_text(path.read_text().replace('"tiles": "', '"tiles": "0'))
    with pytest.raises(WorkdirError, match=r"changed since .* was made"):
        open_searched(workdir)
