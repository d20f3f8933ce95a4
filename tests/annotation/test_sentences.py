"""Sentences at the desk: each has a set of answers of its own, and nothing crosses from one to another."""

import pytest

from anneal_jax.annotation.questions.plan import make_guide
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer
from tests.annotation.driving import TAB, answers_of, run, state_of


def test_another_sentence_begins_a_new_set_and_the_first_is_asked_for(make_desk, classes):
    desk = make_desk(sentence="")
    view = desk.open_tab(TAB, "Ada")
    assert view["questions"] == [] and not view["sentence_is_settled"]
    view = desk.set_sentence(TAB, "Same roof colour")
    assert view["questions"] and view["sentence_is_settled"]
    run(desk, answers_of(classes), 10, view)
    view = desk.set_sentence(TAB, "Same crop")
    assert (view["num_answers"], view["num_known"], view["sentence"]) == (0, 0, "Same crop")


def test_who_keeps_the_default_sentence_is_asked_for_it_once(make_desk):
    desk = make_desk(sentence="")
    for _ in range(2):
        assert not desk.open_tab(TAB, "Ada")["sentence_is_settled"]
        desk = make_desk(sentence="")
    view = desk.open_tab(TAB, "Ada")
    assert desk.set_sentence(TAB, view["sentence"])["sentence_is_settled"]
    view = make_desk(sentence="").open_tab(TAB, "Ada")  # before any answer
    assert view["sentence_is_settled"] and view["questions"] and view["set_id"] == 1


def test_a_page_that_is_not_known_changes_no_sentence(make_desk):
    desk = make_desk()
    with pytest.raises(StoreError, match="load it again"):
        desk.set_sentence("no-such-tab", "Something else")
    assert desk.counters("")["sentence"] == desk.store.sentence() == "Same land use"


def test_an_earlier_sentence_goes_back_to_its_answers_and_its_model(make_desk, directions, classes):
    desk = make_desk()
    run(desk, answers_of(classes), 10)
    desk.adopt(make_guide(directions, seed=1, version=7))
    before, answers = state_of(desk), desk.answers()
    desk.set_sentence(TAB, "Something else")
    run(desk, answers_of(classes), 3, desk.view(TAB))
    view = desk.set_sentence(TAB, "Same land use")
    assert state_of(desk) == before and desk.answers() == answers
    assert view["model_answers"] == 7 and view["questions"]
    assert run(desk, answers_of(classes), 1, view)["num_answers"] == 11
    again = make_desk("Something else")
    assert again.counters("")["num_answers"] == 3
    assert make_desk("").counters("")["sentence"] == "Something else"  # the present one without a word


def test_an_answer_of_another_set_is_neither_corrected_nor_taken_back_here(make_desk, classes):
    desk = make_desk()
    run(desk, answers_of(classes), 3)
    old = desk.answers()[0]
    desk.set_sentence(TAB, "Something else")
    for change in (
        lambda: desk.correct(TAB, old["answer_id"], Answer.UNSURE, "correct-key"),
        lambda: desk.retract(TAB, old["answer_id"], "retract-key"),
    ):
        with pytest.raises(StoreError, match=r"sentence is 'Something else' by now; load this page again"):
            change()
    assert desk.answers() == [] and len(desk.store.records()) == 3
    desk.set_sentence(TAB, "Same land use")
    assert len(desk.answers()) == 3 and desk.answers()[0] == old


def test_another_sentence_takes_over_neither_open_questions_nor_the_model(make_desk, directions):
    desk = make_desk()
    before = desk.guide
    shown = desk.open_tab(TAB, "Ada")["questions"]
    desk.adopt(make_guide(directions, seed=1, version=7))  # withdraws all but the first
    desk.open_tab("tab-number-2", "Bob")
    desk.set_sentence("tab-number-2", "Something else")
    for question in shown:
        with pytest.raises(StoreError, match="not open any more"):
            desk.answer(TAB, question["key"], Answer.SIMILAR, 1.0)
    assert desk.guide is before and desk.view(TAB)["model_answers"] == 0
