"""The page's own way to ask, before a session with a store, and what is kept of its past."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import begin
from anneal_jax.annotation.questions.by_belief import BeliefQuestions
from anneal_jax.annotation.questions.plan import make_plan
from anneal_jax.annotation.questions.replay import ReplayLog
from anneal_jax.annotation.questions.source import replayed
from anneal_jax.annotation.session import AHEAD, AnnotationSession
from anneal_jax.annotation.types import Said
from anneal_jax.answers.store import AnswerStore
from anneal_jax.types import Answer
from tests.annotation.conftest import NUM_TILES
from tests.annotation.driving import TAB, answers_of, run


@pytest.fixture
def source(directions):
    graph = neighbour_graph(directions)
    return BeliefQuestions(BeliefSession(np.arange(NUM_TILES, dtype=np.int32), graph, begin(graph)))


@pytest.fixture
def make_session(tmp_path, directions, source):
    def make(**options):
        store = AnswerStore(tmp_path / "answers.sqlite", [f"tile{i}" for i in range(NUM_TILES)])
        store.set_sentence("Same land use")
        plan = make_plan(directions, seed=0, by_belief=source)
        return AnnotationSession(store, directions, np.arange(NUM_TILES), plan, **options)

    return make


def beliefs_of(session):
    return session._scheduler.replay_logs["pairs"].state.beliefs


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
        assert all(not session._scheduler.is_unknown(*coming[key]) for key in dropped)


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
    before = session._scheduler.replay_logs["pairs"].state
    run(session, answers_of(classes), 30, view)
    for step in range(30):
        session.undo(TAB, f"undo-key-{step}")
    np.testing.assert_equal(session._scheduler.replay_logs["pairs"].state, before)
    np.testing.assert_equal(make_session()._scheduler.replay_logs["pairs"].state, before)


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
            shown = session._tab(TAB).issued[view["questions"][0]["key"]]
            num_checks += shown.is_check
            assert shown.kind == "repeat" or not session.standing.was_asked(shown.first, shown.second)
            view = run(session, slips, 1, view)
        assert (num_checks > 0) == checks


class Words:
    """A source whose state is all that it was given: two logs are one only if they agree in full."""

    def start(self):
        return ()

    def add_answer(self, state, said):
        return (*state, said.first)

    def propose(self, state, known):
        return state, iter(())


@settings(max_examples=100)
@given(forgotten=st.lists(st.integers(0, 10**6), max_size=30), num_answers=st.integers(0, 80))
def test_a_history_is_what_a_replay_of_the_rest_gives(forgotten, num_answers):
    answers = [(100 + n, Said(n, n + 1, Answer.SIMILAR)) for n in range(num_answers)]
    replay_log = ReplayLog(Words(), answers)
    for number, draw in enumerate(forgotten):
        if answers:
            replay_log.remove_answer(answers.pop(draw % len(answers))[0])
        answers.append((1000 + number, Said(500 + number, 999, Answer.SIMILAR)))
        replay_log.add_answer(*answers[-1])
    assert replay_log.state == replayed(Words(), [said for _, said in answers])
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
