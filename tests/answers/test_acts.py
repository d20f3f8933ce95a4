"""Answers that are one act: all of them or none, stored once, and taken back as a whole."""

import signal
import subprocess
import sys
import textwrap

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer

IDS = [f"tile_{index}.tif" for index in range(8)]
YES, NO = Answer.SIMILAR, Answer.DISSIMILAR


@pytest.fixture
def store(tmp_path):
    store = AnswerStore(tmp_path / "answers.sqlite", IDS)
    store.give([Given(0, 1, YES, "Ada"), Given(1, 2, YES, "Ben", kind="training", similarity=0.5)])
    return store


def standing(store):
    """What stands, whatever its numbers and keys are."""
    return sorted(
        (row.first, row.second, row.answer, row.annotator, row.kind, row.answered_at, row.source or "")
        for row in store.standing()
    )


def move(store, key="move 1"):
    """Put tile 2 from the group of 0 and 1 to that of 5."""
    given = [Given(0, 2, NO, "Ada"), Given(2, 5, YES, "Ada")]
    (old,) = (row.answer_id for row in store.standing() if (row.first, row.second) == (1, 2))
    store.give_together(given, [old], annotator="Ada", key=key)


def test_an_act_is_stored_once_and_taken_back_as_a_whole(store):
    before = standing(store)
    move(store)
    after = standing(store)
    assert [row[:3] for row in after] == [(0, 1, YES), (0, 2, NO), (2, 5, YES)]
    store.give_together([Given(3, 4, YES, "Ada")], [], annotator="Ada", key="move 1")  # a repeated request
    assert standing(store) == after
    for _ in range(2):  # the second is a repeated request
        (undone,) = store.undo(annotator="Ada", key="undo 1")
        assert undone is not None and (undone.first, undone.second) == (2, 5)
        assert standing(store) == before == standing(AnswerStore(store.path, IDS))
    assert store.answered(0).similarities.tolist()[-1] == 0.5  # what the model thought of it comes back
    assert store.tally().bits_spent == 4.0  # two answers and an act of two; nothing is paid twice
    assert store.undo(annotator="Ada") and len(store.standing()) == 1


def test_an_act_is_all_or_nothing(store):
    before = store.path.read_bytes()
    (first, *_) = store.standing()
    for given_, retracted, message in (
        ([], [], "an act needs at least one answer"),
        ([Given(0, 3, YES, "Ada")], [first.answer_id, 99], "retracted in the meantime"),
        ([Given(0, 3, YES, "Ada"), Given(3, 3, YES, "Ada")], [first.answer_id], "two different tiles"),
        ([Given(0, 3, YES, "Ada")], [first.answer_id, first.answer_id], "retracted in the meantime"),
    ):
        with pytest.raises(StoreError, match=message):
            store.give_together(given_, retracted, annotator="Ada")
    with pytest.raises(StoreError, match="belongs to another answer"):
        store.give_together([Given(0, 3, YES, "Ada")], [], annotator="Ada", key=first.key)
    assert store.path.read_bytes() == before


def test_an_answer_after_an_act_is_taken_back_alone_and_only_by_whom_it_was(store):
    move(store)
    store.give([Given(6, 7, YES, "Ada")])
    store.undo(annotator="Ada")
    assert len(store.standing()) == 3
    store.undo(annotator="Ben")  # his only answer went with the act: nothing of hers
    assert len(store.standing()) == 3
    with pytest.raises(StoreError, match="belongs to another answer"):
        store.undo(annotator="Ada", key="move 1")


def test_an_answer_of_an_act_that_was_corrected_since_stays_so(store):
    move(store)
    (no,) = (row for row in store.standing() if row.answer == NO)
    store.retract(no.answer_id, annotator="Ada")
    store.undo(annotator="Ada")
    assert [row[:3] for row in standing(store)] == [(0, 1, YES), (1, 2, YES)]


PAIRS = st.tuples(st.integers(0, 7), st.integers(0, 7)).filter(lambda pair: pair[0] < pair[1])


@settings(max_examples=40)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("act"), st.lists(PAIRS, min_size=1, max_size=4), st.integers(0, 3)),
            st.tuples(st.just("give"), st.lists(PAIRS, min_size=1, max_size=1), st.just(0)),
        ),
        max_size=8,
    )
)
def test_undo_goes_back_act_by_act_through_whatever_was_done(steps, tmp_path_factory):
    store = AnswerStore(tmp_path_factory.mktemp("store") / "answers.sqlite", IDS)
    for step, pairs, num_retracted in steps:
        before = standing(store)
        given_ = [Given(*pair, Answer((pair[0] + pair[1]) % 2), "Ada") for pair in pairs]
        if step == "give":
            store.give(given_)
        else:
            old = [row.answer_id for row in store.standing()][:num_retracted]
            store.give_together(given_, old, annotator="Ada")
            store.undo(annotator="Ada")
            assert standing(store) == before
            old = [row.answer_id for row in store.standing()][:num_retracted]
            store.give_together(given_, old, annotator="Ada")
    assert standing(AnswerStore(store.path, IDS)) == standing(store)
    for _ in range(len(store.records())):
        if not store.undo(annotator="Ada"):
            break
    assert standing(store) == []


KILLED = """
    import os, signal, sqlite3, sys
    from anneal_jax.answers.store import AnswerStore
    from anneal_jax.answers.writing import Given
    from anneal_jax.types import Answer

    connect, seen = sqlite3.connect, 0

    def watch(statement):
        global seen
        seen += statement.startswith("INSERT INTO answers")
        if seen == 900:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.execute("PRAGMA cache_size = 10")  # so that half of the act reaches the file
        connection.set_trace_callback(watch)
        return connection

    store = AnswerStore(sys.argv[1], [f"tile_{index}.tif" for index in range(8)])
    old = [row.answer_id for row in store.standing()]
    sqlite3.connect = watched
    given = [Given(0, 1 + place % 7, Answer.SIMILAR, "Ada") for place in range(500)]
    store.give_together(given, old, annotator="Ada")
"""


def test_a_kill_in_the_middle_of_an_act_leaves_nothing_of_it(store):
    store.give([Given(0, 1 + place % 7, NO, "Ada") for place in range(500)])
    before, num_bytes = standing(store), store.path.stat().st_size
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(store.path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert store.path.stat().st_size > num_bytes
    store = AnswerStore(store.path, IDS)
    assert standing(store) == before
    store.give_together([Given(0, 3, YES, "Ada")], [store.standing()[0].answer_id], annotator="Ada")
