"""A model that is worse than what it replaces is not used, and the page and the curve say why."""

import asyncio
import json

import numpy as np
import pytest

from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import begin
from anneal_jax.annotation.learning import loop
from anneal_jax.annotation.learning.acceptance import judge_model
from anneal_jax.annotation.learning.loop import LearningLoop
from anneal_jax.annotation.learning.trainer import Result, Snapshot
from anneal_jax.annotation.open_tabs import AHEAD
from anneal_jax.annotation.questions.by_belief import BeliefQuestions
from anneal_jax.annotation.questions.plan import make_plan
from anneal_jax.annotation.sets import begin_set
from anneal_jax.annotation.types import AnsweredPairs, Evidence
from anneal_jax.experiments.belief_rounds import Outlook
from anneal_jax.training.projection import centring
from anneal_jax.types import Answer
from tests.annotation.conftest import NUM_CLASSES, NUM_TILES, IdleTrainer
from tests.annotation.driving import TAB, answers_of, run


def one_hot(classes):
    return np.eye(NUM_CLASSES, dtype=np.float32)[classes]


def noise(seed=9):
    vectors = np.random.default_rng(seed).normal(size=(NUM_TILES, 16)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class OneResult(IdleTrainer):
    """A trainer whose job has just ended."""

    def __init__(self, result):
        self.result = result

    def fetch(self):
        result, self.result = self.result, None
        return result


def learning_of(session, embeddings, folder, *, num_taught=0):
    """Return what learns, with a model on trial that knows so many of the answers."""
    taught = session.standing.records[:num_taught]
    pairs = frozenset((record.first, record.second) for record in taught)
    snapshot = Snapshot(session.set_id, frozenset(record.answer_id for record in taught), pairs)
    chosen = np.array([(0, 1)], np.int32)
    result = Result(snapshot, embeddings, chosen, centring(embeddings), Outlook(0.2, 9, NUM_TILES))
    folder.mkdir(exist_ok=True)
    return LearningLoop(session, OneResult(result), folder, seed=0)


def advance(learning):
    async def in_writer_thread(work, *args):
        return work(*args)

    asyncio.run(learning.advance(in_writer_thread))
    assert learning.to_json()["training_failure"] == ""


def test_a_poisoned_result_is_not_adopted_and_it_is_reported(make_session, classes, tmp_path):
    session = make_session()
    run(session, answers_of(classes), 60)
    learning = learning_of(session, noise(), tmp_path / "annotation", num_taught=20)
    advance(learning)
    assert session.plan.version == 0
    state = learning.to_json()
    assert state["refusal"].startswith("The model of 20 answers is not used: ")
    assert "than by the features" in state["refusal"] and state["on_trial"] is None
    (row,) = json.loads((tmp_path / "annotation" / "curve.json").read_text())
    assert row["refusal"] == state["refusal"] and row["model_answers"] == 0


def test_a_good_result_is_adopted_and_a_worse_one_after_it_is_not(make_session, classes, tmp_path):
    session = make_session()
    view = run(session, answers_of(classes), 60)
    advance(learning_of(session, one_hot(classes), tmp_path / "annotation", num_taught=20))
    assert session.plan.version == 20
    run(session, answers_of(classes), 25, view)
    learning = learning_of(session, noise(), tmp_path / "annotation", num_taught=40)
    advance(learning)
    assert session.plan.version == 20 and "than by the" in learning.to_json()["refusal"]


def test_no_model_is_adopted_when_the_sentence_changes_while_it_is_judged(
    make_session, classes, tmp_path, monkeypatch
):
    session = make_session()
    run(session, answers_of(classes), 60)
    learning = learning_of(session, one_hot(classes), tmp_path / "annotation", num_taught=20)

    def judge_slowly(*args):
        begin_set(session, TAB, "Something else", "begin-a-set")
        return judge_model(*args)

    monkeypatch.setattr(loop, "judge_model", judge_slowly)
    advance(learning)
    assert session.sentence == "Something else"
    assert session.plan.version == 0 and learning.curve == []
    assert learning.to_json()["on_trial"] is None


def test_advance_learns_the_graph_before_anybody_waits_for_it(
    make_session, directions, classes, tmp_path, monkeypatch
):
    monkeypatch.setattr("anneal_jax.acquisition.beliefs.learnt.MIN_SETTLED", 8)
    graph = neighbour_graph(directions)
    tiles = BeliefSession(np.arange(NUM_TILES, dtype=np.int32), graph, begin(graph))
    session = make_session()
    session.adopt(make_plan(directions, seed=0, by_belief=BeliefQuestions(tiles)))
    view = session.open_tab(TAB, "Ada")
    while len(view["questions"]) == AHEAD:  # one fewer while the graph is not learnt
        view = run(session, answers_of(classes), 1, view)
    assert len(session.view(TAB)["questions"]) < AHEAD
    advance(LearningLoop(session, OneResult(None), tmp_path, seed=0))
    assert len(session.view(TAB)["questions"]) == AHEAD


def test_a_failure_to_learn_the_graph_keeps_no_result_from_being_fetched(
    make_session, classes, tmp_path, monkeypatch
):
    session = make_session()
    run(session, answers_of(classes), 60)
    learning = learning_of(session, one_hot(classes), tmp_path / "annotation", num_taught=20)

    def fail():
        raise ArithmeticError("no eigenvalue")

    monkeypatch.setattr(session, "finish_beliefs", fail)
    with pytest.raises(AssertionError, match="no eigenvalue"):
        advance(learning)  # it expects no failure
    assert learning.to_json()["training_failure"] == "ArithmeticError: no eigenvalue"
    assert session.plan.version == 20


class Growing(list):
    """A curve to which the next row is appended as soon as it was read."""

    def __reversed__(self):
        found = self[::-1]
        self.append(self[-1] | {"num_moved": 0})
        return iter(found)


def test_the_page_gets_gain_and_progress_from_the_same_rows(make_session, classes, tmp_path):
    session = make_session()
    run(session, answers_of(classes), 60)
    learning = learning_of(session, one_hot(classes), tmp_path / "annotation", num_taught=20)
    advance(learning)
    assert learning.to_json()["gain"] is None and not learning.to_json()["progress"]["is_forecast"]
    row = {"set_id": session.set_id, "trained_on": 200, "doubt": 0.1, "num_moved": 39, "num_tiles": 1_000}
    learning.curve = Growing([row])
    state = learning.to_json()
    assert state["gain"] == pytest.approx({"least": 0.010, "expected": 0.026, "most": 0.064}, abs=1e-3)
    assert state["progress"] == {"least": 200, "aim": 450, "most": 850, "is_forecast": True}
    assert state["least_gain"] == 0.01


def test_without_evidence_a_model_of_few_answers_waits_for_it(make_session, classes, tmp_path):
    session = make_session()
    view = run(session, answers_of(classes), 20)
    learning = learning_of(session, one_hot(classes), tmp_path / "a", num_taught=20)
    advance(learning)
    assert session.plan.version == 0 and learning.to_json()["on_trial"] == 20
    run(session, answers_of(classes), 30, view)
    advance(learning)
    assert session.plan.version == 20 and learning.to_json()["on_trial"] is None


def test_many_answers_are_enough_without_evidence_but_marks_are_none_of_them(
    make_session, classes, tmp_path, monkeypatch
):
    monkeypatch.setattr("anneal_jax.annotation.learning.loop.UNTRIED_FROM", 30)
    session = make_session()
    session.open_tab(TAB, "Ada")
    for other in range(1, 41):
        session.volunteer(
            TAB, (0, other), Answer(int(classes[0] == classes[other])), f"mark-number-{other}"
        )
    for num_taught, version in ((40, 0), (80, 80)):
        advance(learning_of(session, one_hot(classes), tmp_path / "annotation", num_taught=num_taught))
        assert session.plan.version == version
        run(session, answers_of(classes), 40, session.view(TAB))


def test_a_model_goes_with_an_answer_that_it_was_trained_on(make_session, classes, tmp_path):
    session = make_session()
    run(session, answers_of(classes), 60)
    advance(learning_of(session, one_hot(classes), tmp_path / "annotation", num_taught=20))
    ids = [record.answer_id for record in session.standing.records]
    session.retract(TAB, ids[40], "retract-it-1")  # no model knows it
    assert session.plan.version == 20
    session.retract(TAB, ids[5], "retract-it-2")
    assert session.plan.version == 0


def test_a_model_on_trial_goes_with_an_answer_that_it_was_trained_on(make_session, classes, tmp_path):
    session = make_session()
    view = run(session, answers_of(classes), 20)
    learning = learning_of(session, one_hot(classes), tmp_path / "annotation", num_taught=20)
    advance(learning)
    assert learning.to_json()["on_trial"] == 20
    session.retract(TAB, session.standing.records[5].answer_id, "retract-it-1")
    run(session, answers_of(classes), 30, view)
    advance(learning)
    assert learning.to_json()["on_trial"] is None and session.plan.version == 0


def test_an_answer_given_again_is_no_news_to_a_model(make_session, classes):
    session = make_session()
    run(session, answers_of(classes), 20)
    taught = {(record.first, record.second) for record in session.standing.records}
    for record in session.standing.records[:10]:
        session.retract(TAB, record.answer_id, f"retract-it-{record.answer_id}")
        session.volunteer(
            TAB, (record.first, record.second), Answer.DISSIMILAR, f"again-it-{record.answer_id}"
        )
    for kind in ("training", "volunteered"):
        pairs, labels = session.standing.held_out(taught, kind)
        assert len(pairs) == len(labels) == 0
    asked, marked = (session.standing.held_out(set(), kind)[0] for kind in ("training", "volunteered"))
    assert len(marked) == 10 and len(asked) == sum(r.kind == "training" for r in session.standing.records)


def test_audits_are_not_compared_by_cosine(make_session, classes):
    """Their neighbours are those of the model that chose them, which would never be left."""
    session = make_session()
    run(session, answers_of(classes), 100)
    audited = {(r.first, r.second) for r in session.standing.records if r.kind == "audit"}
    asked, marked = session.evidence((), [session.plan]).answered
    assert audited and len(marked.labels) == 0
    assert not audited & {tuple(pair) for pair in asked.pair_indices.tolist()}


def test_answers_of_different_origin_are_not_compared():
    """Marks are about what the model in use found: similar ones, whose cosines are large by it."""
    new, old = noise(0), noise(1)
    asked = AnsweredPairs(np.array([(0, other) for other in range(1, 31)], np.int32), np.zeros(30, np.int8))
    marked = AnsweredPairs(asked.pair_indices + 1, np.ones(30, np.int8))
    assert judge_model(Evidence([[], []], [asked, marked]), [new, old], ["x"]) == (False, "")
    mixed = AnsweredPairs(*(np.concatenate(both) for both in zip(asked, marked, strict=True)))
    assert judge_model(Evidence([[], []], [mixed, marked]), [new, old], ["x"]).is_measured


def test_an_audited_pair_that_a_model_was_trained_on_is_no_evidence(make_session, classes):
    session = make_session()
    audited = next(iter(session.plan.audits.pairs))
    session.open_tab(TAB, "Ada")
    session.volunteer(TAB, audited, Answer.SIMILAR, "mark-number-1")
    assert session.standing.label(*audited) == 1 and session.standing.audited(*audited) is None
    assert not any(session.evidence((), [session.plan]).audits[0])


def test_audits_come_first_and_count_by_the_same_draws(classes):
    nothing: list[AnsweredPairs] = []
    old = [1] * 20 + [0] * 10 + [None] * 5
    worse, same = [0] * 12 + old[12:], list(old)
    embeddings = [noise(0), noise(1)]
    refused = judge_model(Evidence([worse, old], nothing), embeddings, ["the features"])
    assert refused.refusal.startswith("of 30 audited neighbours, fewer are similar than by the features")
    assert judge_model(Evidence([same, old], nothing), embeddings, ["the features"]) == (True, "")
    few = Evidence([same[:19], old[:19]], nothing)
    assert judge_model(few, embeddings, ["the features"]) == (False, "")


@pytest.mark.parametrize("seed", range(2))
def test_the_standard_error_of_answered_pairs_is_that_of_many_samples(seed):
    """Two equally good models: refused in about one of six samples, as often as a standard error says."""
    rng = np.random.default_rng(seed)
    refusals = []
    for _ in range(100):
        labels = (np.arange(60) % 2).astype(np.int8)
        angles = [np.arccos(np.clip(0.4 * labels + rng.normal(0, 0.3, 60), -1, 1)) for _ in range(2)]
        models = [
            np.stack([np.r_[np.ones(60), np.cos(a)], np.r_[np.zeros(60), np.sin(a)]], 1).astype(np.float32)
            for a in angles
        ]
        pairs = np.stack([np.arange(60), np.arange(60, 120)], 1).astype(np.int32)
        refusals.append(
            judge_model(Evidence([[], []], [AnsweredPairs(pairs, labels)]), models, ["x"]).refusal != ""
        )
    assert 0.05 < np.mean(refusals) < 0.3
