import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from contextlib import closing

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.answers.schema import SCHEMA_VERSION
from anneal_jax.answers.store import AnswerStore
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer
from tests.reference.pairs import all_pairs

IDS = [f"field/tile_{index}.tif" for index in range(6)]
PAIRS = np.array([[0, 1], [2, 5], [1, 4], [0, 3]], np.int32)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers.sqlite"


@pytest.fixture
def store(path):
    return AnswerStore(path, IDS)


def contents(store, last_round=100):
    answered = store.answered(last_round)
    rows = (column.tolist() for column in answered._replace(similarities=answered.round_indices)[:4])
    return list(zip(*rows, strict=True))


def answer_all(store, round_index, answer=Answer.SIMILAR):
    for question in store.unanswered(round_index):
        store.record(question.question_id, answer, annotator="test")


def test_questions_come_in_the_order_asked_until_they_are_answered(store):
    store.add_round(0, PAIRS)
    questions = store.unanswered(0)
    assert [[q.first, q.second] for q in questions] == PAIRS.tolist()
    store.record(questions[2].question_id, Answer.SIMILAR, annotator="test")
    assert store.unanswered(0) == [questions[0], questions[1], questions[3]]
    assert store.unanswered(1) == []
    answer_all(store, 0)
    assert store.unanswered(0) == []


def test_answers_come_back_in_the_order_asked_with_all_that_was_recorded(store):
    similarities = np.array([0.1, -1.0, np.nan, 1 / 3], np.float32)
    store.add_round(0, PAIRS, similarities=similarities)
    store.add_round(1, np.array([[2, 3]], np.int32))
    first, second, third, fourth = store.unanswered(0)
    (last,) = store.unanswered(1)
    for question, answer in (
        (last, Answer.SIMILAR),
        (fourth, Answer.UNSURE),
        (second, Answer.DISSIMILAR),
        (first, Answer.SIMILAR),
        (third, Answer.SIMILAR),
    ):
        store.record(question.question_id, answer, annotator="test")
    answered = store.answered(1)
    np.testing.assert_array_equal(answered.pair_indices, [*PAIRS.tolist(), [2, 3]])
    np.testing.assert_array_equal(answered.answers, [1, 0, 1, 2, 1])
    np.testing.assert_array_equal(answered.similarities, [*similarities, np.nan])
    np.testing.assert_array_equal(answered.round_indices, [0, 0, 0, 0, 1])
    assert [column.dtype for column in answered] == [
        np.int32,
        np.int8,
        np.float32,
        np.int32,
        np.bool_,
        np.bool_,
    ]
    assert len(store.answered(0).answers) == 4


def test_an_empty_store_has_empty_arrays(store):
    answered = store.answered(0)
    assert answered.pair_indices.shape == (0, 2)
    assert [column.dtype for column in answered] == [
        np.int32,
        np.int8,
        np.float32,
        np.int32,
        np.bool_,
        np.bool_,
    ]


@given(
    order=st.permutations(range(4)),
    answers=st.lists(st.sampled_from(list(Answer)), min_size=4, max_size=4),
)
def test_any_order_of_answering_ends_the_same(order, answers, tmp_path_factory):
    store = AnswerStore(tmp_path_factory.mktemp("store") / "answers.sqlite", IDS)
    store.add_round(0, PAIRS)
    questions = store.unanswered(0)
    for place in order:
        store.record(questions[place].question_id, answers[place], annotator="test")
        store.record(questions[place].question_id, answers[place], annotator="again")
    assert store.answered(0).answers.tolist() == answers
    assert store.answered(0).pair_indices.tolist() == PAIRS.tolist()


@pytest.mark.parametrize("second", list(Answer))
@pytest.mark.parametrize("first", list(Answer))
def test_the_same_answer_again_is_nothing_and_another_is_refused(store, first, second):
    store.add_round(0, PAIRS)
    (question, *_) = store.unanswered(0)
    store.record(question.question_id, first, annotator="test")
    if second == first:
        store.record(question.question_id, second, annotator="test")
    else:
        message = f"was already answered {first.name.lower()}; {second.name.lower()} was not stored"
        with pytest.raises(StoreError, match=message):
            store.record(question.question_id, second, annotator="test")
    assert store.answered(0).answers.tolist() == [first]


def test_an_unknown_question_is_refused(store):
    store.add_round(0, PAIRS)
    with pytest.raises(StoreError, match="there is no question 5"):
        store.record(5, Answer.SIMILAR, annotator="test")
    assert contents(store) == []


def test_a_round_is_asked_once(store):
    store.add_round(0, PAIRS)
    questions = store.unanswered(0)
    with pytest.raises(StoreError, match="round 0 was already asked"):
        store.add_round(0, PAIRS[:1])
    assert store.unanswered(0) == questions


def test_a_round_without_questions_is_a_round(store):
    store.add_round(0, PAIRS[:0])
    assert store.facts(0) == {}
    assert store.unanswered(0) == []


@pytest.mark.parametrize("bad", [[1, 0], [2, 2], [0, 6], [0, 1], [-1, 2]])
def test_a_bad_pair_leaves_nothing_of_its_round(store, bad):
    pairs = np.array([*PAIRS.tolist(), bad], np.int32)
    with pytest.raises(StoreError, match=r"questions of round 0 .*none was stored"):
        store.add_round(0, pairs)
    assert store.facts(0) is None and store.unanswered(0) == []
    store.add_round(0, PAIRS)
    assert len(store.unanswered(0)) == len(PAIRS)


def test_facts_come_back_and_only_strict_json_is_taken(store):
    assert store.facts(0) is None
    facts = {"threshold": 0.1, "select_s": 1e-9, "name": "prequential", "none": None}
    store.add_round(0, PAIRS, facts=facts)
    assert store.facts(0) == facts
    with pytest.raises(ValueError, match="not JSON compliant"):
        store.add_round(1, PAIRS, facts={"threshold": np.nan})
    assert store.facts(1) is None


def test_similarities_can_be_recorded_later_one_for_each_question(store):
    store.add_round(0, PAIRS)
    store.add_round(1, PAIRS)
    answer_all(store, 0)
    answer_all(store, 1)
    similarities = np.array([0.5, -0.25, 0.125, np.nan], np.float32)
    store.set_similarities(0, similarities)
    np.testing.assert_array_equal(store.answered(0).similarities, similarities)
    assert np.isnan(store.answered(1).similarities[4:]).all()
    with pytest.raises(ValueError, match="zip"):
        store.set_similarities(0, np.zeros(3, np.float32))
    np.testing.assert_array_equal(store.answered(0).similarities, similarities)


def test_thousands_of_tiles_with_any_names(path):
    ids = [f"Äcker 森/{index:05d}'; --.tif" for index in range(5_000)]
    pairs = np.array(all_pairs(100)[:4_000], np.int32) + 4_900
    AnswerStore(path, ids).add_round(0, pairs)
    questions = AnswerStore(path, ids).unanswered(0)
    assert [[q.first, q.second] for q in questions] == pairs.tolist()


# Durability.


@pytest.mark.parametrize("transaction", [AnswerStore.reading, AnswerStore.changing])
def test_every_transaction_runs_alone_with_the_promised_settings(store, path, transaction):
    with transaction(store) as connection:
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
        locked = pytest.raises(sqlite3.OperationalError, match="locked")
        with closing(sqlite3.connect(path, timeout=0)) as other, locked:
            other.execute("BEGIN IMMEDIATE")
    assert settings == {"journal_mode": "delete", "synchronous": 3, "foreign_keys": 1}


def test_a_store_that_was_turned_to_write_ahead_logging_is_turned_back(store, path):
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
    connection.close()
    store.add_round(0, PAIRS)
    # Bytes 18 and 19 of an SQLite file: 1 is the rollback journal, 2 is write-ahead logging.
    assert path.read_bytes()[18:20] == b"\x01\x01"


RECORDER = """
    import sys
    from anneal_jax.answers.store import AnswerStore
    from anneal_jax.types import Answer
    store = AnswerStore(sys.argv[1], sys.argv[2].split(","))
    for question in store.unanswered(0):
        store.record(question.question_id, Answer(question.question_id % 3), annotator="child")
        print(question.question_id, flush=True)
"""


@pytest.mark.parametrize("num_seen", [1, 40, 111])
def test_no_acknowledged_answer_is_lost_to_a_kill(path, num_seen):
    ids = [str(index) for index in range(21)]
    AnswerStore(path, ids).add_round(0, np.array(all_pairs(21), np.int32))
    command = [sys.executable, "-c", textwrap.dedent(RECORDER), str(path), ",".join(ids)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        acknowledged = [int(child.stdout.readline()) for _ in range(num_seen)]
        child.kill()
        acknowledged += [int(line) for line in child.stdout.read().split()]
        assert child.wait() == -signal.SIGKILL
    store = AnswerStore(path, ids)
    stored = store.answered(0)
    open_ids = {question.question_id for question in store.unanswered(0)}
    # At most one more was stored: the one whose acknowledgement the kill cut off.
    assert len(acknowledged) <= len(stored.answers) <= len(acknowledged) + 1
    assert not open_ids & set(acknowledged)
    assert len(open_ids) + len(stored.answers) == 210
    assert stored.answers.tolist() == [(index + 1) % 3 for index in range(len(stored.answers))]


KILLED_ASKER = """
    import os, signal, sqlite3, sys
    import numpy as np
    from anneal_jax.answers import store

    connect, seen = sqlite3.connect, 0

    def watch(statement):
        global seen
        seen += statement.startswith("INSERT INTO questions")
        if seen == 30_000:
            os.kill(os.getpid(), signal.SIGKILL)

    def watched(*args, **kwargs):
        connection = connect(*args, **kwargs)
        connection.execute("PRAGMA cache_size = 10")  # so that half a round reaches the file
        connection.set_trace_callback(watch)
        return connection

    sqlite3.connect = watched
    ids = [str(index) for index in range(400)]
    pairs = np.stack(np.triu_indices(400, 1), axis=1).astype(np.int32)
    store.AnswerStore(sys.argv[1], ids).add_round(1, pairs[:40_000])
"""


def test_a_kill_in_the_middle_of_a_rounds_questions_leaves_none_of_them(path):
    ids = [str(index) for index in range(400)]
    AnswerStore(path, ids).add_round(0, PAIRS)
    num_bytes = path.stat().st_size
    command = [sys.executable, "-c", textwrap.dedent(KILLED_ASKER), str(path)]
    assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
    assert path.stat().st_size > num_bytes and path.with_name(path.name + "-journal").exists()
    store = AnswerStore(path, ids)
    assert store.facts(1) is None and store.unanswered(1) == []
    assert len(store.unanswered(0)) == len(PAIRS)
    store.add_round(1, PAIRS)
    assert len(store.unanswered(1)) == len(PAIRS)


def test_two_openers_see_each_others_answers(path):
    one, other = AnswerStore(path, IDS), AnswerStore(path, IDS)
    one.add_round(0, PAIRS)
    question = other.unanswered(0)[0]
    other.record(question.question_id, Answer.SIMILAR, annotator="other")
    assert question not in one.unanswered(0)
    with pytest.raises(StoreError, match="already answered similar"):
        one.record(question.question_id, Answer.DISSIMILAR, annotator="one")


def test_many_writers_at_once_lose_nothing(path):
    num_writers, failures = 4, []
    start = threading.Barrier(num_writers)

    def write(writer):
        try:
            start.wait()
            store = AnswerStore(path, IDS)  # all of them may be the one to create it
            store.add_round(writer, PAIRS)
            answer_all(store, writer, Answer(writer % 3))
        except Exception as error:  # asserted on below, in the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=write, args=(index,)) for index in range(num_writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    answered = AnswerStore(path, IDS).answered(num_writers)
    assert sorted(zip(answered.round_indices.tolist(), answered.answers.tolist(), strict=True)) == [
        (writer, writer % 3) for writer in range(num_writers) for _ in PAIRS
    ]


# What is no store of ours.


def test_a_store_of_another_archive_is_refused(store, path):
    store.add_round(0, PAIRS)
    for other in (IDS[:-1], IDS[::-1], [*IDS, "new"]):
        with pytest.raises(StoreError, match=r"answers\.sqlite belong to an archive with other tile"):
            AnswerStore(path, other)
    assert len(AnswerStore(path, IDS).unanswered(0)) == len(PAIRS)


def test_a_store_of_a_later_schema_is_refused(store, path):
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", ("99",))
    connection.close()
    message = f"has schema 99; this version reads schema {SCHEMA_VERSION}. Use the version"
    with pytest.raises(StoreError, match=message):
        AnswerStore(path, IDS)


def cut(path, num_bytes):
    path.write_bytes(path.read_bytes()[:-num_bytes])


def overwrite(path, start, data):
    whole = bytearray(path.read_bytes())
    whole[start : start + len(data)] = data
    path.write_bytes(bytes(whole))


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(b"id,label\n" * 500),
        lambda path: cut(path, 4096),
        lambda path: cut(path, path.stat().st_size // 2),
        lambda path: overwrite(path, 0, b"\0" * 16),
        lambda path: overwrite(path, 4096, b"\xff" * 4096),
    ],
    ids=["text", "a page short", "half", "header", "second page"],
)
def test_a_damaged_store_is_refused_in_one_sentence_and_left_as_it_is(store, path, damage):
    store.add_round(0, PAIRS)
    damage(path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match=r"answer store \S+answers\.sqlite .*restore a copy") as caught:
        AnswerStore(path, IDS)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == before


def test_another_programs_database_is_refused(path):
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE tiles (name TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="cannot be used"):
        AnswerStore(path, IDS)


def test_a_store_in_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(StoreError, match="unable to open database file"):
        AnswerStore(tmp_path / "nowhere" / "answers.sqlite", IDS)


def test_a_store_that_vanished_is_missed(store, path):
    store.add_round(0, PAIRS)
    path.unlink()
    with pytest.raises(StoreError, match="cannot be used"):
        store.record(1, Answer.SIMILAR, annotator="test")
