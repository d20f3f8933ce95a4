"""The page's own way to ask, before a session with a store, and what is kept of its past."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs.glances import Glance
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import BeliefSession, beliefs_along_page, beliefs_of_page
from anneal_jax.acquisition.beliefs.state import begin
from anneal_jax.annotation.open_tabs import AHEAD
from anneal_jax.annotation.questions.by_belief import BeliefQuestions
from anneal_jax.annotation.questions.plan import make_plan
from anneal_jax.annotation.questions.replay import ReplayLog
from anneal_jax.annotation.questions.source import replayed
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.tab import tiles_in_question
from anneal_jax.annotation.types import Said
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer
from tests.annotation.conftest import NUM_TILES
from tests.annotation.driving import TAB, answers_of, glance, look, run


@pytest.fixture
def source(directions):
    graph = neighbour_graph(directions)
    return BeliefQuestions(BeliefSession(np.arange(NUM_TILES, dtype=np.int32), graph, begin(graph)))


@pytest.fixture
def eager_grids(monkeypatch):
    """Grids as soon as any are there: sixty tiles have none otherwise."""
    for name, value in {"GRID_MARGIN": 0.0, "MAX_NEW": 0.6, "MIN_TILES": 3}.items():
        monkeypatch.setattr(f"anneal_jax.acquisition.beliefs.glances.{name}", value)


@pytest.fixture
def make_session(tmp_path, directions, source):
    def make(**options):
        store = AnswerStore(tmp_path / "answers.sqlite", [f"tile{i}" for i in range(NUM_TILES)])
        store.set_sentence("Same land use")
        plan = make_plan(directions, seed=0, by_belief=source)
        return AnnotationSession(store, directions, np.arange(NUM_TILES), plan, **options)

    return make


def beliefs_of(session):
    return session.beliefs()[1]


def test_it_begins_without_answers_and_groups_the_tiles(make_session, classes):
    session = make_session()
    view = session.open_tab(TAB, "Ada")
    assert len(view["questions"]) == AHEAD
    run(session, answers_of(classes), 60, view)
    groups = beliefs_of(session).groups
    settled = groups >= 0
    assert settled.sum() > 20
    pairs = set(zip(groups[settled].tolist(), classes[settled].tolist(), strict=True))
    assert len(pairs) == len(set(classes.tolist()))  # a group for each class, and a class for each group


def test_prefetched_questions_stay_while_they_are_unknown(make_session, classes):
    session = make_session()
    view = session.open_tab(TAB, "Ada")
    for _ in range(40):
        coming = {q["key"]: (q["first"], q["second"]) for q in view["questions"][1:]}
        view = run(session, answers_of(classes), 1, view)
        dropped = coming.keys() - {q["key"] for q in view["questions"]}
        assert all(session.standing.known(*coming[key]) is not None for key in dropped)


def test_audits_and_repeats_teach_it_nothing(make_session, classes, source):
    session = make_session()
    run(session, answers_of(classes), 60)
    kinds = {row["kind"] for row in session.answers()}
    assert {"audit", "repeat"} <= kinds
    standing_answers = [said for _, said in session.standing.said]
    state = replayed(source, [said for said in standing_answers if said.is_trained])
    for name in ("groups", "evidence", "reached", "apart"):
        np.testing.assert_array_equal(getattr(beliefs_of(session), name), getattr(state.beliefs, name))


def test_undo_believes_what_was_believed_then_and_a_restart_as_well(make_session, classes):
    session = make_session()
    view = run(session, answers_of(classes), 20)
    before = beliefs_of(session)
    run(session, answers_of(classes), 30, view)
    after, undone = beliefs_of(session), session.standing.records[20:]
    for step in range(30):
        session.undo(TAB, f"undo-key-{step}")
    np.testing.assert_equal(beliefs_of(session), before)
    np.testing.assert_equal(beliefs_of(make_session()), before)
    # Also the replies about tiles whose questions are not finished come back: both go on as before.
    for said in undone:
        session.store.add(Given(said.first, said.second, said.answer, "Ada", kind=said.kind))
        session.catch_up()
    np.testing.assert_equal(beliefs_of(session), after)
    np.testing.assert_equal(beliefs_of(make_session()), after)


def test_an_answer_is_acknowledged_before_the_graph_is_learnt_from_it(
    make_session, classes, source, monkeypatch
):
    monkeypatch.setattr("anneal_jax.acquisition.beliefs.learnt.MIN_SETTLED", 8)
    session, numbers = make_session(), set()
    view = session.open_tab(TAB, "Ada")
    for _ in range(50):
        view = run(session, answers_of(classes), 1, view)
        numbers.add(len(view["questions"]))
        if len(view["questions"]) < AHEAD and len(session.standing) % 2:
            assert len(session.view(TAB)["questions"]) == AHEAD - 1  # looking does not learn it
            session.finish_beliefs()
            assert len(session.view(TAB)["questions"]) == AHEAD
    assert numbers == {AHEAD - 1, AHEAD}
    found = beliefs_of(session)
    expected = replayed(source, [said for _, said in session.standing.said]).beliefs
    np.testing.assert_array_equal(found.reached, expected.reached)
    assert found.learnt is not None and found.learnt.lead == expected.learnt.lead


def test_page_and_training_learn_the_graph_at_the_same_answers(make_session, classes, source, monkeypatch):
    """The graph is due after every answer here, so an audit or a repeat that led to learning would show."""
    monkeypatch.setattr("anneal_jax.acquisition.beliefs.learnt.MIN_SETTLED", 8)
    monkeypatch.setattr("anneal_jax.acquisition.beliefs.learnt.GROWTH", 1.0)
    session = make_session()
    view, found, num_measuring = session.open_tab(TAB, "Ada"), {}, 0
    for _ in range(60):
        view = run(session, answers_of(classes), 1, view)
        num_trained = len(session.trainable().answers)
        now = beliefs_of(session)
        if num_trained in found:  # it was an audit or a repeat
            num_measuring += now.learnt is not None
            assert now.learnt is found[num_trained].learnt
        found[num_trained] = now
    assert num_measuring > 1
    for count, expected in enumerate(beliefs_along_page(source.belief_session, session.trainable())):
        if count in found:
            for name in ("groups", "evidence", "reached"):
                np.testing.assert_array_equal(getattr(found[count], name), getattr(expected, name))
            leads = [beliefs.learnt and beliefs.learnt.lead for beliefs in (found[count], expected)]
            assert leads[0] == leads[1]
    assert expected.learnt is not None


def test_an_implied_pair_is_asked_only_as_a_check_and_at_most_once(make_session, classes):
    rng = np.random.default_rng(1)
    truth = answers_of(classes)

    def slips(question):
        return Answer(1 - truth(question)) if rng.random() < 0.15 else truth(question)

    for checks in (True, False):
        session = make_session(checks=checks)
        view = session.open_tab(TAB, "Ada")
        num_checks = 0
        for _ in range(50):
            pair = view["questions"][0]["first"], view["questions"][0]["second"]
            known, was_asked = session.standing.known(*pair), session.standing.was_asked(*pair)
            view = run(session, slips, 1, view)
            kind = session.standing.records[-1].kind
            num_checks += known is not None and kind == "training"
            assert kind == "repeat" or not was_asked
        assert (num_checks > 0) == checks


# Pairs, choices and grids.


def shown_kinds(session, classes, view, count):
    kinds = []
    for _ in range(count):
        if not view["questions"]:
            break
        kinds.append(view["questions"][0]["kind"])
        view = glance(session, classes, view)
    return kinds, view


@pytest.mark.usefixtures("eager_grids")
def test_pairs_that_measure_are_part_of_no_glance_and_nothing_is_trained_on_their_answers(
    make_session, classes
):
    session, rng = make_session(), np.random.default_rng(0)
    drawn = {*session.plan.audits.pairs}
    view = session.open_tab(TAB, "Ada", "glances")
    for _ in range(60):
        if view["questions"]:
            view = glance(session, classes, view, rng=rng)
    answers = session.standing.records
    assert {"choice", "grid"} <= {record.glance.kind for record in answers if record.glance}
    assert all(record.glance is None for record in answers if (record.first, record.second) in drawn)
    audited = {(record.first, record.second) for record in answers if record.kind == "audit"}
    assert audited and not audited & {*map(tuple, session.trainable().pair_indices.tolist())}


@pytest.mark.usefixtures("eager_grids")
def test_glances_are_mixed_and_what_they_say_groups_the_tiles(make_session, classes):
    session = make_session()
    kinds, view = shown_kinds(session, classes, session.open_tab(TAB, "Ada", "glances"), 40)
    assert {*kinds} == {"pair", "choice", "grid"}
    assert view["num_answers"] == len(session.answers()) > len(kinds)
    groups = beliefs_of(session).groups
    settled = groups >= 0
    pairs = set(zip(groups[settled].tolist(), classes[settled].tolist(), strict=True))
    assert settled.sum() > 8 and len(pairs) == len({group for group, _ in pairs})  # none is mixed
    again = make_session()
    assert again.counters("Ada") == session.counters("Ada")
    np.testing.assert_equal(beliefs_of(again), beliefs_of(session))


@pytest.mark.usefixtures("eager_grids")
def test_a_training_believes_what_the_page_believes(make_session, classes, source):
    session = make_session()
    view = session.open_tab(TAB, "Ada", "glances")
    for _ in range(20):  # before any audit
        question = view["questions"][0]
        if question["kind"] == "pair":
            view = glance(session, classes, view)
        else:  # she overlooks half of the odd tiles, and takes her time over the groups
            picked = (
                [len(question["others"]) - 1]
                if question["kind"] == "choice"
                else look(question, classes)[::2]
            )
            view = session.answer_glance(TAB, question["key"], picked, 3.0)
    answered = session.trainable()
    said = [said for _, said in session.standing.said]
    assert answered.is_weak.tolist() == [row.miss_rate > 0 for row in said]
    assert answered.is_last.tolist() == [row.is_last for row in said]
    assert answered.is_weak.any() and not answered.is_last.all()
    expected = beliefs_of_page(source.belief_session, answered)
    np.testing.assert_array_equal(beliefs_of(session).groups, expected.groups)
    np.testing.assert_array_equal(beliefs_of(session).evidence, expected.evidence)


def test_no_two_glances_at_one_time_ask_about_one_tile(make_session, classes):
    session = make_session()
    view = session.open_tab(TAB, "Ada", "glances")
    other = session.open_tab("tab-number-2", "Bob", "glances")
    for _ in range(30):
        put = [*view["questions"], *other["questions"]]
        pairs = [frozenset((q["subject"], tile)) for q in put for tile in q["others"]]
        shown = [Glance(q["kind"], q["subject"], tuple(q["others"]), 0.0) for q in put]
        tiles = [tile for one in shown if one.kind != "pair" for tile in tiles_in_question(one)]
        assert len({*pairs}) == len(pairs) and len({*tiles}) == len(tiles)
        view = glance(session, classes, view)
        other = session.view("tab-number-2")
    assert other["questions"]


def test_the_groups_of_a_choice_are_shown_by_tiles_that_were_said_to_be_in_them(make_session, classes):
    session = make_session()
    view = session.open_tab(TAB, "Ada", "glances")
    num_members = 0
    for _ in range(40):
        for question in view["questions"]:
            assert len(question["members"]) == len(question["others"])
            for tile, members in zip(question["others"], question["members"], strict=True):
                assert not {tile, question["subject"]} & {*members} and len(members) <= 3
                assert {classes[member] for member in members} <= {classes[tile]}
                num_members += len(members)
        view = glance(session, classes, view)
    assert num_members > 5


def test_a_glance_counts_once_and_undo_takes_all_of_it(make_session, classes):
    session = make_session()
    view = session.open_tab(TAB, "Ada", "glances")
    before = []
    for _ in range(25):
        question = view["questions"][0]
        before.append((session.counters("Ada"), question))
        view = glance(session, classes, view)
        if question["kind"] != "pair":
            again = session.answer_glance(TAB, question["key"], look(question, classes), 3.0)
            assert again["num_answers"] == view["num_answers"]
            with pytest.raises(StoreError, match="another answer already"):
                session.answer_glance(TAB, question["key"], None, 3.0)
    session = make_session()
    session.open_tab(TAB, "Ada", "glances")
    for step, (counters, question) in enumerate(reversed(before)):
        view = session.undo(TAB, f"undo-key-{step}")
        assert view["undone"] is not None
        for name in ("num_answers", "num_known", "num_contradictions"):
            assert view[name] == counters[name]
        shown = view["questions"][0]
        assert {name: shown[name] for name in ("kind", "subject", "others")} == {
            name: question[name] for name in ("kind", "subject", "others")
        }
    assert session.standing.records == [] and session.undo(TAB, "undo-key-99")["undone"] is None


def test_who_is_unsure_of_a_glance_is_not_asked_it_again(make_session):
    session = make_session()
    view = session.open_tab(TAB, "Ada", "glances")
    seen = set()
    for _ in range(60):
        if not view["questions"]:
            break
        question = view["questions"][0]
        shown = question["kind"], question["subject"], tuple(question["others"])
        assert shown not in seen
        seen.add(shown)
        if question["kind"] == "pair":
            view = session.answer(TAB, question["key"], Answer.UNSURE, 1.0)
        else:
            view = session.answer_glance(TAB, question["key"], None, 1.0)
    assert len(seen) > 20 and not session.standing.trainable_ids()


def test_what_cannot_be_picked_is_refused_and_stores_nothing(make_session, classes):
    session = make_session()
    view = session.open_tab(TAB, "Ada", "glances")
    while view["questions"][0]["kind"] == "pair":
        view = glance(session, classes, view)
    question, before = view["questions"][0], session.answers()
    for picked in ([99], [*range(13)]):
        with pytest.raises(StoreError, match="cannot be picked"):
            session.answer_glance(TAB, question["key"], picked, 1.0)
    with pytest.raises(StoreError, match="no longer open"):
        session.answer(TAB, question["key"], Answer.SIMILAR, 1.0)
    with pytest.raises(StoreError, match="no longer open"):
        session.answer_glance(TAB, "no-such-key", [0], 1.0)
    assert session.answers() == before
    session.answer_glance(TAB, question["key"], look(question, classes), 1.0)


class Words:
    """A source whose state is all that it was given: two logs are one only if they agree in full."""

    def start(self):
        return ()

    def add_answer(self, state, said):
        return (*state, said.first)

    def propose(self, state, known):
        return state, iter(())


class SlowWords(Words):
    """Leaves a mark behind the newest word until it is finished."""

    def take_answer(self, state, said):
        assert None not in state  # the answer before is finished
        return (*state, said.first, None)

    def finish(self, state):
        return tuple(word for word in state if word is not None)

    def is_due(self, state):
        return None in state

    def add_answer(self, state, said):
        return self.finish(self.take_answer(state, said))


@pytest.mark.parametrize("words", [Words(), SlowWords()], ids=["fast", "slow"])
@settings(max_examples=100)
@given(forgotten=st.lists(st.integers(0, 10**6), max_size=30), num_answers=st.integers(0, 80))
def test_a_history_is_what_a_replay_of_the_rest_gives(words, forgotten, num_answers):
    answers = [(100 + n, Said(n, n + 1, Answer.SIMILAR)) for n in range(num_answers)]
    replay_log = ReplayLog(words, answers)
    for number, draw in enumerate(forgotten):
        if answers:
            replay_log.remove_answer(answers.pop(draw % len(answers))[0])
        answers.append((1000 + number, Said(500 + number, 999, Answer.SIMILAR)))
        replay_log.add_answer(*answers[-1])
        assert replay_log.is_behind == isinstance(words, SlowWords)
        if draw % 2:
            assert replay_log.state[-1] == 500 + number and not replay_log.is_behind
    assert replay_log.state == replayed(words, [said for _, said in answers])
    assert replay_log.num_states <= 8 + 2 * max(1, len(answers)).bit_length()


def test_to_take_back_the_last_answers_replays_few():
    added = []

    class Counting(Words):
        def add_answer(self, state, said):
            added.append(said)
            return super().add_answer(state, said)

    answers = [(n, Said(n, n + 1, Answer.SIMILAR)) for n in range(1_000)]
    replay_log = ReplayLog(Counting(), answers)
    added.clear()
    for n in range(999, 799, -1):
        replay_log.remove_answer(n)
    assert len(added) < 200 * 8
    added.clear()
    replay_log.remove_answer(400)
    assert len(added) < 800
