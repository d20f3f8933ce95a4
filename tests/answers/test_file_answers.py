"""Answers about files that are no tiles: kept by digest and feature, apart from all that is trained on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.answers.file_answers import (
    FileAnswer,
    SaidOfFile,
    answered_files,
    answers_about,
    find_file,
    say_of_file,
)
from anneal_jax.answers.import_export import shared_answers
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer

IDS = [f"tile{number}" for number in range(6)]
FEATURE = np.float32([0.1, -2.5, 1e-30])
FILE, OTHER = "ab" * 32, "cd" * 32
YES, NO, UNSURE = Answer.SIMILAR, Answer.DISSIMILAR, Answer.UNSURE


@pytest.fixture
def store(tmp_path):
    return AnswerStore(tmp_path / "answers.sqlite", IDS)


def say(store, tile, answer, *, file=FILE, key=None, feature=FEATURE):
    say_of_file(store, SaidOfFile(file, feature, tile, answer, "Ada", key))


def said(store, file=FILE):
    return {each.tile: each.answer for each in answers_about(store, file)}


def test_what_is_said_of_a_file_is_there_after_a_restart_with_its_feature(store, tmp_path):
    say(store, 3, YES)
    say(store, 1, NO)
    say(store, 3, UNSURE, file=OTHER, feature=2 * FEATURE)
    store.close()
    again = AnswerStore(tmp_path / "answers.sqlite", IDS)
    assert answers_about(again, FILE) == [FileAnswer(1, 3, YES), FileAnswer(2, 1, NO)]
    assert list(answered_files(again).items()) == [(2, 1), (1, 2)]  # the last file first
    first, other = find_file(again, 1), find_file(again, 2)
    assert (first.digest, other.digest, find_file(again, 3)) == (FILE, OTHER, None)
    np.testing.assert_array_equal(first.feature, FEATURE)
    np.testing.assert_array_equal(other.feature, 2 * FEATURE)
    assert first.feature.dtype == np.float32
    assert answers_about(again, "ef" * 32) == []


@given(
    st.lists(st.tuples(st.sampled_from([FILE, OTHER]), st.integers(0, 5), st.sampled_from([*Answer, None])))
)
def test_the_last_word_about_a_file_and_a_tile_stands(tmp_path_factory, words):
    store = AnswerStore(tmp_path_factory.mktemp("store") / "answers.sqlite", IDS)
    expected = {}
    for file, tile, answer in words:
        say(store, tile, answer, file=file)
        expected[file, tile] = answer
    for file in (FILE, OTHER):
        standing = {tile: a for (of, tile), a in expected.items() if of == file and a is not None}
        assert said(store, file) == standing


def test_a_request_that_is_repeated_counts_once_and_its_key_names_no_other(store):
    for _ in range(2):
        say(store, 3, YES, key="key 1")
    say(store, 3, None, key="key 2")
    say(store, 3, YES, key="key 1")  # its reply came late: it was said before it was taken back
    say(store, 3, None, key="key 2")
    assert said(store) == {} == answered_files(store) and find_file(store, 1).digest == FILE
    for tile, answer, key in ((4, YES, "key 1"), (3, NO, "key 1"), (3, YES, "key 2")):
        with pytest.raises(StoreError, match=f"key {key!r} belongs to another answer"):
            say(store, tile, answer, key=key)
    assert said(store) == {}


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"tile": 6}, "there is no tile 6 in this archive"),
        ({"tile": -1}, "there is no tile -1 in this archive"),
        ({"feature": np.float32([np.nan])}, "the feature of the file is not finite"),
        ({"annotator": "A\nB"}, "must be one line"),
        ({"key": ""}, "must be one line"),
    ],
)
def test_what_cannot_be_said_is_a_sentence_and_leaves_nothing(store, wrong, sentence):
    good = SaidOfFile(FILE, FEATURE, 3, YES, "Ada", "key 1")
    with pytest.raises(StoreError, match=sentence):
        say_of_file(store, good._replace(**wrong))
    assert answered_files(store) == {} and find_file(store, 1) is None
    say_of_file(store, good)
    assert said(store) == {3: YES}


def test_a_set_keeps_its_own_answers_about_a_file(store):
    store.set_sentence("Same land use")
    say(store, 3, YES)
    store.set_sentence("Same roof")
    assert said(store) == {} and answered_files(store) == {}
    say(store, 3, NO)
    assert said(store) == {3: NO}
    store.set_sentence("Same land use")
    assert said(store) == {3: YES} and answered_files(store) == {1: 1}


def test_pairs_do_not_know_of_files(store):
    """Nothing is trained on answers about files, counted, exported or undone with those about pairs."""
    store.add(Given(0, 1, YES, "Ada", key="key 1"))
    say(store, 3, YES, key="key 1")  # keys of pairs are others
    say(store, 0, NO)
    assert [record.key for record in store.records()] == ["key 1"] and len(store.standing()) == 1
    assert store.answered(99).pair_indices.tolist() == [[0, 1]]
    assert store.tally().num_answers == 1 and store.tally().bits_spent == 1.0
    assert len(shared_answers(store)) == 1
    assert store.undo(annotator="Ada")[0].first == 0
    assert store.undo(annotator="Ada") == [] and said(store) == {3: YES, 0: NO}
