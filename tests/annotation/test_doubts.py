"""Which of the answers that contradict each other is named first."""

import numpy as np
import pytest

from anneal_jax.acquisition.beliefs.judging import chance_alike, likely_members
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import begin
from anneal_jax.annotation.doubts import contradiction
from anneal_jax.annotation.questions.by_belief import BeliefQuestions
from anneal_jax.annotation.questions.plan import make_plan
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.answers.store import AnswerStore
from anneal_jax.types import Answer
from tests.annotation.conftest import NUM_TILES
from tests.annotation.driving import TAB, answers_of, ask, run

YES, NO = Answer.SIMILAR, Answer.DISSIMILAR


@pytest.fixture(params=["beliefs", "cosine"])
def session(request, tmp_path, directions):
    store = AnswerStore(tmp_path / "answers.sqlite", [f"tile{i}" for i in range(NUM_TILES)])
    store.set_sentence("Same land use")
    graph = neighbour_graph(directions)
    source = BeliefQuestions(BeliefSession(np.arange(NUM_TILES, dtype=np.int32), graph, begin(graph)))
    plan = make_plan(directions, seed=0, by_belief=source if request.param == "beliefs" else None)
    session = AnnotationSession(store, directions, np.arange(NUM_TILES), plan)
    assert (session.beliefs() is None) == (request.param == "cosine")
    return session


def volunteer(session, first, second, said):
    session.volunteer(TAB, (first, second), said, f"mark-{first}-{second}-{said}")


def test_a_slip_among_true_answers_is_named_first(session, classes):
    """Tile 0 and 5 are of class 0, 1 and 6 of class 1; one answer joins the two."""
    run(session, answers_of(classes), 40)
    assert contradiction(session) is None
    for first, second, said in ((0, 5, YES), (1, 6, YES), (5, 6, NO), (0, 1, YES)):
        volunteer(session, first, second, said)
    found = contradiction(session)
    assert found is not None and found["count"] >= 1
    (first, *others) = found["chain"]
    assert (first["first"], first["second"], first["answer"]) == (0, 1, "similar")
    assert all(first["chance"] < other["chance"] for other in others)


def test_what_was_denied_when_it_was_asked_again_comes_before_all_others(session):
    session.open_tab(TAB, "Ada")
    for first, second, said in ((0, 5, YES), (5, 10, YES), (0, 10, NO)):
        volunteer(session, first, second, said)
    last = contradiction(session)["chain"][-1]
    pair, opposite = (last["first"], last["second"]), NO if last["answer"] == "similar" else YES
    session.answer(TAB, ask(session, pair, "repeat"), opposite, 1.0)
    assert contradiction(session)["chain"][0]["answer_id"] == last["answer_id"]


def test_who_decides_later_gets_the_next_one_and_then_the_first_again(session):
    session.open_tab(TAB, "Ada")
    for start in (0, 20, 40):
        for first, second, said in ((0, 5, YES), (5, 10, YES), (0, 10, NO)):
            volunteer(session, start + first, start + second, said)
    seen, after = [], 0
    for _ in range(4):
        found = contradiction(session, after)
        after = found["answer_id"]
        seen.append(found["place"])
        assert found["count"] == 3 and len(found["chain"]) == 3
    assert seen == [0, 1, 2, 0]


def test_likely_members_are_of_the_groups_that_answers_tell_of(directions, classes):
    graph = neighbour_graph(directions)
    tiles = np.arange(NUM_TILES, dtype=np.int32)
    belief_session = BeliefSession(tiles, graph, begin(graph))
    source = BeliefQuestions(belief_session)
    state = source.start()
    from anneal_jax.annotation.types import Said

    for number in range(40):
        first, second = number % 5, number + 5
        state = source.add_answer(state, Said(first, second, Answer(int(first == second % 5))))
    known = {tile: int(classes[tile]) for tile in range(25)}
    found = likely_members(belief_session, state.beliefs, known, least=0.5)
    named = [(group, tile) for group, rows in found.items() for tile, _ in rows]
    assert named and not {tile for _, tile in named} & known.keys()
    assert np.mean([classes[tile] == group for group, tile in named]) > 0.8
    beliefs = [belief for rows in found.values() for _, belief in rows]
    assert min(beliefs) >= 0.5 and all(
        rows == sorted(rows, key=lambda row: -row[1]) for rows in found.values()
    )


def test_a_chance_is_of_tiles_that_the_beliefs_know(directions):
    graph = neighbour_graph(directions[:10])
    belief_session = BeliefSession(np.arange(0, 20, 2, dtype=np.int32), graph, begin(graph))
    assert chance_alike(belief_session, belief_session.start, 0, 3) is None
    assert chance_alike(belief_session, belief_session.start, 0, 98) is None
    chance = chance_alike(belief_session, belief_session.start, 0, 18)
    assert chance is not None and 0 <= chance <= 1
