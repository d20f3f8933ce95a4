import contextlib
import csv
import functools
import json
import time
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.answers.file_format import (
    SharedAnswer,
    answers_text,
    disagreements,
    merge_answers,
    parse_answers,
    read_answers,
    write_answers,
)
from anneal_jax.answers.glances import AnsweredGlance
from anneal_jax.answers.import_export import export_answers, import_answers, shared_answers
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer
from tests.pairs.graphs import graph_of_store

IDS = ['forest, "north"/1.png', "Äcker 森/2.png", "=3+4.png", "line\u20285.png", "cr\r6.png"]
PAIRS = np.array([[0, 1], [1, 2], [2, 4]], np.int32)
GLANCE = {"key": "look 1", "kind": "grid", "tiles": ["a", "b"], "picked": [0], "elapsed_s": 1.0}
GRID = AnsweredGlance("look 1", "grid", 1, (0, 3, 4), (1,), 0.1 + 0.2)


def empty_store(folder, name="answers.sqlite"):
    return AnswerStore(folder / name, IDS)


def asked_store(folder, name, annotator, answers):
    store = empty_store(folder, name)
    store.add_round(0, PAIRS)
    for question, answer in zip(store.unanswered(0), answers, strict=False):
        store.record(question.question_id, answer, annotator=annotator, elapsed_s=0.1 + 0.2)
    return store


def full_store(folder):
    """Return a store with a set that was gone back to and another one, all kinds, and one answer undone."""
    store = asked_store(folder, "full.sqlite", 'Ada "the first", née X', [Answer.SIMILAR, Answer.UNSURE])
    first = store.sentence()
    store.give([Given(3, 4, Answer.DISSIMILAR, "Ben", kind="audit")])
    store.set_sentence("Nobody answers this one")
    store.set_sentence(first)
    store.give([Given(3, 0, Answer.SIMILAR, "Ben", bits=4.392317422778761)])
    store.undo()
    store.add_glance(GRID, annotator="Ada")
    store.add_glance(GRID._replace(key="look 2", kind="choice", picked=(), elapsed_s=None), annotator="Ada")
    store.undo()
    store.set_sentence("Is the land used alike, at a glance?")
    store.give([Given(2, 3, Answer.SIMILAR, "Ben", elapsed_s=1e-9), Given(0, 4, Answer.SIMILAR, "Ben")])
    return store


def test_the_set_that_was_answered_last_is_the_present_one_after_an_import(tmp_path):
    store = full_store(tmp_path)
    first = store.sentences()[1]
    store.set_sentence(first)
    time.sleep(0.002)  # times are stored to the millisecond
    store.give([Given(1, 3, Answer.SIMILAR, "Ada")])
    export_answers(store, tmp_path / "out.csv")
    other = empty_store(tmp_path)
    import_answers(other, tmp_path / "out.csv")
    assert other.sentence() == first
    assert [row.key for row in other.standing()] == [row.key for row in store.standing()]


def test_a_file_of_an_older_version_may_hold_a_sentence_twice(tmp_path):
    store, path = full_store(tmp_path), tmp_path / "out.csv"
    rows = [row._replace(sentence="Alike?") for row in shared_answers(store)]
    write_answers(path, rows)
    other = empty_store(tmp_path)
    import_answers(other, path)
    assert shared_answers(other) == rows
    assert {row.set for row in rows} == {1, 2}


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_what_was_exported_comes_in_and_goes_out_byte_for_byte(tmp_path, suffix):
    store, out, again = full_store(tmp_path), tmp_path / f"out.{suffix}", tmp_path / f"again.{suffix}"
    assert export_answers(store, out) == 12
    assert read_answers(out) == shared_answers(store)
    other = empty_store(tmp_path)
    assert import_answers(other, out)[:2] == (12, 0)
    export_answers(other, again)
    assert again.read_bytes() == out.read_bytes()
    assert other.sentence() == store.sentence()
    assert [row.undone_at is None for row in other.records()].count(False) == 4
    assert [row.glance for row in other.records()] == [row.glance for row in store.records()]
    assert import_answers(other, out)[:2] == (0, 12)
    export_answers(other, again)
    assert again.read_bytes() == out.read_bytes()


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_files_of_older_versions_have_no_field_for_glances(tmp_path, suffix):
    store, path = (
        asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR, Answer.UNSURE]),
        tmp_path / f"a.{suffix}",
    )
    export_answers(store, path)
    older = path.read_text("utf-8").replace(',"glance"', "").replace(',""\n', "\n")
    path.write_text(older.replace(', "glance": null', ""), "utf-8")
    assert "glance" not in path.read_text("utf-8")
    other = empty_store(tmp_path)
    assert import_answers(other, path)[:2] == (2, 0) and shared_answers(other) == shared_answers(store)


def test_a_glance_comes_in_whole_or_its_file_does_not(tmp_path):
    store = empty_store(tmp_path, "a")
    store.add_glance(GRID, annotator="Ada")
    rows, path = shared_answers(store), tmp_path / "in.csv"
    for wrong in (rows[:2], [rows[0], rows[1], rows[2]._replace(answer="dissimilar")]):
        write_answers(path, wrong)
        with pytest.raises(StoreError, match="'look 1' are incomplete or differ; none was stored"):
            import_answers(empty_store(tmp_path), path)
    write_answers(path, [*rows[:2], rows[2]._replace(glance=rows[2].glance._replace(elapsed_s=9.0))])
    with pytest.raises(StoreError, match="'look 1' belongs to two different glances"):
        import_answers(empty_store(tmp_path), path)
    assert empty_store(tmp_path).records() == []


def test_one_glance_in_two_files_is_merged_once_and_a_changed_one_is_refused(tmp_path):
    store = empty_store(tmp_path, "a")
    store.add_glance(GRID, annotator="Ada")
    rows = shared_answers(store)
    assert merge_answers(rows, rows) == sorted(rows, key=lambda row: row.key)
    changed = [row._replace(glance=row.glance._replace(picked=(0, 1))) for row in rows]
    with pytest.raises(StoreError, match="belongs to two different answers"):
        merge_answers(rows, changed)


def test_a_file_is_what_other_programs_read(tmp_path):
    store = asked_store(tmp_path, "a", "Zoë", [Answer.SIMILAR])
    export_answers(store, tmp_path / "out.csv")
    export_answers(store, tmp_path / "out.jsonl")
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    (line,) = (tmp_path / "out.jsonl").read_text("utf-8").split("\n")[:-1]
    assert '"Zoë"' in line
    assert (row["first"], row["second"], row["answer"], row["undone_at"]) == (IDS[0], IDS[1], "similar", "")
    assert json.loads(line)["elapsed_s"] == float(row["elapsed_s"]) == 0.1 + 0.2


@given(
    names=st.lists(
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=6),
        min_size=2,
        max_size=4,
        unique=True,
    ),
    suffix=st.sampled_from([".csv", ".jsonl"]),
)
def test_any_names_of_tiles_survive_a_file(names, suffix, tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    store = AnswerStore(folder / "a", names)
    store.give([Given(0, len(names) - 1, Answer.SIMILAR, "Ada")])
    export_answers(store, folder / f"out{suffix}")
    other = AnswerStore(folder / "b", names)
    import_answers(other, folder / f"out{suffix}")
    assert shared_answers(other) == shared_answers(store)


def test_imported_answers_teach_and_are_not_undone_step_by_step(tmp_path):
    export_answers(asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR] * 2), tmp_path / "ada.csv")
    store = asked_store(tmp_path, "b", "Ben", [Answer.DISSIMILAR])
    report = import_answers(store, tmp_path / "ada.csv")
    assert report[:2] == (2, 0)
    assert store.answered(0).answers.tolist() == [0, 1, 1]
    ((first, second, rows),) = report.disagreements
    assert (first, second) == (IDS[0], IDS[1])
    assert [(row.annotator, row.answer) for row in rows] == [("Ben", "dissimilar"), ("Ada", "similar")]
    graph = graph_of_store(store)
    assert graph.implied(0, 1) is None and len(graph.contradictions()) == 1
    assert store.undo()[0].annotator == "Ben" and store.undo() == []
    assert len(store.unanswered(0)) == 3  # what was imported is no question of this round


def test_what_was_taken_back_elsewhere_is_taken_back_here(tmp_path):
    ada = asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR] * 2)
    export_answers(ada, tmp_path / "ada.jsonl")
    store = empty_store(tmp_path)
    import_answers(store, tmp_path / "ada.jsonl")
    ada.undo()
    export_answers(ada, tmp_path / "ada.jsonl")
    assert import_answers(store, tmp_path / "ada.jsonl")[:2] == (0, 2)
    assert store.answered(0).answers.tolist() == [1]
    assert store.tally().bits_spent == 2.0


def test_two_peoples_files_are_put_together(tmp_path):
    ada = asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR, Answer.SIMILAR])
    ben = asked_store(tmp_path, "b", "Ben", [Answer.DISSIMILAR, Answer.SIMILAR, Answer.UNSURE])
    both = merge_answers(shared_answers(ada), shared_answers(ben))
    assert both == merge_answers(shared_answers(ben), shared_answers(ada)) == merge_answers(both, both)
    assert len(both) == 5
    assert [found[:2] for found in disagreements(both)] == [(IDS[0], IDS[1])]
    ada.undo()
    after = merge_answers(both, shared_answers(ada))
    assert [row.annotator for row in after if row.undone_at] == ["Ada"] and len(after) == 5
    write_answers(tmp_path / "both.csv", both)
    store = empty_store(tmp_path)
    assert import_answers(store, tmp_path / "both.csv").num_added == 5


def test_sets_are_merged_by_their_sentences_whatever_their_numbers(tmp_path):
    """Ben began with what is Ada's second sentence; both have a set 1."""
    ada = asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR])
    ada.set_sentence("Same crop")
    ada.give([Given(0, 2, Answer.SIMILAR, "Ada", key="a2")])
    ben = empty_store(tmp_path, "b")
    ben.set_sentence("Same crop")
    ben.give([Given(0, 2, Answer.DISSIMILAR, "Ben", key="b1")])
    files = shared_answers(ada), shared_answers(ben)
    assert [[row.set for row in rows] for rows in files] == [[1, 2], [1]]
    both = merge_answers(*files)
    assert both == merge_answers(*reversed(files)) == merge_answers(both, files[1])
    assert [(row.set, row.sentence, row.annotator) for row in both] == [
        (1, ada.sentences()[1], "Ada"),
        (2, "Same crop", "Ada"),
        (2, "Same crop", "Ben"),
    ]
    assert [found[:2] for found in disagreements(both)] == [tuple(sorted((IDS[0], IDS[2])))]
    write_answers(tmp_path / "both.csv", both)
    store = empty_store(tmp_path)
    import_answers(store, tmp_path / "both.csv")
    assert store.sentence() == "Same crop" and len(store.standing()) == 2


def test_what_does_not_fit_together_is_not_merged(tmp_path):
    ada = shared_answers(asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR]))
    with pytest.raises(StoreError, match="belongs to two different answers; one of the files was changed"):
        merge_answers(ada, [ada[0]._replace(answer="dissimilar")])
    with pytest.raises(StoreError, match="and the other 'Other\\?'; answers to different questions"):
        merge_answers(ada, [ada[0]._replace(sentence="Other?", key="x")])


def test_a_file_that_does_not_fit_the_store_adds_nothing(tmp_path):
    store = asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR])
    path, (row,) = tmp_path / "in.csv", shared_answers(store)
    for change, message in (
        ({"first": "Äcker 森/22.png"}, r"does not have \(did you mean 'Äcker 森/2.png'\?\)"),
        ({"sentence": "Other?"}, "answers 'Other\\?', but this store asks"),
        ({"sentence": "A similar place?"}, "answers 'A similar place\\?', but this store asks"),
        ({"kind": "guess"}, "of one of the kinds training, audit"),
        ({"second": row.first}, "two different tiles"),
        ({"bits": -1.0}, "bits=-1.0 must be"),
    ):
        write_answers(path, [row._replace(key="1"), row._replace(key="2", **change)])
        with pytest.raises(StoreError, match=message):
            import_answers(store, path)
        assert len(store.records()) == 1
    write_answers(path, [row._replace(answer="unsure")])
    with pytest.raises(StoreError, match="belongs to two different answers"):
        import_answers(store, path)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("in.txt", "", r"stored in \.csv or \.jsonl files"),
        ("in.csv", "id,label\na,b\n", "line 1: expected the fields set, sentence, first"),
        ("in.csv", "set;sentence;first\n1;Alike?;a\n", "fields are separated by semicolons; save it with"),
        ("in.jsonl", "[1]\n", "line 1: expected the fields"),
        ("in.jsonl", "{\n", "cannot be read"),
        ("in.csv", b"\xff\xfe", "cannot be read"),
        ("in.csv", None, "cannot be read .No such file"),
    ],
)
def test_what_is_no_file_of_answers_is_refused(tmp_path, name, text, message):
    if text is not None:
        (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(StoreError, match=message):
        read_answers(tmp_path / name)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": "yes"}, "line 2: 'yes' is not an answer; give dissimilar, similar, unsure"),
        ({"answered_at": "noon"}, "line 2: Invalid isoformat"),
        ({"undone_at": "noon"}, "line 2: Invalid isoformat"),
        ({"bits": "cheap"}, "line 2: could not convert"),
        ({"set": "one"}, "line 2: invalid literal"),
        ({"elapsed_s": "long"}, "line 2: could not convert"),
        ({"elapsed_s": float("nan")}, "line 2: elapsed_s is .?nan.?, but must be a finite number"),
        ({"bits": 10**400}, "line 2: (OverflowError|int too large|bits is .* a finite number)"),
        ({"bits": ""}, "line 2: could not convert string to float"),
        ({"set": float("inf")}, "line 2: (set is .?inf.?, but must be a finite|invalid literal)"),
        ({"set": "1.5"}, "line 2: invalid literal for int"),
        ({"answered_at": ""}, "line 2: Invalid isoformat"),
        ({"undone_at": "false"}, "line 2: Invalid isoformat"),
    ],
)
def test_a_line_that_is_no_answer_is_named(tmp_path, suffix, change, message):
    (row,) = shared_answers(asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR]))
    path = tmp_path / f"in{suffix}"
    first = row._replace(first=IDS[0], second=IDS[1])
    write_answers(
        path, [first._replace(**change)] if suffix == ".csv" else [first, first._replace(**change)]
    )
    with pytest.raises(StoreError, match=message):
        read_answers(path)


def test_a_short_line_and_a_byte_order_mark(tmp_path):
    (row,) = shared_answers(asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR]))
    path = tmp_path / "in.csv"
    write_answers(path, [row])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_answers(path) == [row]
    path.write_text(path.read_text("utf-8-sig") + "1,Alike?,a.png\n", "utf-8")
    with pytest.raises(StoreError, match=r"line 3: expected 13 fields; quote a field"):
        read_answers(path)


def json_line(row, **changes):
    return (json.dumps({**row._asdict(), **changes}) + "\n").encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"undone_at": False}, "undone_at is False, but must be a time such as 2026-01-31T10:15:00Z"),
        ({"undone_at": 0}, "undone_at is 0, but must be a time"),
        ({"answered_at": None}, "answered_at is None, but must be a time"),
        ({"set": True}, "set is True, but must be a number"),
        ({"set": 1.5}, "set is 1.5, but must be a whole number"),
        ({"set": None}, "set is None, but must be a number"),
        ({"bits": [1]}, r"bits is \[1\], but must be a number"),
        ({"bits": 10**400}, "int too large to convert to float"),
        ({"elapsed_s": {}}, "elapsed_s is {}, but must be a number"),
        ({"answer": ["similar"]}, r"\['similar'\] is not an answer"),
        ({"kind": 1}, "kind is 1, but must be text"),
        ({"first": "\ud800"}, r"first is '\\ud800', but must be text in UTF-8"),
        ({"first": None}, "first is None, but must be text"),
        ({"glance": 1}, "glance is 1, but must have key, kind, tiles, picked, elapsed_s"),
        ({"glance": "{}"}, "glance is '{}', but must have key, kind"),
        ({"glance": GLANCE | {"more": 1}}, "glance is {.*}, but must have key, kind"),
        ({"glance": GLANCE | {"tiles": []}}, "glance is {.*}; its tiles and its places must be lists"),
        ({"glance": GLANCE | {"picked": 0}}, "glance is {.*}; its tiles and its places must be lists"),
        ({"glance": GLANCE | {"tiles": ["a", 1]}}, "a tile is 1, but must be text"),
        ({"glance": GLANCE | {"picked": [0.5]}}, "a place is 0.5, but must be a whole number"),
        ({"glance": GLANCE | {"picked": [True]}}, "a place is True, but must be a number"),
        ({"glance": GLANCE | {"elapsed_s": "soon"}}, "could not convert string to float: 'soon'"),
        ({"glance": GLANCE | {"key": None}}, "key is None, but must be text"),
    ],
)
def test_fields_of_json_have_their_types(tmp_path, change, message):
    (row,) = shared_answers(asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR]))
    with pytest.raises(StoreError, match=f"in.jsonl, line 2: {message}") as error:
        parse_answers(json_line(row) + json_line(row, **change), "in.jsonl")
    str(error.value).encode()


def test_an_empty_text_is_nothing_and_a_number_may_be_a_text_as_in_csv(tmp_path):
    (row,) = shared_answers(asked_store(tmp_path, "a", "Ada", [Answer.SIMILAR]))
    loose = json_line(row, undone_at="", elapsed_s="", set="1", bits="1.0")
    assert parse_answers(loose, "in.jsonl") == [row._replace(elapsed_s=None)]
    store = empty_store(tmp_path, "b")
    (tmp_path / "in.jsonl").write_bytes(loose)
    assert import_answers(store, tmp_path / "in.jsonl").num_added == len(store.standing()) == 1


def test_texts_that_differ_by_form_alone_are_one(tmp_path):
    """macOS writes a letter and its accent apart; people leave a space at an end."""
    apart = functools.partial(unicodedata.normalize, "NFD")
    ada = empty_store(tmp_path, "a")
    ada.set_sentence("Même culture ?")
    ada.give([Given(0, 1, Answer.SIMILAR, "Zoë")])
    (row,) = shared_answers(ada)
    decomposed = row._replace(
        **{name: apart(getattr(row, name)) for name in ("sentence", "second", "annotator")}
    )
    assert decomposed != row and decomposed.second != IDS[1]
    assert merge_answers([row], [decomposed]) == [row]
    assert merge_answers([decomposed], [row]) == [row._replace(second=decomposed.second)]
    write_answers(tmp_path / "in.csv", [decomposed._replace(sentence=decomposed.sentence + " ")])
    assert import_answers(ada, tmp_path / "in.csv")[:2] == (0, 1)
    write_answers(tmp_path / "in.csv", [decomposed._replace(key="another")])
    assert import_answers(ada, tmp_path / "in.csv")[:2] == (1, 0)
    assert ada.set_sentence(apart("Même culture ?")) == ada.present_set() == 2
    assert len(ada.sentences()) == 2


@given(
    field=st.sampled_from(SharedAnswer._fields),
    value=st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=5),
        st.just(10**400),
        st.lists(st.integers(), max_size=1),
        st.dictionaries(st.text(max_size=1), st.integers(), max_size=1),
    ),
)
def test_whatever_a_field_holds_the_line_is_an_answer_or_refused(field, value):
    row = SharedAnswer(
        *(1, "Alike?", "a", "b", "training", "similar", "Ada", "2026-01-01", 1.0, 1.0, "key", None)
    )
    try:
        (read,) = parse_answers(json_line(row, **{field: value}), "in.jsonl")
    except StoreError as error:
        assert "line 1" in str(error)
    else:
        assert answers_text([read], "out.jsonl").encode() and parse_answers(
            answers_text([read], "out.csv").encode(), "out.csv"
        ) == [read]


@given(st.binary(max_size=60), st.sampled_from(["in.csv", "in.jsonl"]))
def test_any_bytes_are_answers_or_refused(data, name):
    header = ",".join(SharedAnswer._fields).encode() + b"\n" if name.endswith("csv") else b""
    for content in (data, header + data):
        with contextlib.suppress(StoreError):
            parse_answers(content, name)
