"""What the store does with answers: keys, undoing, sets, kinds of question, and what they cost."""

import errno
import sqlite3

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.answers import sealed_file
from anneal_jax.answers.schema import DEFAULT_SENTENCE
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StorageFullError, StoreError
from anneal_jax.files import seals
from anneal_jax.types import Answer

IDS = [f"tile_{index}.png" for index in range(6)]
PAIRS = np.array([[0, 1], [2, 5], [1, 4], [0, 3]], np.int32)
SIMILAR, DISSIMILAR, UNSURE = Answer.SIMILAR, Answer.DISSIMILAR, Answer.UNSURE


@pytest.fixture
def store(tmp_path):
    opened = AnswerStore(tmp_path / "answers.sqlite", IDS)
    opened.add_round(0, PAIRS)
    return opened


def reopened(store):
    return AnswerStore(store.path, IDS)


def answer_all(store, *answers):
    questions = store.unanswered(0)
    return [
        store.record(question.question_id, answer, annotator="Ada", key=f"tap {question.question_id}")
        for question, answer in zip(questions, answers, strict=False)
    ]


def words(store):
    return store.answered(100).answers.tolist()


# Keys.


def test_a_repeated_request_gets_the_first_result_even_after_it_was_undone(store):
    def tap(answer=SIMILAR, question_id=1):
        return store.record(question_id, answer, annotator="Ada", key="tap 1", elapsed_s=1.5)

    assert tap() == tap() == 1
    assert store.undo()[0].answer_id == 1
    assert tap() == 1 and words(store) == []
    assert store.record(1, SIMILAR, annotator="Ada", key="tap 2") == 3  # row 2 is the undoing
    for other in (lambda: tap(DISSIMILAR), lambda: tap(question_id=2)):
        with pytest.raises(StoreError, match="key 'tap 1' belongs to another answer"):
            other()
    assert [record.key for record in store.records()] == ["tap 1", "tap 2"]


def test_a_repeated_undo_takes_back_one_answer(store):
    answer_all(store, SIMILAR, SIMILAR)
    assert store.undo(key="back 1")[0].answer_id == 2
    assert reopened(store).undo(key="back 1")[0].answer_id == 2
    assert words(store) == [SIMILAR]
    with pytest.raises(StoreError, match="key 'tap 1' belongs to another answer"):
        store.undo(key="tap 1")
    with pytest.raises(StoreError, match="key 'back 1' belongs to another answer"):
        store.retract(1, annotator="Ada", key="back 1")
    with pytest.raises(StoreError, match="key 'back 1' belongs to another answer"):
        store.record(3, SIMILAR, annotator="Ada", key="back 1")
    assert words(store) == [SIMILAR]


@pytest.mark.parametrize("elapsed_s", [-1.0, float("nan"), float("inf")])
def test_times_and_texts_that_are_none_are_refused(store, elapsed_s):
    with pytest.raises(StoreError, match="must be a non-negative number"):
        store.record(1, SIMILAR, annotator="Ada", elapsed_s=elapsed_s)
    for annotator in ("", " ", "A\nB", "A" * 501):
        with pytest.raises(StoreError, match=r"annotator .* must be one line of 1 to 500 characters"):
            store.record(1, SIMILAR, annotator=annotator)
    assert store.records() == []


# Undoing.


def test_any_number_of_answers_is_undone_also_after_a_restart(store):
    answer_all(store, SIMILAR, DISSIMILAR, UNSURE)
    assert store.undo()[0].answer == UNSURE
    assert reopened(store).undo()[0].answer == DISSIMILAR
    assert words(store) == [SIMILAR]
    assert [question.question_id for question in store.unanswered(0)] == [2, 3, 4]
    assert store.undo()[0].answer_id == 1
    assert store.undo() == []
    assert [record.undone_at is None for record in store.records()] == [False] * 3
    assert store.tally().bits_spent == 3.0  # what was taken back stays spent


def test_each_annotator_may_undo_their_own(store):
    for question, annotator in zip(store.unanswered(0), ("Ada", "Ben", "Ada"), strict=False):
        store.record(question.question_id, SIMILAR, annotator=annotator)
    assert store.undo(annotator="Ben")[0].question_id == 2
    assert store.undo(annotator="Ben") == []
    assert store.undo(annotator="Ada")[0].question_id == 3


def test_any_answer_is_taken_back_once(store):
    answer_all(store, SIMILAR, SIMILAR, SIMILAR)
    first = store.retract(2, annotator="Ben")
    assert store.retract(2, annotator="Ada") == first and first.undone_at
    store.record(2, DISSIMILAR, annotator="Ben")
    assert words(store) == [SIMILAR, DISSIMILAR, SIMILAR]
    with pytest.raises(StoreError, match="there is no answer 99 to retract"):
        store.retract(99, annotator="Ada")
    with pytest.raises(StoreError, match="there is no answer 4 to retract"):
        store.retract(4, annotator="Ada")  # a row that takes another back is no answer


@given(steps=st.lists(st.sampled_from(["similar", "dissimilar", "unsure", "undo", "restart"]), max_size=16))
def test_undoing_is_a_stack(steps, tmp_path_factory):
    store = AnswerStore(tmp_path_factory.mktemp("store") / "answers.sqlite", IDS)
    store.add_round(0, PAIRS)
    stack, num_given = [], 0
    for step in steps:
        if step == "undo":
            assert [undone.answer for undone in store.undo()] == (stack and [stack.pop()])
        elif step == "restart":
            store.close()
            store = reopened(store)
        elif question := next(iter(store.unanswered(0)), None):
            stack.append(Answer[step.upper()])
            store.record(question.question_id, stack[-1], annotator="Ada")
            num_given += 1
        assert words(store) == stack
        assert store.tally().bits_spent == num_given


# Sets.


def test_another_sentence_begins_a_set_of_its_own(store):
    assert (store.sentence(), store.present_set()) == (DEFAULT_SENTENCE, 1)
    answer_all(store, SIMILAR)
    assert store.set_sentence(f" {DEFAULT_SENTENCE} ") == 1
    assert store.set_sentence("Is the land used alike?") == 2
    assert words(store) == [] and store.unanswered(0) == [] and store.standing() == []
    assert store.tally().bits_spent == 0 and store.undo() == []
    store.add_round(1, PAIRS)
    store.record(store.unanswered(1)[0].question_id, DISSIMILAR, annotator="Ada")
    assert words(reopened(store)) == [DISSIMILAR]
    assert [record.set_id for record in store.records()] == [1, 2]
    with pytest.raises(StoreError, match=r"sentence .* must be one line"):
        store.set_sentence("two\nlines")


def test_that_a_sentence_was_said_is_stored_also_of_the_default(store):
    assert not store.is_settled()
    assert store.set_sentence(DEFAULT_SENTENCE) == 1
    assert reopened(store).is_settled() and store.sentences() == {1: DEFAULT_SENTENCE}


def test_an_earlier_sentence_goes_back_to_its_set_with_all_that_is_in_it(store):
    answer_all(store, SIMILAR, DISSIMILAR)
    store.give([Given(2, 3, SIMILAR, "Ada", kind="audit", key="audit 1")])
    tally = store.tally()
    store.set_sentence("Same land use")
    store.give([Given(4, 5, SIMILAR, "Ben", key="mark 1")])
    for _ in range(2):
        assert store.set_sentence(f" {DEFAULT_SENTENCE}") == 1
        store.close()
        store = reopened(store)
        assert (store.sentence(), store.present_set()) == (DEFAULT_SENTENCE, 1)
        assert words(store) == [SIMILAR, DISSIMILAR] and store.tally() == tally
        assert [question.question_id for question in store.unanswered(0)] == [3, 4]
        assert store.audited_pairs().tolist() == [[2, 3]]
    store.give([Given(0, 5, SIMILAR, "Ada", key="mark 2")])
    assert store.undo()[0].key == "mark 2"
    assert store.set_sentence("Same land use") == 2
    assert [record.key for record in store.standing()] == ["mark 1"]
    assert store.sentences() == {1: DEFAULT_SENTENCE, 2: "Same land use"}


# Kinds of question.


@pytest.mark.parametrize("kind", ["audit", "repeat"])
def test_what_only_measures_is_never_trained_on(store, kind):
    store.give([Given(*pair, SIMILAR, "Ada", kind=kind) for pair in PAIRS[:2].tolist()])
    assert words(store) == [] and len(store.unanswered(0)) == 4
    assert [record.kind for record in store.standing()] == [kind, kind]
    assert store.tally().bits_spent == 2.0
    assert store.audited_pairs().tolist() == ([[0, 1], [2, 5]] if kind == "audit" else [])
    assert store.audited_pairs().dtype == np.int32


def test_a_round_asks_each_pair_once(store):
    with pytest.raises(StoreError, match=r"different pairs .*a pair occurs twice"):
        store.add_round(1, PAIRS[[0, 0]])
    assert store.facts(1) is None


def test_volunteered_answers_teach_from_the_round_on_in_which_they_came(store):
    before = AnswerStore(store.path.with_name("fresh.sqlite"), IDS)
    before.give([Given(5, 0, SIMILAR, "Ada", key="mark 1")])
    assert before.answered(-1).pair_indices.tolist() == [[0, 5]]
    assert before.answered(-1).round_indices.tolist() == [-1] and before.facts(0) is None

    store.add_round(1, PAIRS[:1])
    ids = store.give([Given(4, 2, DISSIMILAR, "Ada", elapsed_s=3.0), Given(0, 5, SIMILAR, "Ada", key="m")])
    assert store.give([Given(0, 5, SIMILAR, "Ada", key="m")]) == ids[1:]
    assert words(store) == [DISSIMILAR, SIMILAR]
    assert len(store.answered(0).answers) == 0
    assert store.tally() == (2, 0, 2.0, 3.0)
    assert store.undo()[0].answer_id == ids[1]
    assert len(store.unanswered(0)) + len(store.unanswered(1)) == 5  # nobody is asked for it


@pytest.mark.parametrize(
    "bad", [Given(1, 1, SIMILAR, "A"), Given(0, 6, SIMILAR, "A"), Given(0, 1, UNSURE, "A", "x")]
)
def test_a_bad_volunteered_answer_leaves_nothing_of_its_batch(store, bad):
    with pytest.raises(StoreError, match=r"two different tiles of the archive.*none was stored"):
        store.give([Given(0, 1, SIMILAR, "Ada"), bad])
    assert store.records() == []


def test_a_volunteered_answer_may_carry_its_similarity(store):
    one, again = store.give([Given(0, 5, SIMILAR, "Ada", key="m", similarity=0.25)] * 2)
    assert one == again
    np.testing.assert_array_equal(store.answered(0).similarities, np.float32([0.25]))


def test_similarities_of_a_round_pass_over_what_cannot_be_scored(store):
    answer_all(store, SIMILAR, DISSIMILAR)
    store.give([Given(3, 5, SIMILAR, "Ada")])
    store.give([Given(*PAIRS[0].tolist(), SIMILAR, "Ada", kind="repeat")])
    store.set_similarities(0, np.float32([0.5, np.nan, 0.25]))
    store.set_similarities(0, np.float32([0.75, -0.5, 0.75]))  # what stands is kept
    np.testing.assert_array_equal(store.answered(0).similarities, np.float32([0.5, -0.5, 0.25]))


def test_a_tally_counts_up_to_a_round(store):
    answer_all(store, SIMILAR, UNSURE)
    store.add_round(1, PAIRS[:1])
    store.record(store.unanswered(1)[0].question_id, SIMILAR, annotator="Ada", elapsed_s=2.0)
    assert store.tally(0) == (2, 1, 2.0, 0.0)
    assert store.tally(1) == store.tally() == (3, 1, 3.0, 2.0)


# A full disk.


def test_a_full_disk_is_said_and_nothing_half_stored_is_acknowledged(store, monkeypatch):
    num_pages = store.path.stat().st_size // 4096
    settings = (*sealed_file._PRAGMAS, f"max_page_count = {num_pages + 2}")
    monkeypatch.setattr(sealed_file, "_PRAGMAS", settings)
    acknowledged = []
    with pytest.raises(StorageFullError, match=r"no room left .* was not stored; free some space"):
        for index in range(1_000):
            given = Given(0, 1, SIMILAR, "A" * 400, key=f"{index}")
            acknowledged += store.give([given])
    assert acknowledged
    with pytest.raises(StorageFullError):
        store.add_round(1, np.array([[0, 1]], np.int32), facts={"text": "x" * 20_000})
    monkeypatch.undo()
    store = reopened(store)
    assert [record.answer_id for record in store.records()] == acknowledged
    assert store.facts(1) is None
    store.give([Given(0, 1, SIMILAR, "Ada")])


def test_a_seal_that_finds_no_room_is_said_too(store, monkeypatch):
    def fail(path, content):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(seals, "write_sealed", fail)
    with pytest.raises(StorageFullError):
        store.close()
    monkeypatch.undo()
    store.close()
    monkeypatch.setattr(seals, "write_sealed", fail)
    with pytest.raises(StorageFullError):
        store.record(1, SIMILAR, annotator="Ada")
    assert store.records() == []


def test_nothing_is_ever_changed_or_deleted(store):
    """Everything that the store can do runs on a database that refuses UPDATE and DELETE."""
    refused = (sqlite3.SQLITE_UPDATE, sqlite3.SQLITE_DELETE)
    connect = sqlite3.connect

    def watched(*arguments, **named):
        connection = connect(*arguments, **named)
        connection.set_authorizer(lambda action, *_: sqlite3.SQLITE_DENY if action in refused else 0)
        return connection

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sqlite3, "connect", watched)
        with pytest.raises(StoreError, match="not authorized"), store.changing() as connection:
            connection.execute("DELETE FROM answers")
        answer_all(store, SIMILAR, SIMILAR)
        store.undo()
        store.retract(1, annotator="Ada")
        store.set_similarities(0, np.zeros(0, np.float32))
        store.give([Given(0, 1, SIMILAR, "Ada", undone_at="2026-01-01T00:00:00.000Z")])
        store.set_sentence("Other?")
        store.set_sentence(DEFAULT_SENTENCE)
        reopened(store)
    assert len(store.records()) == 3
