"""Glances in the store: their answers go in together, come back together, and are taken back together."""

import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap

import numpy as np
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from anneal_jax.acquisition.beliefs.seconds import GlanceSeconds
from anneal_jax.answers.glances import AnsweredGlance
from anneal_jax.answers.reading import Looks
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer

IDS = [f"tile_{index}.png" for index in range(20)]
OLD_3 = pathlib.Path(__file__).parent / "data" / "answers_v3.sqlite"
OLD_IDS = [f"Äcker 森/tile_{index}.tif" for index in range(6)]
YES, NO, UNSURE = Answer.SIMILAR, Answer.DISSIMILAR, Answer.UNSURE
GRID = AnsweredGlance("look 1", "grid", 4, (0, 9, 7), (1,), 3.0)


@pytest.fixture
def store(tmp_path):
    return AnswerStore(tmp_path / "answers.sqlite", IDS)


def reopened(store):
    return AnswerStore(store.path, IDS)


def said(records):
    return [(record.first, record.second, record.answer) for record in records]


def test_a_grid_is_stored_as_its_answers_which_know_it_and_are_of_its_kind(store):
    records = store.add_glance(GRID, annotator="Ada", similarities={9: 0.25})
    assert said(records) == [(4, 9, NO), (0, 4, YES), (4, 7, YES)]
    assert [record.is_weak for record in records] == [False, True, True]
    assert {record.glance for record in reopened(store).records()} == {GRID}
    assert store.tally().elapsed_s == pytest.approx(3.0) and store.tally().bits_spent == 3.0
    np.testing.assert_array_equal(store.answered(0).similarities, np.float32([0.25, np.nan, np.nan]))


@pytest.mark.parametrize(
    ("picked", "expected"),
    [((0,), [YES]), ((2,), [NO, NO, YES]), ((), [NO, NO, NO]), (None, [UNSURE])],
)
def test_a_choice_denies_what_was_looked_at_before_it_and_no_more(store, picked, expected):
    records = store.add_glance(AnsweredGlance("look 1", "choice", 4, (0, 9, 7), picked), annotator="Ada")
    assert [record.answer for record in records] == expected
    assert not any(record.is_weak for record in records)


def test_a_grid_that_leaves_a_person_unsure_says_so_of_every_tile(store):
    records = store.add_glance(GRID._replace(picked=None), annotator="Ada")
    assert said(records) == [(0, 4, UNSURE), (4, 9, UNSURE), (4, 7, UNSURE)]


def test_looks_count_a_glance_once_and_what_was_taken_back_too(store):
    choice = AnsweredGlance("look 2", "choice", 4, (1, 2, 3), (1,))
    store.add_round(0, np.array([(0, 1)], np.int32))
    store.record(store.unanswered(0)[0].question_id, YES, annotator="Ada")
    store.add_glance(choice, annotator="Ada")
    store.add_round(1, np.empty((0, 2), np.int32))
    store.add_glance(GRID, annotator="Ada")
    store.add(Given(5, 6, NO, "Ada"))
    store.undo()
    store.undo()
    assert store.looks(-1) == Looks(0, [])
    assert store.looks(0) == Looks(1, [choice])
    assert store.looks(1) == reopened(store).looks(1) == Looks(2, [choice, GRID])
    assert [glance.num_clicks for glance in store.looks(1).glances] == [0, 1]
    seconds = (1.6 + 1.6) + (1.6 + 2 * 0.25) + (1.5 + 3 * 0.35 + 0.7)
    assert GlanceSeconds().of_looks(store.looks(1)) == pytest.approx(seconds)
    store.begin_set("they show the same town", annotator="Ada")
    assert store.looks(1) == Looks(0, [])


def test_a_repeated_request_stores_nothing_and_another_answer_is_refused(store):
    first = store.add_glance(GRID, annotator="Ada")
    assert reopened(store).add_glance(GRID, annotator="Ada") == first
    for other in (GRID._replace(picked=(0,)), GRID._replace(picked=None), GRID._replace(subject=5)):
        with pytest.raises(StoreError, match="belongs to another answer"):
            store.add_glance(other, annotator="Ada")
    longer = GRID._replace(others=(0, 9, 7, 8))
    with pytest.raises(StoreError, match="are incomplete or differ; none was stored"):
        store.add_glance(longer, annotator="Ada")
    assert store.records() == first


def test_undo_takes_the_whole_glance_and_its_key_takes_no_second_one(store):
    store.give([Given(1, 2, YES, "Ada")])
    store.add_glance(GRID, annotator="Ada")
    store.give([Given(2, 3, YES, "Ben")])
    undone = store.undo(annotator="Ada", key="back 1")
    assert said(undone) == [(4, 9, NO), (0, 4, YES), (4, 7, YES)] and len(store.standing()) == 2
    assert reopened(store).undo(annotator="Ada", key="back 1") == undone
    assert said(store.undo(annotator="Ada", key="back 2")) == [(1, 2, YES)]
    assert store.undo(annotator="Ada") == [] and said(store.standing()) == [(2, 3, YES)]


def test_what_was_taken_back_by_itself_is_no_part_of_the_undoing(store):
    first, *rest = store.add_glance(GRID, annotator="Ada")
    store.retract(first.answer_id, annotator="Ada")
    assert [record.answer_id for record in store.undo()] == [record.answer_id for record in rest]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "pair"}, "a glance is one of choice, grid, not 'pair'"),
        ({"others": ()}, "a grid shows 1 to 12 different tiles besides its subject"),
        ({"others": (0, 9, 4)}, "1 to 12 different tiles"),
        ({"others": tuple(range(5, 18))}, "1 to 12 different tiles"),
        ({"kind": "choice", "others": (0, 1, 2, 3, 5, 6)}, "a choice shows 1 to 5 different tiles"),
        ({"picked": (3,)}, r"\[3\] cannot be picked in a grid of 3 tiles"),
        ({"picked": (1, 0)}, r"\[1, 0\] cannot be picked"),
        ({"picked": (-1,)}, r"\[-1\] cannot be picked"),
        ({"kind": "choice", "picked": (0, 1)}, r"\[0, 1\] cannot be picked in a choice of 3 tiles"),
        ({"elapsed_s": -1.0}, "elapsed_s=-1.0 must be"),
        ({"elapsed_s": float("nan")}, "elapsed_s=nan must be"),
        ({"others": (0, 99)}, "two different tiles of the archive"),
        ({"key": " "}, "must be one line"),
    ],
)
def test_what_is_no_glance_is_refused_and_nothing_of_it_stays(store, wrong, message):
    with pytest.raises(StoreError, match=message):
        store.add_glance(GRID._replace(**wrong), annotator="Ada")
    assert store.records() == []
    store.add_glance(GRID, annotator="Ada")


class Undoing(RuleBasedStateMachine):
    """Pairs and glances are answered, repeated and taken back: the store is a stack of glances."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.store = AnswerStore(pathlib.Path(self.folder.name) / "answers.sqlite", IDS)
        self.stack, self.bits, self.last, self.last_undo = [], 0, None, None

    def teardown(self):
        self.folder.cleanup()

    @rule(answer=st.sampled_from(Answer), pair=st.sets(st.integers(0, 19), min_size=2, max_size=2))
    def answer_pair(self, answer, pair):
        given = Given(*sorted(pair), answer, "Ada", key=f"tap {self.bits}")
        self.store.give([given])
        self.last = lambda: self.store.give([given])
        self.stack.append([(given.first, given.second, answer)])
        self.bits += 1

    @rule(
        kind=st.sampled_from(["choice", "grid"]),
        tiles=st.lists(st.integers(0, 19), min_size=3, max_size=6, unique=True),
        data=st.data(),
    )
    def answer_glance(self, kind, tiles, data):
        most = 1 if kind == "choice" else len(tiles) - 1
        places = st.sets(st.integers(0, len(tiles) - 2), max_size=most).map(
            lambda found: tuple(sorted(found))
        )
        picked = data.draw(st.none() | places)
        glance = AnsweredGlance(f"look {self.bits}", kind, tiles[0], tuple(tiles[1:]), picked, 2.0)
        records = self.store.add_glance(glance, annotator="Ada")
        self.last = lambda: self.store.add_glance(glance, annotator="Ada")
        self.stack.append(said(records))
        self.bits += len(records)

    @rule()
    def repeat(self):
        if self.last is not None:
            self.last()

    @rule()
    def undo(self):
        key = f"back {self.bits} {len(self.stack)}"
        self.last_undo = key, self.store.undo(annotator="Ada", key=key)
        assert said(self.last_undo[1]) == (self.stack.pop() if self.stack else [])

    @rule()
    def repeat_undo(self):
        if self.last_undo is not None and self.last_undo[1]:
            key, undone = self.last_undo
            assert self.store.undo(annotator="Ada", key=key) == undone

    @rule()
    def restart(self):
        self.store.close()
        self.store = reopened(self.store)

    @invariant()
    def what_stands_is_the_stack(self):
        if hasattr(self, "store"):
            assert said(self.store.standing()) == [row for rows in self.stack for row in rows]
            assert self.store.tally().bits_spent == self.bits


TestUndoing = Undoing.TestCase


KILLED_LOOKER = """
    import os, signal, sqlite3, sys
    from anneal_jax.answers.glances import AnsweredGlance
    from anneal_jax.answers.store import AnswerStore

    connect, moment = sqlite3.connect, sys.argv[2]

    def watch(statement):
        if statement.startswith(moment):
            os.kill(os.getpid(), signal.SIGKILL)

    ids = [f"tile_{index}.png" for index in range(20)]
    store = AnswerStore(sys.argv[1], ids)
    store.add_glance(AnsweredGlance("look 1", "choice", 4, (0, 9, 7), (1,), 3.0), annotator="Ada")

    def watched(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.set_trace_callback(watch)
        return connection

    sqlite3.connect = watched
    store.add_glance(AnsweredGlance("look 2", "grid", 5, tuple(range(6, 18)), (), 3.0), annotator="Ada")
    print("stored", flush=True)
"""


@pytest.mark.parametrize(
    "moment", ["INSERT INTO answers", "INSERT INTO glances", "INSERT INTO glance_answers", "COMMIT"]
)
def test_a_kill_in_the_middle_of_a_glance_leaves_none_of_its_answers(tmp_path, moment):
    path = tmp_path / "answers.sqlite"
    command = [sys.executable, "-c", textwrap.dedent(KILLED_LOOKER), str(path), moment]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
    store = AnswerStore(path, IDS)
    assert said(store.records()) == [(0, 4, NO), (4, 9, YES)]
    again = AnsweredGlance("look 2", "grid", 5, tuple(range(6, 18)), (), 3.0)
    assert len(store.add_glance(again, annotator="Ada")) == 12  # the page sends it again


def test_a_store_of_the_third_version_takes_glances(tmp_path):
    path = tmp_path / "answers.sqlite"
    shutil.copy(OLD_3, path)
    store = AnswerStore(path, OLD_IDS)
    assert all(record.glance is None for record in store.records())
    store.add_glance(AnsweredGlance("look 1", "grid", 4, (0, 2), ()), annotator="Ada")
    store.close()
    assert len(AnswerStore(path, OLD_IDS).undo(annotator="Ada")) == 2
