"""Text that comes from outside, wherever it enters: not UTF-8, or different by form alone."""

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from anneal_jax.annotation.web.pictures import open_pictures
from anneal_jax.data.archives import open_archive
from anneal_jax.data.labels import encode_labels, with_labels_csv
from anneal_jax.errors import ArchiveError, RetrievalError
from anneal_jax.retrieval.filters import allowed_tiles, parse_filter
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.metadata import read_metadata
from anneal_jax.retrieval.queries import prepare_queries
from anneal_jax.text import Names, folded, forms_of, is_utf8
from tests.retrieval.small_index import CARD, Tiles, embed

COMPOSED, APART = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


@pytest.fixture
def tiles(tmp_path):
    """Three tiles, one of a name as macOS writes it."""
    for name in (f"a/{APART}.png", "a/b.png", "c/d.png"):
        path = tmp_path / "tiles" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), len(name)).save(path)
    return open_archive(f"folder:{tmp_path / 'tiles'}")


@given(st.text(max_size=8))
def test_every_form_folds_to_one(text):
    if is_utf8(text):
        assert {folded(form) for form in forms_of(text)} == {folded(text)}


def test_a_name_is_what_it_says_before_what_it_may_mean():
    names = Names([COMPOSED, APART, " x "])
    assert names.find(COMPOSED) == [COMPOSED] and names.find(APART) == [APART]
    assert names.find(f"{APART} ") == [COMPOSED, APART] and names.find("x") == [" x "]


@pytest.mark.parametrize("name", [f"a/{COMPOSED}.png", f"{COMPOSED}.png", f" a/{APART}.png "])
def test_files_beside_an_archive_find_a_tile_by_one_rule(tiles, tmp_path, name):
    (tmp_path / "l.csv").write_text(f"id,label\n{name},river\n", encoding="utf-8")
    labelled = with_labels_csv(tiles, tmp_path / "l.csv")
    assert labelled.class_names[labelled.labels[tiles.ids.index(f"a/{APART}.png")]] == "river"
    found = read_metadata(tmp_path / "l.csv", tiles.ids)
    assert found.columns["label"][tiles.ids.index(f"a/{APART}.png")] == b"river"
    assert (found.num_matched, found.num_others) == (1, 0)


def test_what_a_name_may_not_mean_is_refused_by_one_rule(tiles, tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "tiles" / "c" / "b.png")
    archive = open_archive(tiles.spec)
    (tmp_path / "l.csv").write_text("id,label\nb.png,river\n")
    for read in (with_labels_csv, lambda archive, path: read_metadata(path, archive.ids)):
        with pytest.raises((ArchiveError, RetrievalError), match=r"'b.png' may be 'a/b.png' or 'c/b.png'"):
            read(archive, tmp_path / "l.csv")
    (tmp_path / "l.csv").write_text("id,label\na/b.png,river\na/b.png,lake\n")
    with pytest.raises(
        RetrievalError, match=r"line 3: 'a/b.png' has another label here than above; keep one"
    ):
        read_metadata(tmp_path / "l.csv", archive.ids)


def test_classes_that_differ_by_form_alone_are_one():
    labels, names = encode_labels([COMPOSED, f"{APART} ", APART, "river", None])
    assert labels.tolist() == [0, 0, 0, 1, -1] and names == (min(f"{APART} ", APART), "river")
    same = encode_labels(["b", "a", " c"])  # where none does, all is as it was
    assert same[0].tolist() == [2, 1, 0] and same[1] == (" c", "a", "b")


def test_an_index_is_asked_in_any_form(tmp_path):
    append_tiles(tmp_path, Tiles((1, 2)), embed, CARD)
    index = open_index(tmp_path)
    wanted = unicodedata.normalize("NFD", "tile 0002 é")
    assert index.rows_of([wanted, "tile 0001 é ", "tile 0001 e"]).tolist() == [1, 0, -1]
    assert [mask.tolist() for mask in allowed_tiles(index, parse_filter(["odd "], None, None, None))] == [
        [True, False]
    ]
    with pytest.raises(RetrievalError, match=r"the query 'caf\\udce9' is not valid UTF-8; rename it"):
        prepare_queries(index, ["caf\udce9"])


def test_pictures_of_vectors_are_found_in_any_form(tiles, tmp_path):
    ids = np.array([f"a/{COMPOSED}.png", "c/d.png"])
    np.savez(tmp_path / "v.npz", embeddings=np.eye(2, dtype=np.float32), ids=ids)
    pictures = open_pictures(open_archive(f"embeddings:{tmp_path / 'v.npz'}"), tiles.spec)
    assert len(pictures) == 2
    pictures.close()


@pytest.mark.parametrize("key", ["ids", "labels"])
@pytest.mark.parametrize("texts", [np.array(["a\udce9", "b"]), np.array([b"a\xe9", b"b"])])
def test_texts_of_vectors_are_utf8(tmp_path, key, texts):
    np.savez(tmp_path / "v.npz", embeddings=np.eye(2, dtype=np.float32), **{key: texts})
    with pytest.raises(ArchiveError, match=rf"row 0 of {key}, 'a\\udce9' is not valid UTF-8") as error:
        open_archive(f"embeddings:{tmp_path / 'v.npz'}")
    str(error.value).encode()


def test_a_spec_outside_utf8_is_refused():
    with pytest.raises(ArchiveError, match=r"the archive 'folder:/caf.udce9' is not valid UTF-8"):
        open_archive("folder:/caf\udce9")
