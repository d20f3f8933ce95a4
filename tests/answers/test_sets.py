"""Sets of answers: begun, renamed, gone back to, and each of these taken back."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.answers.file_format import answers_text, parse_answers
from anneal_jax.answers.import_export import add_answers, shared_answers
from anneal_jax.answers.schema import DEFAULT_SENTENCE
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer

IDS = [f"tile_{index}.tif" for index in range(6)]


@pytest.fixture
def store(tmp_path):
    store = AnswerStore(tmp_path / "answers.sqlite", IDS)
    store.set_sentence("Same land use")
    store.give([Given(0, 1, Answer.SIMILAR, "Ada", key="mark 1")])
    return store


def reopened(store):
    return AnswerStore(store.path, IDS)


def listed(store):
    return [(row.sentence, row.num_answers, row.is_present) for row in store.sets()]


def test_a_renamed_set_keeps_its_answers_and_its_history(store):
    present = store.present_set()
    store.rename_set(" Same use of land ", annotator="Ada", key="rename 1")
    store.rename_set("Something else", annotator="Ada", key="rename 1")  # a repeated request
    for opened in (store, reopened(store)):
        assert listed(opened) == [("Same use of land", 1, True)]
        assert opened.present_set() == present and len(opened.standing()) == 1
    with store.reading() as connection:
        begun = connection.execute("SELECT sentence FROM sets WHERE set_id = ?", (present,)).fetchone()
    assert begun == ("Same land use",)


def test_a_set_that_is_begun_shows_nothing_of_the_others_and_they_can_be_gone_back_to(store):
    land_use = store.present_set()
    crop = store.begin_set("Same crop", annotator="Ada", key="begin 1")
    assert store.begin_set("Same crop", annotator="Ada", key="begin 1") == crop
    assert listed(store) == [("Same land use", 1, False), ("Same crop", 0, True)]
    store.go_to_set(land_use, annotator="Ada", key="go 1")
    assert listed(store) == [("Same land use", 1, True)]  # an empty one is not kept in sight
    assert store.begin_set("Same crop", annotator="Ada") == crop
    with pytest.raises(StoreError, match="there is no set 99"):
        store.go_to_set(99, annotator="Ada")


@pytest.mark.parametrize("spelling", ["Same land use", " Same land use "])
def test_a_sentence_that_another_set_has_is_refused(store, spelling):
    with pytest.raises(StoreError, match=r"already, with 1 answers; go to it"):
        store.begin_set(spelling, annotator="Ada")
    store.begin_set("Same crop", annotator="Ada")
    with pytest.raises(StoreError, match=r"already, with 1 answers; go to it"):
        store.rename_set(spelling, annotator="Ada")
    for wrong in ("", "two\nlines", "x" * 501):
        with pytest.raises(StoreError, match="must be one line"):
            store.rename_set(wrong, annotator="Ada")
    assert listed(store) == [("Same land use", 1, False), ("Same crop", 0, True)]


def test_a_command_finds_a_set_by_the_sentence_it_had(store):
    present = store.present_set()
    store.rename_set("Same use of land", annotator="Ada")
    assert store.set_sentence("Same land use") == present
    assert store.set_sentence("Same use of land") == present
    other = store.set_sentence("Same crop")
    assert other != present and store.set_sentence("Same land use") == present
    store.go_to_set(other, annotator="Ada")
    store.rename_set("Same land use", annotator="Ada")  # free again; now it is this set's
    assert store.set_sentence("Same land use") == other


def test_undo_takes_back_changes_of_sets_one_by_one_until_an_answer_came_between(store):
    land_use = store.present_set()
    store.begin_set("Same crop", annotator="Ada")
    store.rename_set("Same plant", annotator="Ada")
    store.rename_set("Same corn", annotator="Ada")
    for sentence in ("Same plant", "Same crop"):
        assert store.undo_set_change(annotator="Ada", key=f"back to {sentence}")
        assert store.undo_set_change(annotator="Ada", key=f"back to {sentence}")  # a repeated request
        assert store.sentence() == reopened(store).sentence() == sentence
    assert not store.undo_set_change(annotator="Ben")  # it was not his
    assert store.undo_set_change(annotator="Ada") and store.present_set() == land_use
    assert not store.undo_set_change(annotator="Ada")  # what was said first is never taken back
    store.begin_set("Same crop", annotator="Ada")
    store.give([Given(0, 1, Answer.SIMILAR, "Ada")])
    assert not store.undo_set_change(annotator="Ada")
    store.undo(annotator="Ada")
    assert not store.undo_set_change(annotator="Ada") and store.sentence() == "Same crop"


def test_a_key_of_an_answer_changes_no_set_and_the_other_way_round(store):
    with pytest.raises(StoreError, match="belongs to another answer"):
        store.rename_set("Same crop", annotator="Ada", key="mark 1")
    store.rename_set("Same crop", annotator="Ada", key="rename 1")
    with pytest.raises(StoreError, match="belongs to another"):
        store.undo_set_change(annotator="Ada", key="rename 1")
    assert not store.undo_set_change(annotator="Ada", key="mark 1")
    assert store.sentence() == "Same crop"


def test_a_file_of_before_the_renaming_is_still_the_same_answers(store):
    text = answers_text(shared_answers(store), "old.csv").encode()
    store.rename_set("Same use of land", annotator="Ada")
    rows = parse_answers(text, "old.csv")
    report = add_answers(store, rows, "old.csv")
    assert (report.num_added, report.num_known) == (0, 1)
    fresh = [row._replace(key="of Ben", annotator="Ben") for row in rows]
    assert add_answers(store, fresh, "ben.csv").num_added == 1
    assert {row.sentence for row in shared_answers(store)} == {"Same use of land"}


STEPS = st.sampled_from(["begin", "go", "rename", "undo", "answer", "restart"])


@settings(max_examples=40)
@given(steps=st.lists(st.tuples(STEPS, st.integers(0, 3)), max_size=14))
def test_any_order_of_changes_is_taken_back_to_what_was_before(steps, tmp_path_factory):
    """A model of sets by name, number and past, beside the store."""
    store = AnswerStore(tmp_path_factory.mktemp("store") / "answers.sqlite", IDS)
    names, counts, present, past = {1: DEFAULT_SENTENCE}, {1: 0}, 1, []
    for step, number in steps:
        word = f"Sentence {number}"
        shown = {name for key, name in names.items() if counts[key] or key == present}
        if step == "begin" and word not in shown:
            past.append((present, names[present]))
            present = store.begin_set(word, annotator="Ada")
            names[present] = word
            counts.setdefault(present, 0)
        elif step == "go" and number + 1 in names and number + 1 != present:
            past.append((present, names[present]))
            present = number + 1
            store.go_to_set(present, annotator="Ada")
        elif step == "rename" and word not in shown:
            past.append((present, names[present]))
            names[present] = word
            store.rename_set(word, annotator="Ada")
        elif step == "undo":
            assert store.undo_set_change(annotator="Ada") == bool(past)
            if past:
                present, name = past.pop()
                names[present] = name
        elif step == "answer":
            store.give([Given(0, 1, Answer.SIMILAR, "Ada")])
            counts[present] += 1
            past.clear()
        elif step == "restart":
            store.close()
            store = reopened(store)
        assert (store.present_set(), store.sentence()) == (present, names[present])
        kept = [(names[key], counts[key], key == present) for key in names if counts[key] or key == present]
        assert sorted(listed(store)) == sorted(kept)
