"""Answers about files that are no tiles: kept by digest and feature, apart from all that is trained on."""

import contextlib
import itertools
import pathlib
import shutil
import sqlite3
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.answers.file_answers import (
    SaidOfFile,
    answered_files,
    answers_about,
    file_answers,
    find_file,
    say_of_file,
    undo_of_file,
)
from anneal_jax.answers.import_export import shared_answers
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer
from tests.conftest import ROOT

OLD_4 = pathlib.Path(__file__).parent / "data" / "answers_v4.sqlite"
OLD_IDS = [f"Äcker 森/tile_{index}.tif" for index in range(6)]
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
    found = answers_about(again, FILE)
    assert [(each.file_answer_id, each.tile, each.answer) for each in found] == [(1, 3, YES), (2, 1, NO)]
    assert file_answers(again) == [*found, *answers_about(again, OTHER)]
    assert {(each.annotator, each.last_answer) for each in found} == {("Ada", 0)}
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


def undo(store, annotator="Ada", key=None):
    """Take back the last thing that somebody did, as a page does; return what it was."""
    if store.undo_set_change(annotator=annotator, key=key):
        return "set"
    of_file = undo_of_file(store, annotator=annotator, key=key)
    if of_file is not None:
        return "file", of_file.tile
    return [(record.first, record.second) for record in store.undo(annotator=annotator, key=key)]


@given(
    deeds=st.lists(
        st.tuples(
            st.sampled_from(["pair", "file", "rename", "undo", "undo"]), st.sampled_from(["Ada", "Ben"])
        )
    )
)
def test_undo_follows_the_order_in_which_a_person_did_things(tmp_path_factory, deeds):
    """Against lists in memory; each undo is repeated, as after a restart."""
    path = tmp_path_factory.mktemp("store") / "answers.sqlite"
    store = AnswerStore(path, IDS)
    done, num_renamed = {"Ada": [], "Ben": []}, 0  # since anything else was done
    for number, (deed, person) in enumerate([*deeds, *[("undo", "Ada"), ("undo", "Ben")] * 4]):
        if deed == "rename":
            store.rename_set(f"Sentence {number}", annotator="Ada")
            num_renamed += 1
            continue
        if deed == "undo":
            expected = []
            if num_renamed and person == "Ada":
                expected, num_renamed = "set", num_renamed - 1
            elif done[person]:
                expected, num_renamed = done[person].pop(), 0
            key = f"undo {number}"
            assert undo(store, person, key) == expected == undo(AnswerStore(path, IDS), person, key)
            continue
        num_renamed = 0
        if deed == "pair":
            store.add(Given(number % 5, 5, YES, person))
            done[person].append([(number % 5, 5)])
        else:  # each about another file, so that none takes an earlier one back
            say_of_file(store, SaidOfFile(f"{number:064x}", FEATURE, number % 6, NO, person))
            done[person].append(("file", number % 6))
    left = [("file", said.tile) for said in file_answers(store)]
    assert sorted(left) == sorted(deed for deeds in done.values() for deed in deeds if deed[0] == "file")


def test_an_undoing_of_one_thing_that_is_repeated_late_takes_back_no_other(store):
    store.add(Given(0, 1, YES, "Ada"))
    say(store, 3, YES)
    assert undo(store, key="undo 1") == ("file", 3)
    store.rename_set("Same roof", annotator="Ada")
    assert undo(store, key="undo 1") == ("file", 3) and store.sentence() == "Same roof"
    assert undo(store, key="undo 2") == "set"
    say(store, 4, YES)
    say(store, 5, YES, key="mark 5")
    assert undo(store, key="undo 2") == "set" and said(store) == {4: YES, 5: YES}
    with pytest.raises(StoreError, match="belongs to another answer"):
        undo(store, key="mark 5")
    assert undo(store) == ("file", 5) and undo(store) == ("file", 4)
    assert undo(store, key="undo 3") == [(0, 1)]
    say(store, 2, YES)
    store.rename_set("Same land", annotator="Ada")
    assert undo(store, key="undo 3") == [(0, 1)] and said(store) == {2: YES}
    assert undo(store, "Ben") == [] and store.sentence() == "Same land"
    store.go_to_set(store.begin_set("Same use", annotator="Ada"), annotator="Ada")
    assert undo_of_file(store, annotator="Ada") is None  # of the set before


def test_a_mark_after_an_act_is_taken_back_before_it(store):
    store.give_together(
        [Given(0, 1, YES, "Ada"), Given(1, 2, YES, "Ada")], [], annotator="Ada", key="act 1"
    )
    say(store, 3, YES)
    assert undo(store, key="undo 1") == ("file", 3)
    assert undo(store, key="undo 2") == [(1, 2)]
    say(store, 3, NO)
    assert undo(store, key="undo 2") == [(1, 2)] and said(store) == {3: NO}


def marking():
    """Return what a person does without end, and what stands after each step, the last mark last."""
    standing = {}
    for number in itertools.count():
        tile, answer = number % 6, (NO, YES)[number // 6 % 2]
        standing.pop(tile, None)
        standing[tile] = answer
        yield f"mark {number}", (tile, answer), dict(standing)
        if number % 3 == 2:
            standing.popitem()
            yield f"undo {number}", None, dict(standing)


def mark_without_end(path):
    """Do it, and say of each step that it is on disk."""
    store = AnswerStore(path, IDS)
    for key, mark, _ in marking():
        if mark is None:
            undo_of_file(store, annotator="Ada", key=key)
        else:
            say(store, *mark, key=key)
        print(key, flush=True)


def test_a_kill_while_marks_are_taken_back_leaves_all_of_each_step(tmp_path):
    path = tmp_path / "answers.sqlite"
    code = f"from tests.answers.test_file_answers import *; mark_without_end({str(path)!r})"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        printed = [process.stdout.readline() for _ in range(40)]
        process.kill()
        printed += process.stdout.read().splitlines()
    steps = list(itertools.islice(marking(), len(printed) + 1))
    assert printed[-1].strip() == steps[-2][0]
    store = AnswerStore(path, IDS)
    assert said(store) in (steps[-2][2], steps[-1][2])
    key, mark, after = steps[-1]
    if mark is None:  # the page that got no reply asks again
        undo_of_file(store, annotator="Ada", key=key)
    else:
        say(store, *mark, key=key)
    assert said(store) == after


def test_answers_about_files_of_the_fourth_version_keep_their_place(tmp_path):
    """They had no place among other answers; their times give it."""
    path = tmp_path / "answers.sqlite"
    for suffix in ("", ".seal"):
        shutil.copy(f"{OLD_4}{suffix}", f"{path}{suffix}")
    store = AnswerStore(path, OLD_IDS)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        rows = connection.execute(
            "SELECT tile, answer, retracts, last_answer, last_change FROM file_answers"
        ).fetchall()
    assert rows == [
        (2, int(YES), None, 1, 0),
        (3, int(NO), None, 1, 0),
        (3, None, 2, 1, 0),
        (4, int(UNSURE), None, 2, 1),
        (4, None, 4, 2, 1),
        (4, int(YES), None, 2, 1),
    ]
    assert undo_of_file(store, annotator="Ada").tile == 4
    assert not store.undo_set_change(annotator="Ada")  # marks came after it
    store.go_to_set(1, annotator="Ada")
    assert undo_of_file(store, annotator="Ada") is None  # the pair came after it
    assert [record.first for record in store.undo(annotator="Ada")] == [2]
    assert undo_of_file(store, annotator="Ada").tile == 2
    store.close()
    AnswerStore(path, OLD_IDS).close()
