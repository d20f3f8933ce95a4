"""Sentences of a session: each has a set of answers of its own, and nothing crosses from one to another."""

import pytest

from anneal_jax.annotation.questions.plan import make_plan
from anneal_jax.annotation.sets import begin_set, go_to_set, rename_set, say_sentence
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer
from tests.annotation.driving import TAB, answers_of, run, state_of


def test_another_sentence_begins_a_new_set_and_the_first_is_asked_for(make_session, classes):
    session = make_session(sentence="")
    view = session.open_tab(TAB, "Ada")
    assert view["questions"] == [] and not view["sentence_is_settled"]
    view = say_sentence(session, TAB, "Same roof colour")
    assert view["questions"] and view["sentence_is_settled"]
    run(session, answers_of(classes), 10, view)
    view = begin_set(session, TAB, "Same crop", "begin-a-crop")
    assert (view["num_answers"], view["num_known"], view["sentence"]) == (0, 0, "Same crop")


def test_who_keeps_the_default_sentence_is_asked_for_it_once(make_session):
    session = make_session(sentence="")
    for _ in range(2):
        assert not session.open_tab(TAB, "Ada")["sentence_is_settled"]
        session = make_session(sentence="")
    view = session.open_tab(TAB, "Ada")
    assert say_sentence(session, TAB, view["sentence"])["sentence_is_settled"]
    view = make_session(sentence="").open_tab(TAB, "Ada")  # before any answer
    assert view["sentence_is_settled"] and view["questions"] and view["set_id"] == 1


def test_a_page_that_is_not_known_changes_no_sentence(make_session):
    session = make_session()
    with pytest.raises(StoreError, match="reload it"):
        say_sentence(session, "no-such-tab", "Something else")
    assert session.counters("")["sentence"] == session.store.sentence() == "Same land use"


def test_an_earlier_sentence_goes_back_to_its_answers_and_its_model(make_session, directions, classes):
    session = make_session()
    run(session, answers_of(classes), 10)
    session.adopt(make_plan(directions, seed=1, version=7))
    before, answers, land_use = state_of(session), session.answers(), session.set_id
    begin_set(session, TAB, "Something else", "begin-a-set")
    run(session, answers_of(classes), 3, session.view(TAB))
    view = go_to_set(session, TAB, land_use, "go-back-to")
    assert state_of(session) == before and session.answers() == answers
    assert view["model_answers"] == 7 and view["questions"]
    assert run(session, answers_of(classes), 1, view)["num_answers"] == 11
    again = make_session("Something else")
    assert again.counters("")["num_answers"] == 3
    assert make_session("").counters("")["sentence"] == "Something else"  # the present one without a word


def test_an_answer_of_another_set_is_neither_corrected_nor_taken_back_here(make_session, classes):
    session = make_session()
    run(session, answers_of(classes), 3)
    old, land_use = session.answers()[0], session.set_id
    begin_set(session, TAB, "Something else", "begin-a-set")
    for change in (
        lambda: session.correct(TAB, old["answer_id"], Answer.UNSURE, "correct-key"),
        lambda: session.retract(TAB, old["answer_id"], "retract-key"),
    ):
        with pytest.raises(StoreError, match=r"sentence is now 'Something else'; reload this page"):
            change()
    assert session.answers() == [] and len(session.store.records()) == 3
    go_to_set(session, TAB, land_use, "go-back-to")
    assert len(session.answers()) == 3 and session.answers()[0] == old


def test_another_sentence_takes_over_neither_open_questions_nor_the_model(make_session, directions):
    session = make_session()
    before = session.plan
    shown = session.open_tab(TAB, "Ada")["questions"]
    session.adopt(make_plan(directions, seed=1, version=7))  # withdraws all but the first
    session.open_tab("tab-number-2", "Bob")
    begin_set(session, "tab-number-2", "Something else", "begin-a-set")
    for question in shown:
        with pytest.raises(StoreError, match="no longer open"):
            session.answer(TAB, question["key"], Answer.SIMILAR, 1.0)
    assert session.plan is before and session.view(TAB)["model_answers"] == 0


def test_a_renamed_set_keeps_its_answers_model_and_open_questions(make_session, directions, classes):
    session = make_session()
    run(session, answers_of(classes), 10)
    session.adopt(make_plan(directions, seed=1, version=7))
    before, shown = state_of(session), session.view(TAB)["questions"]
    for _ in range(2):  # the second is a repeated request
        view = rename_set(session, TAB, "Same use of land", "rename-it-so")
    assert view["sentence"] == "Same use of land" and view["model_answers"] == 7
    assert state_of(session) == before and view["questions"] == shown
    assert make_session("").counters("")["sentence"] == "Same use of land"
    with pytest.raises(StoreError, match="rename this set, or begin another"):
        say_sentence(session, TAB, "Something else")


def test_undo_takes_back_a_renaming_and_a_change_of_sets(make_session, classes):
    session = make_session()
    run(session, answers_of(classes), 3)
    rename_set(session, TAB, "Same use of land", "rename-it-so")
    begin_set(session, TAB, "Something else", "begin-a-set")
    assert session.undo(TAB, "undo-number-1")["undone"] == {"sentence": "Same use of land"}
    view = session.undo(TAB, "undo-number-2")
    assert (view["sentence"], view["num_answers"]) == ("Same land use", 3)
    assert session.undo(TAB, "undo-number-3")["num_answers"] == 2
    assert session.undo(TAB, "undo-number-3")["num_answers"] == 2  # a repeated request
