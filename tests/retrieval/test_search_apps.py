"""Embed and search from the command line and from Python, on an archive of small files."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError, ConfigError, RetrievalError
from anneal_jax.experiments.run import run_experiment
from anneal_jax.reporting.search_results import draw_results, results_json, results_table
from anneal_jax.retrieval.embedder import load_embedder
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.queries import prepare_queries, read_names
from anneal_jax.retrieval.results import name_hits
from anneal_jax.retrieval.search import search_exact
from tests.launching import run_script

CONFIG = ExperimentConfig(
    archive="digits", backbone="pixels", initial_draw="random", rounds=1, steps=10, pairs_per_round=50
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A trained model, thirty tiles as files, and an index of them: run, tiles and index in one folder."""
    place = tmp_path_factory.mktemp("place")
    run_experiment(CONFIG, place / "run")
    archive = open_archive("digits")
    for row, tile in enumerate(archive.load(np.arange(30), 8)):
        path = place / "tiles" / f"digit {archive.labels[row]}" / f"{row:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tile).save(path)
    embedder = load_embedder(place / "run")
    tiles = open_archive(f"folder:{place / 'tiles'}")
    append_tiles(place / "index", tiles, embedder.embed_archive, embedder.model_card(), shard_rows=16)
    return place


@pytest.fixture
def index(place):
    return open_index(place / "index")


def search(index, names, k=5, **options):
    queries = prepare_queries(index, names, **options)
    hits = search_exact(index.column("vectors"), queries.embeddings, k, own_rows=queries.own_rows)
    return name_hits(index, queries.queries, hits)


def test_embed_and_search_from_the_command_line(place, tmp_path):
    arguments = [f"--checkpoint={place / 'run'}", f"--index={tmp_path / 'index'}"]
    first = run_script("embed", *arguments, f"--archive=folder:{place / 'tiles'}")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout.startswith("30 tiles encoded, 0 were already there.")
    again = run_script("embed", *arguments, f"--archive=folder:{place / 'tiles'}")
    assert again.stdout.startswith("0 tiles encoded, 30 were already there.")

    query = tmp_path / "unseen.png"
    Image.fromarray(open_archive("digits").load([40], 24)[0]).save(query)
    (tmp_path / "names.txt").write_text("digit 3/003.png\n\n")
    found = run_script(
        "search",
        *[f"--index={tmp_path / 'index'}", f"--query={query}", f"--queries={tmp_path / 'names.txt'}"],
        *["--k=3", "--json", f"--picture={tmp_path / 'found.png'}", "--class=digit 3", "--class=digit 4"],
    )
    assert (found.returncode, found.stderr) == (0, "")
    unseen, known = json.loads(found.stdout)
    assert [unseen["query"], known["query"]] == [str(query), "digit 3/003.png"]
    for results in (unseen["results"], known["results"]):
        assert [result["rank"] for result in results] == [1, 2, 3]
        assert {result["class"] for result in results} <= {"digit 3", "digit 4"}
        assert sorted((r["similarity"] for r in results), reverse=True) == [
            r["similarity"] for r in results
        ]
    assert "digit 3/003.png" not in {result["id"] for result in known["results"]}
    with Image.open(tmp_path / "found.png") as picture:
        assert picture.width > 600

    table = run_script(
        "search", f"--index={tmp_path / 'index'}", "--query=digit 3/003.png", "--verify=once"
    )
    assert table.stdout.splitlines()[1].split() == ["rank", "similarity", "class", "id"]
    assert len(table.stdout.splitlines()) == 7


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ["--query=digit 3/03.png"],
            "is neither the id of a tile in .* nor a file \\(did you mean 'digit 3/0",
        ),
        (["--query=id:nothing"], "'id:nothing' is neither the id of a tile"),
        ([], "there is no query; give --query=ID or --query=FILE"),
        (["--query=digit 3/003.png", "--class=digit 11"], "no tile of the index has the class 'digit 11'"),
        (["--query=digit 3/003.png", "--since=yesterday"], "the conditions cannot be read"),
        (["--query=digit 3/003.png", "--k=0"], "--k=0"),
        (
            ["--query=README.md"],
            "README.md does not contain a JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP file; give a JPEG",
        ),
        (["--queries=none.txt"], "the list of queries none.txt cannot be read"),
    ],
)
def test_a_mistake_is_one_sentence(place, arguments, sentence):
    done = run_script("search", f"--index={place / 'index'}", *arguments)
    assert done.returncode == 2 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert re.search(sentence, line), line


def test_a_file_that_is_a_tile_of_the_index_finds_itself_and_its_id_does_not(place, index):
    path = place / "tiles" / "digit 3" / "003.png"
    by_file, by_id, forced = search(index, [str(path), "digit 3/003.png", f"file:{path}"])
    assert by_file.ids[0] == forced.ids[0] == "digit 3/003.png"
    assert by_file.similarities[0] > 0.999
    assert by_id.ids[:4] == by_file.ids[1:]
    assert (by_id.query_label, by_file.query_label) == ("digit 3", "")


def test_a_search_by_ids_needs_no_model(index):
    def none(path):
        raise AssertionError(path)

    assert len(search(index, ["digit 3/003.png"] * 2, load=none)) == 2


def test_another_model_is_refused(place, index, tmp_path):
    run_experiment(dataclasses.replace(CONFIG, seed=1, rounds=0), tmp_path / "other")
    path = str(place / "tiles" / "digit 3" / "003.png")
    with pytest.raises(RetrievalError, match=r"is not the one that made .*give --checkpoint"):
        prepare_queries(index, [path], checkpoint=tmp_path / "other")
    shutil.copytree(place / "run", tmp_path / "moved")
    assert len(prepare_queries(index, [path], checkpoint=tmp_path / "moved").embeddings) == 1


def test_more_results_than_tiles_are_all_of_them(index):
    (found,) = search(index, ["digit 3/003.png"], k=1000)
    assert len(found.ids) == len(set(found.ids)) == 29
    assert len(results_table([found]).splitlines()) == 31


def test_a_picture_marks_right_and_wrong_where_every_class_is_known(place, index, tmp_path):
    sizes = []
    for name in ["digit 3/003.png", str(place / "tiles" / "digit 3" / "003.png")]:
        draw_results(index, search(index, [name]), tmp_path / "found.png")
        with Image.open(tmp_path / "found.png") as picture:
            colours = np.asarray(picture.convert("RGB")).reshape(-1, 3)
        green, red = ((colours == colour).all(axis=1).sum() for colour in ([0, 122, 90], [196, 68, 1]))
        sizes.append(int(green + red))
    assert sizes[0] > 1_000 and sizes[1] == 0


def test_vectors_are_searched_by_id_and_by_npy_and_have_no_picture(tmp_path):
    rng = np.random.default_rng(7)
    labels = np.arange(80) % 4
    vectors = (rng.normal(size=(4, 9))[labels] + 0.3 * rng.normal(size=(80, 9))).astype(np.float32)
    np.savez(tmp_path / "vectors.npz", embeddings=vectors, labels=labels)
    config = ExperimentConfig(
        archive=f"embeddings:{tmp_path / 'vectors.npz'}", rounds=0, steps=10, initial_fraction=0.1
    )
    run_experiment(config, tmp_path / "run")
    embedder = load_embedder(tmp_path / "run")
    archive = open_archive(config.archive)
    append_tiles(tmp_path / "index", archive, embedder.embed_archive, embedder.model_card("float32"))
    index = open_index(tmp_path / "index")
    np.save(tmp_path / "query.npy", vectors[5])
    by_vector, by_id = search(index, [str(tmp_path / "query.npy"), "row05"], k=3)
    assert by_vector.ids[0] == "row05" and by_vector.ids[1:] == by_id.ids[:2]
    assert json.loads(results_json(index, [by_id]))[0]["results"][0]["archive"] == config.archive
    with pytest.raises(ConfigError, match=r"holds vectors, which have no pictures"):
        draw_results(index, [by_id], tmp_path / "found.png")
    (tmp_path / "broken.npy").write_bytes(b"no array")
    with pytest.raises(ArchiveError, match=r"broken.npy is not an .npy file of a vector"):
        prepare_queries(index, [str(tmp_path / "broken.npy")])


def test_a_list_of_queries_is_read_line_by_line(tmp_path):
    (tmp_path / "names.txt").write_text("\ufeffa b.png\n\n  c,d.png \n", encoding="utf-8")
    assert read_names(tmp_path / "names.txt") == ["a b.png", "c,d.png"]
