import base64
import io
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.grid import run_grid
from anneal_jax.experiments.query_results import QueryResults
from anneal_jax.reporting.comparison_queries import (
    Method,
    chosen_queries,
    queries_page,
    write_queries_page,
)
from tests.reporting.test_page import Page

RIGHT, WRONG = [True, True], [False, False]


def method(name, relevant, num_relevant=None):
    """A method with two ranks; query q finds the tiles qa and qb."""
    names = [f"q{n}" for n in range(len(relevant))]
    found = [[f"{query}a", f"{query}b"] for query in names]
    return Method(name, "7 bits", QueryResults(names, found, relevant, num_relevant or [2] * len(relevant)))


def test_queries_are_chosen_by_class_and_by_how_much_the_methods_differ():
    classes = ["sea", "sea", "bay", "ice", "bay", "sea"]
    first = method("first", [*[RIGHT] * 5, WRONG], [2, 2, 2, 2, 2, 0])
    second = method("second", [RIGHT, WRONG, RIGHT, RIGHT, [True, False], WRONG], [2, 2, 2, 2, 2, 0])
    assert chosen_queries([first, second], classes) == ([2, 3, 0], [1, 4])


def test_many_classes_are_thinned_evenly_by_name():
    classes = [f"class {n}" for n in range(9)]
    spread, differing = chosen_queries([method("only", [RIGHT] * 9)], classes)
    assert (spread, differing) == ([0, 3, 5, 8], [1, 2, 4, 6])


def test_tiles_without_a_picture_show_their_names_and_marks():
    page = Page(
        queries_page(
            [method("one", [[True, False]])], ["sea"], {}, title="vectors", seed=3, notes=["a note"]
        )
    )
    assert page.open == [] and not page.all("img")
    assert page.texts_in("b") == ["✓", "✗"]
    assert [name for _, name in page.texts if name in ("q0a", "q0b")] == ["q0a", "q0b"]
    assert "one" in page.texts_in("th") and "a note" in page.texts_in("p")
    assert any("Runs of seed 3" in text for text in page.texts_in("p"))
    assert page.texts_in("td") == ["0.50"]


@given(text=st.text(min_size=1))
def test_no_text_becomes_markup(text):
    results = QueryResults([text], [[text, text]], [RIGHT], [2])
    page = Page(
        queries_page([Method(text, text, results)], [text], {text: text}, title=text, seed=0, notes=[text])
    )
    assert page.open == []
    assert not page.all("script") and {len(attrs) for attrs in page.all("img")} == {2}


@pytest.fixture
def folder_config(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("dark", "light"):
        (tmp_path / "tiles" / name).mkdir(parents=True)
        for n in range(15):
            level = 60 if name == "dark" else 180
            tile = (level + rng.integers(0, 60, (16, 16, 3))).astype(np.uint8)
            Image.fromarray(tile).save(tmp_path / "tiles" / name / f"{n}.png")
    return ExperimentConfig(
        archive=f"folder:{tmp_path / 'tiles'}",
        backbone="pixels",
        rounds=0,
        steps=1,
        batch_size=8,
        image_size=16,
        cache_dir=str(tmp_path / "cache"),
    )


@pytest.mark.slow
def test_the_page_of_a_grid_shows_each_method_and_its_tiles(folder_config, tmp_path):
    cells = list(run_grid(folder_config, ["random", "class_labels"], [5], tmp_path / "grid"))
    write_queries_page(folder_config, cells, tmp_path / "grid", title="tiles")
    text = (tmp_path / "grid" / "queries.html").read_text(encoding="utf-8")
    page = Page(text)
    shown = [name for name in page.texts_in("th") if name in ("frozen features", "random", "class_labels")]
    assert shown == ["frozen features", "random", "class_labels"] * len(page.all("table"))
    assert 'src="http' not in text and not page.all("script")
    queries = [attrs for attrs in page.all("img") if attrs["alt"] == "the query"]
    assert len(queries) == len(page.all("table")) == 3  # two classes, and the query that is left
    for attrs in page.all("img"):
        data = base64.b64decode(attrs["src"].partition("base64,")[2])
        assert Image.open(io.BytesIO(data)).size == (16, 16)
    marks = {attrs["alt"].rpartition(", ")[2] for attrs in page.all("img")} - {"the query"}
    assert marks <= {"right", "wrong"}
    assert {word for attrs in page.all("img") for word in re.findall(r"(\w+)/\d+\.png", attrs["alt"])} <= {
        "dark",
        "light",
    }


def test_a_cell_whose_results_are_gone_is_reported_and_the_others_are_shown(folder_config, tmp_path):
    cells = list(run_grid(folder_config, ["random", "class_labels"], [0], tmp_path / "grid"))
    (tmp_path / "grid/random/seed_0/queries.json").write_text("{")
    write_queries_page(folder_config, cells, tmp_path / "grid", title="tiles")
    page = Page((tmp_path / "grid" / "queries.html").read_text(encoding="utf-8"))
    assert "random" not in page.texts_in("th") and "class_labels" in page.texts_in("th")
    (note,) = [text for text in page.texts_in("p") if text.startswith("random is not shown")]
    assert "remove it to have it written again" in note
