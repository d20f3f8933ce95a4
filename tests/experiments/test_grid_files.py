import dataclasses
import json
import pathlib
import shutil

import numpy as np
import pytest

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import WorkdirError
from anneal_jax.experiments import grid
from anneal_jax.experiments.grid import run_grid
from anneal_jax.experiments.grid_files import CELLS_FILE, unpack_cells, write_cells

SYSTEMS = ["random", "random+steps=2", "class_labels"]


def make_archive(folder, shift=0.0):
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    embeddings = (labels[:, None] + shift + rng.normal(size=(40, 4))).astype(np.float32)
    np.savez(folder / "vectors.npz", embeddings=embeddings, labels=labels)
    return ExperimentConfig(archive=f"embeddings:{folder / 'vectors.npz'}", rounds=0, steps=1, batch_size=8)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished comparison: its recipe, its cells and its file."""
    place = tmp_path_factory.mktemp("finished")
    config = make_archive(place / "data")
    cells = list(run_grid(config, SYSTEMS, [0, 1], place / "here"))
    write_cells(cells, place / "here")
    return config, cells, place / "here" / CELLS_FILE


@pytest.fixture
def here(finished, tmp_path):
    """The same with a copy of the file, which a test may change."""
    config, cells, file = finished
    return config, cells, pathlib.Path(shutil.copy(file, tmp_path))


def test_cells_run_elsewhere_are_not_run_again(here, tmp_path, monkeypatch):
    _, cells, file = here
    elsewhere = make_archive(tmp_path / "moved")  # the same tiles under another path
    assert unpack_cells([file], elsewhere, tmp_path / "there") == len(cells)
    assert unpack_cells([file, file], elsewhere, tmp_path / "there") == 0
    monkeypatch.setattr(grid, "run_experiment", None)
    assert list(run_grid(elsewhere, SYSTEMS, [0, 1], tmp_path / "there")) == cells
    with pytest.raises(WorkdirError, match="was run elsewhere, without storing the results of its queries"):
        grid.query_results(elsewhere, "class_labels", 0, tmp_path / "there")
    write_cells(cells, tmp_path / "there")
    assert unpack_cells([tmp_path / "there" / CELLS_FILE], elsewhere, tmp_path / "again") == len(cells)


def test_own_cells_stay_and_missing_ones_are_run(here, tmp_path):
    config, cells, file = here
    (own,) = run_grid(config, ["random"], [0], tmp_path / "there")
    assert unpack_cells([file], config, tmp_path / "there") == len(cells) - 1
    assert (tmp_path / "there" / "random" / "seed_0" / "answers.sqlite").exists()
    found = list(run_grid(config, [*SYSTEMS, "mgue"], [0], tmp_path / "there"))
    assert found[0] == own
    assert [cell.system for cell in found] == [*SYSTEMS, "mgue"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"margin": 0.4},
            "line 1 of .*cells.jsonl does not belong here: random seed 0 was run with another marg",
        ),
        ({"rounds": 3}, "another rounds"),
    ],
)
def test_cells_of_other_settings_are_refused(here, tmp_path, change, message):
    config, _, file = here
    with pytest.raises(WorkdirError, match=message):
        unpack_cells([file], dataclasses.replace(config, **change), tmp_path / "there")
    assert not list((tmp_path / "there").glob("*/*"))


def test_cells_of_other_tiles_are_refused(here, tmp_path):
    _, _, file = here
    other = make_archive(tmp_path / "other", shift=1.0)
    list(run_grid(other, ["random"], [0], tmp_path / "there"))
    with pytest.raises(WorkdirError, match="was run on other tiles, labels or weights than"):
        unpack_cells([file], other, tmp_path / "there")


@pytest.mark.parametrize("text", ["{", "[]", '{"system": "random"}', json.dumps({"system": 3, "seed": 0})])
def test_what_is_no_cell_is_named_by_its_line(here, tmp_path, text):
    config, _, file = here
    file.write_text(file.read_text() + text + "\n")
    with pytest.raises(WorkdirError, match=r"line 7 of .*cells.jsonl is not a cell"):
        unpack_cells([file], config, tmp_path / "there")
    with pytest.raises(WorkdirError, match="cannot read the cells in"):
        unpack_cells([tmp_path / "absent.jsonl"], config, tmp_path / "there")
