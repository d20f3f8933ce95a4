"""The page's own way to ask, before a desk with a store, and what is kept of its past."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import Interview
from anneal_jax.acquisition.beliefs.state import begin
from anneal_jax.annotation.questions.by_belief import BeliefQuestions
from anneal_jax.annotation.questions.plan import make_guide
from anneal_jax.annotation.questions.replay import History
from anneal_jax.annotation.questions.source import replayed
from anneal_jax.annotation.session import AHEAD, Desk
from anneal_jax.annotation.types import Said
from anneal_jax.answers.store import AnswerStore
from anneal_jax.types import Answer
from tests.annotation.conftest import NUM_TILES
from tests.annotation.driving import TAB, answers_of, run


@pytest.fixture
def source(directions):
    graph = neighbour_graph(directions)
    return BeliefQuestions(Interview(np.arange(NUM_TILES, dtype=np.int32), graph, begin(graph)))


@pytest.fixture
def make_desk(tmp_path, directions, source):
    def make(**options):
        store = AnswerStore(tmp_path / "answers.sqlite", [f"tile{i}" for i in range(NUM_TILES)])
        store.set_sentence("Same land use")
        guide = make_guide(directions, seed=0, by_belief=source)
        return Desk(store, directions, np.arange(NUM_TILES), guide, **options)

    return make


def beliefs_of(desk):
    return desk._asker.histories["pairs"].state.beliefs


def test_it_begins_without_answers_and_groups_the_tiles(make_desk, classes):
    desk = make_desk()
    view = desk.open_tab(TAB, "Ada")
    assert len(view["questions"]) == AHEAD
    run(desk, answers_of(classes), 60, view)
    groups = beliefs_of(desk).groups
    settled = groups >= 0
    assert settled.sum() > 20
    pairs = set(zip(groups[settled].tolist(), classes[settled].tolist(), strict=True))
    assert len(pairs) == len(set(classes.tolist()))  # a group for each class, and a class for each group


def test_prefetched_questions_stay_while_they_are_unknown(make_desk, classes):
    desk = make_desk()
    view = desk.open_tab(TAB, "Ada")
    for _ in range(40):
        coming = {q["key"]: (q["first"], q["second"]) for q in view["questions"][1:]}
        view = run(desk, answers_of(classes), 1, view)
        dropped = coming.keys() - {q["key"] for q in view["questions"]}
        assert all(not desk._asker.is_unknown(*coming[key]) for key in dropped)


def test_audits_and_repeats_teach_it_nothing(make_desk, classes, source):
    desk = make_desk()
    run(desk, answers_of(classes), 60)
    kinds = {row["kind"] for row in desk.answers()}
    assert {"audit", "repeat"} <= kinds
    told = [said for _, said in desk.ledger.said]
    state = replayed(source, [said for said in told if said.is_trained])
    for name in ("groups", "evidence", "reached", "apart"):
        np.testing.assert_array_equal(getattr(beliefs_of(desk), name), getattr(state.beliefs, name))


def test_undo_believes_what_was_believed_then_and_a_restart_as_well(make_desk, classes):
    desk = make_desk()
    view = run(desk, answers_of(classes), 20)
    before = desk._asker.histories["pairs"].state
    run(desk, answers_of(classes), 30, view)
    for step in range(30):
        desk.undo(TAB, f"undo-key-{step}")
    np.testing.assert_equal(desk._asker.histories["pairs"].state, before)
    np.testing.assert_equal(make_desk()._asker.histories["pairs"].state, before)


def test_an_implied_pair_is_asked_only_as_a_check_and_at_most_once(make_desk, classes):
    rng = np.random.default_rng(1)
    truth = answers_of(classes)

    def slips(question):
        return Answer(1 - truth(question)) if rng.random() < 0.15 else truth(question)

    for checks in (True, False):
        desk = make_desk(checks=checks)
        view = desk.open_tab(TAB, "Ada")
        num_checks = 0
        for _ in range(50):
            shown = desk._tab(TAB).issued[view["questions"][0]["key"]]
            num_checks += shown.is_check
            assert shown.kind == "repeat" or not desk.ledger.was_asked(shown.first, shown.second)
            view = run(desk, slips, 1, view)
        assert (num_checks > 0) == checks


class Words:
    """A source whose state is all that it was told: two histories are one only if they agree in full."""

    def start(self):
        return ()

    def absorb(self, state, said):
        return (*state, said.first)

    def propose(self, state, known):
        return state, iter(())


@settings(max_examples=100)
@given(forgotten=st.lists(st.integers(0, 10**6), max_size=30), num_answers=st.integers(0, 80))
def test_a_history_is_what_a_replay_of_the_rest_gives(forgotten, num_answers):
    answers = [(100 + n, Said(n, n + 1, Answer.SIMILAR)) for n in range(num_answers)]
    history = History(Words(), answers)
    for number, draw in enumerate(forgotten):
        if answers:
            history.forget(answers.pop(draw % len(answers))[0])
        answers.append((1000 + number, Said(500 + number, 999, Answer.SIMILAR)))
        history.take(*answers[-1])
    assert history.state == replayed(Words(), [said for _, said in answers])
    assert history.num_states <= 8 + 2 * max(1, len(answers)).bit_length()


def test_to_take_back_the_last_answers_replays_few():
    absorbed = []

    class Counting(Words):
        def absorb(self, state, said):
            absorbed.append(said)
            return super().absorb(state, said)

    answers = [(n, Said(n, n + 1, Answer.SIMILAR)) for n in range(1_000)]
    history = History(Counting(), answers)
    absorbed.clear()
    for n in range(999, 799, -1):
        history.forget(n)
    assert len(absorbed) < 200 * 8
    absorbed.clear()
    history.forget(400)
    assert len(absorbed) < 800
