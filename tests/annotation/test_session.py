import numpy as np
import pytest

from anneal_jax.annotation.doubts import contradiction
from anneal_jax.annotation.questions.plan import SILENT, make_plan
from anneal_jax.annotation.questions.scheduler import AUDIT_EVERY
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.sets import begin_set
from anneal_jax.answers.reading import TRAINED_KINDS
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer
from tests.annotation.driving import TAB, answers_of, ask, run, state_of


def test_answers_are_on_disk_when_the_call_returns_and_a_new_session_goes_on(make_session, classes):
    session = make_session()
    run(session, answers_of(classes), 40)
    again = make_session()
    assert state_of(again) == state_of(session)
    assert state_of(again)["num_answers"] == 40 and state_of(again)["bits_spent"] == 40
    assert state_of(again)["minutes"] == pytest.approx(1.0)
    assert again.answers() == session.answers()


def test_no_pair_is_asked_that_is_known_or_put_elsewhere(make_session, classes):
    session = make_session()
    oracle = answers_of(classes)
    one, other = session.open_tab(TAB, "Ada"), session.open_tab("tab-number-2", "Bob")
    for _ in range(60):
        shown = [(q["first"], q["second"]) for view in (one, other) for q in view["questions"]]
        assert len(set(shown)) == len(shown)
        question = one["questions"][0]
        before = session.standing.label(question["first"], question["second"])
        one = session.answer(TAB, question["key"], oracle(question), 1.0)
        assert session.standing.records[-1].kind == "repeat" or before is None
        other = session.view("tab-number-2")


def test_the_same_request_again_stores_nothing(make_session, classes):
    session = make_session()
    key = session.open_tab(TAB, "Ada")["questions"][0]["key"]
    first = session.answer(TAB, key, Answer.SIMILAR, 1.0)
    again = session.answer(TAB, key, Answer.SIMILAR, 1.0)
    assert first["num_answers"] == again["num_answers"] == 1 and again["bits_spent"] == 1
    reopened = make_session()
    reopened.open_tab(TAB, "Ada")
    assert reopened.answer(TAB, key, Answer.SIMILAR, 1.0)["num_answers"] == 1
    with pytest.raises(StoreError, match="another answer already"):
        reopened.answer(TAB, key, Answer.DISSIMILAR, 1.0)


def test_undo_goes_back_to_nothing_also_after_a_restart(make_session, classes):
    session = make_session()
    run(session, answers_of(classes), 30)
    for step in range(15):
        session.undo(TAB, f"undo-key-{step}")
    session = make_session()
    session.open_tab(TAB, "Ada")
    view = session.undo(TAB, "undo-key-14")  # a repeated request takes nothing back
    assert view["num_answers"] == 15
    for step in range(15, 30):
        view = session.undo(TAB, f"undo-key-{step}")
        question = view["questions"][0]
        assert (question["first"], question["second"]) == (
            view["undone"]["first"],
            view["undone"]["second"],
        )
    assert (view["num_answers"], view["num_known"], view["bits_spent"]) == (0, 0, 30)
    assert session.undo(TAB, "undo-key-30")["undone"] is None


def test_what_was_undone_leaves_no_trace_in_what_is_known(make_session, classes):
    session = make_session()
    run(session, answers_of(classes), 25)
    known = {(i, j): session.standing.label(i, j) for i in range(60) for j in range(i + 1, 60)}
    run(session, answers_of(classes), 20, session.view(TAB))
    for step in range(20):
        session.undo(TAB, f"undo-key-{step}")
    assert known == {(i, j): session.standing.label(i, j) for i in range(60) for j in range(i + 1, 60)}


def test_undo_takes_back_ones_own_answers_only(make_session):
    session = make_session()
    for tab, name in ((TAB, "Ada"), ("tab-number-2", "Bob")):
        key = session.open_tab(tab, name)["questions"][0]["key"]
        session.answer(tab, key, Answer.UNSURE, 1.0)
    assert session.undo(TAB, "undo-key-1")["undone"]["annotator"] == "Ada"
    assert session.undo(TAB, "undo-key-2")["undone"] is None
    assert [row["annotator"] for row in session.answers()] == ["Bob"]


def test_unsure_is_neither_trained_on_nor_asked_again(make_session, classes):
    session = make_session()
    asked = set()
    view = session.open_tab(TAB, "Ada")
    for _ in range(120):
        question = view["questions"][0]
        assert (question["first"], question["second"]) not in asked
        asked.add((question["first"], question["second"]))
        view = session.answer(TAB, question["key"], Answer.UNSURE, 1.0)
    assert not session.standing.trainable_ids() and view["quality"]["num_audits"] == 0


def test_a_contradiction_is_reported_at_the_click_and_ends_with_the_wrong_answer(make_session, classes):
    session = make_session()
    session.open_tab(TAB, "Ada")
    ids = {}
    # One group said to be all alike, then a pair of it said not to be.
    for step, (pair, said) in enumerate([((0, 5), 1), ((5, 10), 1), ((0, 10), 0)]):
        view = session.answer(TAB, ask(session, pair), Answer(said), 1.0)
        ids[pair] = session.answers()[0]["answer_id"]
        assert (view["conflict"] is not None) == (step == 2)
    chain = view["conflict"]["chain"]
    assert {row["answer_id"] for row in chain} == set(ids.values()) and view["num_contradictions"] == 1
    assert {row["answer_id"] for row in contradiction(session)["chain"]} == set(ids.values())
    view = session.retract(TAB, ids[0, 10], "retract-key")
    assert view["num_contradictions"] == 0 and session.standing.label(0, 10) == 1
    assert make_session().counters("")["num_contradictions"] == 0


def test_a_repeated_request_is_reported_the_contradiction_that_its_answer_made(make_session):
    """The first reply may have been lost, and with it the contradiction."""
    session = make_session()
    session.open_tab(TAB, "Ada")
    key = ask(session, (0, 5))
    session.volunteer(TAB, (5, 10), Answer.SIMILAR, "mark-number-1")
    session.volunteer(TAB, (10, 0), Answer.DISSIMILAR, "mark-number-2")
    apart = session.answers()[0]["answer_id"]
    requests = [
        lambda: session.answer(TAB, key, Answer.SIMILAR, 1.0),
        lambda: session.volunteer(TAB, (0, 15), Answer.SIMILAR, "mark-number-3"),  # it has no part in it
        lambda: session.correct(TAB, apart, Answer.DISSIMILAR, "correct-key"),
        lambda: session.volunteer(TAB, (15, 10), Answer.DISSIMILAR, "mark-number-4"),
    ]
    for request, makes_one in zip(requests, (True, False, True, True), strict=True):
        first, again = request(), request()
        assert first["conflict"] == again["conflict"] and (first["conflict"] is not None) == makes_one
        assert first.get("answer_id", again["answer_id"]) == again["answer_id"]
    session.retract(TAB, again["answer_id"], "retract-key")
    assert requests[-1]()["conflict"] is None
    for pair, said in (((15, 10), Answer.SIMILAR), ((15, 9), Answer.DISSIMILAR)):
        with pytest.raises(StoreError, match="another answer already"):
            session.volunteer(TAB, pair, said, "mark-number-4")


def test_a_corrected_answer_replaces_the_old_one(make_session):
    session = make_session()
    key = session.open_tab(TAB, "Ada")["questions"][0]["key"]
    session.answer(TAB, key, Answer.SIMILAR, 1.0)
    old = session.answers()[0]
    for _ in range(2):
        view = session.correct(TAB, old["answer_id"], Answer.DISSIMILAR, "correct-key")
    assert (view["num_answers"], view["bits_spent"]) == (1, 2)
    assert session.answers()[0]["answer"] == "dissimilar"


def test_an_answer_that_was_taken_back_is_not_corrected(make_session):
    session = make_session()
    key = session.open_tab(TAB, "Ada")["questions"][0]["key"]
    session.answer(TAB, key, Answer.SIMILAR, 1.0)
    old = session.answers()[0]
    session.correct(TAB, old["answer_id"], Answer.DISSIMILAR, "correct-key")
    with pytest.raises(StoreError, match="already retracted; reload this page"):
        session.correct(TAB, old["answer_id"], Answer.DISSIMILAR, "other-key")  # two pages, or two clicks
    (now,) = session.answers()
    session.retract(TAB, now["answer_id"], "retract-key")
    with pytest.raises(StoreError, match="already retracted"):
        session.correct(TAB, now["answer_id"], Answer.SIMILAR, "third-key")
    assert session.answers() == [] and len(session.store.records()) == 2
    with pytest.raises(StoreError, match="there is no answer 99"):
        session.correct(TAB, 99, Answer.SIMILAR, "fourth-key")


def test_audits_are_blind_and_stay_out_of_training(make_session, classes):
    session = make_session()
    view = run(session, answers_of(classes), 4 * AUDIT_EVERY)
    kinds = [row["kind"] for row in session.answers()]
    assert kinds.count("audit") == 4 and kinds.count("repeat") == 2
    for question in view["questions"]:  # nothing of it tells an audit from the rest
        assert set(question) == {"key", "kind", "subject", "others", "members", "first", "second"}
        assert question["kind"] == "pair" and question["members"] == [[]]
    num_trained = sum(kind in TRAINED_KINDS for kind in kinds)
    assert len(session.trainable().answers) == num_trained == len(kinds) - 6
    assert view["quality"]["num_audits"] >= 4
    assert view["quality"]["lower"] < view["quality"]["share"] < view["quality"]["upper"]
    audited = {(row["first"], row["second"]) for row in session.answers() if row["kind"] == "audit"}
    assert audited <= set(map(tuple, session.reserved().tolist()))
    (again,) = session.people()["consistency"]
    assert again["share"] == 1.0 and again["num_pairs"] == 2


def test_copies_are_never_asked_about(tmp_path, make_session, directions):
    session = make_session()
    copies = np.arange(len(directions)) // 30
    all_copies = AnnotationSession(session.store, directions, copies * 0, make_plan(directions, seed=0))
    assert all_copies.open_tab(TAB, "Ada")["questions"] == []
    near = np.repeat(directions[:1], len(directions), axis=0)
    assert (
        AnnotationSession(session.store, near, np.arange(60), make_plan(directions, seed=0)).open_tab(
            TAB, "Ada"
        )["questions"]
        == []
    )


def test_audits_of_copies_count_as_alike_and_leave_no_gap(make_session, directions, classes):
    """Nobody is asked about copies: unanswered, they would keep the figure stale for ever."""
    plan = make_plan(directions, seed=0)
    (near, far), (one, other) = plan.audits.pairs[2], plan.audits.pairs[7]
    features, copies = directions.copy(), np.arange(len(directions))
    features[far], copies[other] = features[near], copies[one]
    session = AnnotationSession(make_session().store, features, copies, plan)
    session.open_tab(TAB, "Ada")
    copied = {(near, far), (one, other)}
    said = {pair: int(pair in copied or classes[pair[0]] == classes[pair[1]]) for pair in plan.audits.pairs}
    for number, pair in enumerate(said.keys() - copied):
        session.volunteer(TAB, pair, Answer(said[pair]), f"key-number-{number}")
    assert all(session.standing.label(*pair) is None for pair in copied)
    quality = session.precision()
    assert not quality.is_stale and quality.num_audits == len(plan.audits.pairs)
    assert quality.share == pytest.approx(np.mean([said[pair] for pair in plan.audits.pairs]))
    session.volunteer(TAB, (near, far), Answer.DISSIMILAR, "key-of-a-copy")  # a contradiction counts
    assert session.precision().share < quality.share


def test_a_new_model_asks_from_the_next_question_on_and_loses_no_answer(make_session, directions):
    session = make_session()
    shown = session.open_tab(TAB, "Ada")["questions"]
    chosen = [(3, 17), (4, 21)]
    session.adopt(make_plan(directions, seed=0, version=20, chosen=chosen))
    view = session.view(TAB)
    assert view["questions"][0] == shown[0] and view["model_answers"] == 20
    assert [(q["first"], q["second"]) for q in view["questions"][1:]] == chosen
    # The page had gone on to the next question before it knew of the model.
    view = session.answer(TAB, shown[1]["key"], Answer.SIMILAR, 1.0)
    assert view["num_answers"] == 1


@pytest.mark.parametrize("wrong", ["", "two\nlines", "x" * 501])
def test_what_cannot_be_stored_is_refused(make_session, wrong):
    session = make_session()
    session.open_tab(TAB, "Ada")
    with pytest.raises(StoreError):
        begin_set(session, TAB, wrong, "begin-a-set")
    with pytest.raises(StoreError):
        session.open_tab("tab-number-3", wrong)
    with pytest.raises(StoreError, match="no longer open"):
        session.answer(TAB, "no-such-key", Answer.SIMILAR, 1.0)
    with pytest.raises(StoreError, match="reload it"):
        session.view("no-such-tab")


def test_an_answer_given_while_the_mode_changes_is_kept(make_session):
    session = make_session()
    shown = session.open_tab(TAB, "Ada")["questions"][0]
    session.open_tab(TAB, "Ada", "mgue")
    view = session.answer(TAB, shown["key"], Answer.SIMILAR, 1.0)
    assert view["num_answers"] == 1 and view["mode"] == "mgue"


def test_what_is_shown_stays_open_when_answers_come_in_as_a_file(make_session):
    session = make_session()
    shown = session.open_tab(TAB, "Ada")["questions"][0]
    session.begin_anew()
    assert session.answer(TAB, shown["key"], Answer.SIMILAR, 1.0)["num_answers"] == 1


def test_questions_of_a_page_that_went_away_are_put_to_others(make_session, monkeypatch):
    session = make_session()
    shown = session.open_tab(TAB, "Ada")["questions"]
    pairs = [(question["first"], question["second"]) for question in shown]
    monkeypatch.setattr("anneal_jax.annotation.tab._TIMEOUT_S", 0.0)
    again = session.open_tab("tab-number-2", "Ada")["questions"]
    assert [(question["first"], question["second"]) for question in again] == pairs
    assert session.answer(TAB, shown[0]["key"], Answer.SIMILAR, 1.0)["num_answers"] == 1


def test_a_page_that_only_marks_holds_no_question(make_session):
    session, other = make_session(), "tab-number-2"
    assert session.open_tab(other, "Ada", SILENT)["questions"] == []
    view = session.volunteer(other, (3, 4), Answer.SIMILAR, "volunteer-key")
    assert view["questions"] == [] and view["num_answers"] == 1


def test_a_page_in_use_is_not_let_go_however_many_come(make_session):
    session = make_session()
    shown = session.open_tab(TAB, "Ada")["questions"][0]
    for number in range(100):
        session.open_tab(f"tab-of-marks-{number}", "Ada", SILENT)
        session.view(TAB)
    assert session.answer(TAB, shown["key"], Answer.SIMILAR, 1.0)["num_answers"] == 1
