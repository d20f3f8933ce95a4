"""Whatever changes in a store's file is noticed; and a file of the first version opens."""

import json
import pathlib
import random
import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest

from anneal_jax.answers.file_answers import SaidOfFile, answered_files, say_of_file
from anneal_jax.answers.glances import AnsweredGlance
from anneal_jax.answers.schema import DEFAULT_SENTENCE, SCHEMA_VERSION
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer
from tests.reference.pairs import all_pairs

IDS = [f"field/tile_{index}.png" for index in range(12)]
OLD = pathlib.Path(__file__).parent / "data" / "answers_v1.sqlite"
OLD_2, OLD_3 = (OLD.with_name(f"answers_v{version}.sqlite") for version in (2, 3))
OLD_IDS = [f"Äcker 森/tile_{index}.tif" for index in range(6)]


def write_store(path):
    """Leave a store in which every table has rows."""
    store = AnswerStore(path, IDS)
    store.add_round(0, np.array(all_pairs(len(IDS)), np.int32), facts={"select_s": 0.25})
    for question in store.unanswered(0)[:50]:
        answer = Answer(question.question_id % 3)
        store.record(question.question_id, answer, annotator="Ada", elapsed_s=1.5)
    store.set_similarities(0, np.linspace(-1, 1, 50, dtype=np.float32))
    store.add_glance(AnsweredGlance("look 1", "grid", 4, (0, 9, 7), (1,), 3.0), annotator="Ada")
    store.undo()
    store.set_sentence("Is the land used alike?")
    store.add_round(1, np.array([[0, 1]], np.int32), similarities=np.float32([0.5]))
    store.rename_set("Is the land used so?", annotator="Ada")
    store.give_together([Given(0, 1, Answer.SIMILAR, "Ada")], [], annotator="Ada")
    for tile, answer in ((3, Answer.SIMILAR), (4, Answer.DISSIMILAR), (3, None)):
        say_of_file(store, SaidOfFile("ab" * 32, np.float32([0.5, -1.5]), tile, answer, "Ada"))
    return store


def everything(store):
    with store.reading() as connection:
        return list(connection.iterdump())


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(data))


def check_flips(path, num_flips, seed):
    """Flip random bits of a closed store, one at a time: each is noticed, and nothing is written."""
    write_store(path).close()
    sound, seal = path.read_bytes(), path.with_name(path.name + ".seal")
    rng = random.Random(seed)
    for bit in rng.sample(range(8 * len(sound)), num_flips):
        flip(path, bit)
        with pytest.raises(StoreError, match=r"damaged|cannot be used"):
            AnswerStore(path, IDS)
        flip(path, bit)
        assert path.read_bytes() == sound
    for bit in rng.sample(range(8 * seal.stat().st_size), min(num_flips, 20)):
        flip(seal, bit)
        with pytest.raises(StoreError, match="damaged"):
            AnswerStore(path, IDS)
        flip(seal, bit)
    AnswerStore(path, IDS)


def check_flips_in_use(path, num_flips, seed):
    """Flip bits of a store that nobody closed: each is noticed, or lies where nothing is kept."""
    expected = everything(write_store(path))
    sound = path.read_bytes()
    num_noticed = 0
    for bit in random.Random(seed).sample(range(8 * len(sound)), num_flips):
        flip(path, bit)
        try:
            assert everything(AnswerStore(path, IDS)) == expected
        except StoreError:
            num_noticed += 1
        path.write_bytes(sound)
    return num_noticed


def test_ten_flipped_bits_of_a_closed_store_are_noticed(tmp_path):
    check_flips(tmp_path / "answers.sqlite", num_flips=10, seed=0)


def test_flipped_bits_of_a_store_in_use_change_nothing_unnoticed(tmp_path):
    assert check_flips_in_use(tmp_path / "answers.sqlite", num_flips=60, seed=1) >= 5


@pytest.mark.soak
def test_two_hundred_flipped_bits_are_noticed(tmp_path):
    check_flips(tmp_path / "closed.sqlite", num_flips=200, seed=2)
    num_noticed = check_flips_in_use(tmp_path / "in_use.sqlite", num_flips=200, seed=3)
    print(
        f"{num_noticed} of 200 flips in a store that was not closed were noticed; the rest changed nothing"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE answers SET answer = 1 - answer WHERE answer_id = 1", "row 1 of its table answers"),
        ("UPDATE answers SET annotator = 'Bea' WHERE answer_id = 7", "row 7 of its table answers"),
        ("UPDATE answers SET elapsed_s = 9.5 WHERE answer_id = 9", "row 9 of its table answers"),
        ("DELETE FROM answers WHERE answer_id = 20", "row 20 of its table answers"),
        ("UPDATE questions SET similarity = 0.25 WHERE question_id = 67", "row 67 of its table questions"),
        ("UPDATE questions SET kind = 'audit' WHERE question_id = 3", "row 3 of its table questions"),
        ("UPDATE scores SET similarity = 0.25 WHERE score_id = 1", "row 1 of its table scores"),
        ("UPDATE rounds SET facts = '{}' WHERE round_index = 0", "row 1 of its table rounds"),
        ("UPDATE sets SET sentence = 'Alike?' WHERE set_id = 2", "row 2 of its table sets"),
        ("UPDATE glances SET picked = '[0]'", "row 1 of its table glances"),
        ("DELETE FROM glance_answers WHERE place = 2", "row 2 of its table glance_answers"),
        ("UPDATE chosen_sets SET set_id = 1", "row 1 of its table chosen_sets"),
        ("UPDATE renamed_sets SET sentence = 'Alike?'", "row 1 of its table renamed_sets"),
        ("UPDATE set_changes SET from_sentence = 'Alike?'", "row 1 of its table set_changes"),
        ("UPDATE acts SET first_answer = 1", "row 1 of its table acts"),
        ("DELETE FROM chosen_sets; DELETE FROM sets WHERE set_id = 2", "is damaged"),
        ("UPDATE files SET digest = 'cd'", "row 1 of its table files"),
        ("UPDATE files SET feature = ''", "row 1 of its table files"),
        ("UPDATE file_answers SET tile = 5 WHERE file_answer_id = 2", "row 2 of its table file_answers"),
        ("DELETE FROM file_answers WHERE file_answer_id = 2", "row 2 of its table file_answers"),
        (
            "UPDATE images SET image_id = 'field/tile_z.png' WHERE image_index = 5",
            "the names of the tiles have changed",
        ),
        ("INSERT INTO meta VALUES ('more', '')", "table meta has changed"),
        ("UPDATE meta SET value = '0' WHERE key = 'image_ids_sha256'", "archive with other tile names"),
        ("DELETE FROM meta WHERE key = 'schema_version'", "has schema None; this version reads"),
        ("CREATE TABLE extra (x)", "the layout of its tables has changed"),
        (
            "DELETE FROM rounds; DELETE FROM images WHERE image_index = 11",
            "the names of the tiles have changed",
        ),
    ],
)
def test_a_change_to_any_table_is_noticed_also_in_a_store_that_was_not_closed(tmp_path, change, message):
    write_store(tmp_path / "answers.sqlite")
    with closing(sqlite3.connect(tmp_path / "answers.sqlite")) as connection:
        connection.executescript(change)
        connection.commit()
    with pytest.raises(StoreError, match=message):
        AnswerStore(tmp_path / "answers.sqlite", IDS)


def test_a_text_that_is_no_text_any_more_is_noticed(tmp_path):
    path = tmp_path / "answers.sqlite"
    write_store(path)
    path.write_bytes(path.read_bytes().replace(b"Is the land", b"Is \xffhe land"))
    with pytest.raises(StoreError, match="cannot be used"):
        AnswerStore(path, IDS)


def test_a_closed_store_goes_on_and_is_sealed_again(tmp_path):
    path = tmp_path / "answers.sqlite"
    store = write_store(path)
    store.close()
    other = AnswerStore(path, IDS)
    other.add_round(2, np.array([[2, 3]], np.int32))  # breaks the seal
    assert AnswerStore(path, IDS).facts(2) == {}
    store.close()
    store.close()
    seal = json.loads(path.with_name("answers.sqlite.seal").read_text())
    assert seal["content"]["size_bytes"] == path.stat().st_size
    assert AnswerStore(path, IDS).unanswered(2) == store.unanswered(2)


def test_an_older_copy_beside_a_newer_seal_is_not_taken_for_the_store(tmp_path):
    path = tmp_path / "answers.sqlite"
    store = write_store(path)
    older = path.read_bytes()
    store.add_round(2, np.array([[2, 3]], np.int32))
    store.close()
    path.write_bytes(older)
    with pytest.raises(StoreError, match=r"has changed since it was closed.*with answers\.sqlite\.seal"):
        AnswerStore(path, IDS)
    path.unlink()
    with pytest.raises(StoreError, match="is missing; restore it next to its seal"):
        AnswerStore(path, IDS)
    assert not path.exists()


# Older versions.


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_store_of_the_second_version_opens_and_a_set_that_was_hidden_is_found(tmp_path, is_sealed):
    """A third set, empty, had been begun there by going back to the first sentence."""
    path = tmp_path / "answers.sqlite"
    shutil.copy(OLD_2, path)
    if is_sealed:
        shutil.copy(f"{OLD_2}.seal", f"{path}.seal")
    for _ in range(2):  # brought up to date, then opened as it is, sealed or not
        store = AnswerStore(path, OLD_IDS)
        assert (store.present_set(), store.sentence(), store.standing()) == (3, DEFAULT_SENTENCE, [])
        assert [record.key for record in store.records()] == ["tap 1", "tap 2", "tap 3", "mark 1"]
    assert store.set_sentence("Same land use") == 2 and len(store.standing()) == 1
    assert store.set_sentence(DEFAULT_SENTENCE) == 1
    assert store.answered(0).answers.tolist() == [1, 0] and store.tally().bits_spent == 3.0
    store.record(4, Answer.SIMILAR, annotator="Ada")
    assert store.undo()[0].question_id == 4
    store.close()
    AnswerStore(path, OLD_IDS).close()


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_store_of_the_third_version_opens_and_its_sets_are_listed(tmp_path, is_sealed):
    path = tmp_path / "answers.sqlite"
    shutil.copy(OLD_3, path)
    if is_sealed:
        shutil.copy(f"{OLD_3}.seal", f"{path}.seal")
    for _ in range(2):  # brought up to date, then opened as it is, sealed or not
        store = AnswerStore(path, OLD_IDS)
        assert [tuple(row) for row in store.sets()] == [
            (2, "Same land use", 1, True),
            (3, "Same crop", 1, False),
        ]
        assert [record.key for record in store.records()] == ["tap 1", "tap 2", "mark 1"]
    assert not store.undo_set_change(annotator="Ada")  # older versions kept no note of who changed it
    store.rename_set("Same use of land", annotator="Ada")
    store.close()
    assert AnswerStore(path, OLD_IDS).sentence() == "Same use of land"


def test_a_store_of_the_third_version_takes_answers_about_files(tmp_path):
    path = tmp_path / "answers.sqlite"
    shutil.copy(OLD_3, path)
    store = AnswerStore(path, OLD_IDS)
    assert answered_files(store) == {}
    say_of_file(store, SaidOfFile("ab" * 32, np.float32([1]), 2, Answer.SIMILAR, "Ada"))
    store.close()
    assert answered_files(AnswerStore(path, OLD_IDS)) == {1: 1}


def test_a_damaged_store_of_the_second_version_is_left_as_it_is(tmp_path):
    path = tmp_path / "answers.sqlite"
    shutil.copy(OLD_2, path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE answers SET answer = 1 WHERE answer_id = 2")
        connection.commit()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="row 2 of its table answers"):
        AnswerStore(path, OLD_IDS)
    assert path.read_bytes() == before


def test_a_store_of_the_first_version_opens_with_everything_in_it(tmp_path):
    path = tmp_path / "answers.sqlite"
    shutil.copy(OLD, path)
    for _ in range(2):  # brought up to date, then opened as it is
        store = AnswerStore(path, OLD_IDS)
        answered = store.answered(1)
        assert answered.pair_indices.tolist() == [[0, 1], [2, 5], [1, 4], [0, 3], [1, 2]]
        assert answered.answers.tolist() == [1, 0, 2, 1, 0]
        expected = np.float32([0.5, -0.25, np.nan, 1 / 3, -0.5])
        np.testing.assert_array_equal(answered.similarities, expected)
        assert answered.round_indices.tolist() == [0, 0, 0, 0, 1]
        assert [tuple(question) for question in store.unanswered(1)] == [(5, 2, 3)]
        assert store.facts(0) == {"select_s": 0.25}
        assert store.facts(1) == {"select_s": 0.5, "threshold": 0.125}
        assert store.sentence() == DEFAULT_SENTENCE and store.tally().bits_spent == 5.0
    assert [record.annotator for record in store.records()] == ["oracle"] * 4 + ["Ada"]
    assert all(record.answered_at.startswith("2026-") for record in store.records())
    assert store.undo()[0].annotator == "Ada"
    store.record(5, Answer.SIMILAR, annotator="Ada")
    store.close()
    AnswerStore(path, OLD_IDS)


def test_two_copies_of_an_old_store_give_the_same_answers_the_same_keys(tmp_path):
    keys = []
    for name in ("one", "other"):
        shutil.copy(OLD, tmp_path / name)
        keys.append([record.key for record in AnswerStore(tmp_path / name, OLD_IDS).records()])
    assert keys[0] == keys[1] and len(set(keys[0])) == 5


def test_an_old_store_of_another_archive_is_left_as_it_is(tmp_path):
    path = tmp_path / "answers.sqlite"
    shutil.copy(OLD, path)
    with pytest.raises(StoreError, match="other tile names"):
        AnswerStore(path, IDS)
    assert path.read_bytes() == OLD.read_bytes()


def test_a_migration_that_breaks_leaves_the_old_store(tmp_path, monkeypatch):
    from anneal_jax.answers import hash_chain

    path = tmp_path / "answers.sqlite"
    shutil.copy(OLD, path)

    def break_off(connection, table, rows):
        raise StoreError(f"broken at {table}")

    monkeypatch.setattr(hash_chain, "append", break_off)
    with pytest.raises(StoreError, match="broken at sets"):
        AnswerStore(path, OLD_IDS)
    monkeypatch.undo()
    assert path.read_bytes() == OLD.read_bytes()
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone() == (
            "1",
        )
    AnswerStore(path, OLD_IDS)
    with closing(sqlite3.connect(path)) as connection:
        version = connection.execute("SELECT value FROM meta WHERE key = 'schema_version'").fetchone()
    assert version == (str(SCHEMA_VERSION),)
