"""Which glance comes next, what it is expected to tell, and what is made of its answer."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal_jax.acquisition.beliefs import glances as glances_module
from anneal_jax.acquisition.beliefs.choose import was_asked
from anneal_jax.acquisition.beliefs.choose_several import (
    Interleaved,
    add_interleaved_answer,
    open_questions,
)
from anneal_jax.acquisition.beliefs.glances import (
    KINDS,
    MAX_FIRST_CHOICES,
    MAX_NEW,
    MAX_TILES,
    Glance,
    answers_of,
    next_glance,
    open_glances,
    sharpened,
)
from anneal_jax.acquisition.beliefs.information import choice_information, click_chances, grid_information
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.seconds import GlanceSeconds
from anneal_jax.acquisition.beliefs.state import OPEN, begin, open_medoids
from anneal_jax.types import Answer
from tests.acquisition.beliefs.cases import blobs, partition, random_graph
from tests.acquisition.beliefs.test_invariants import check
from tests.reference import beliefs as twin

RATES = st.sampled_from([0.01, 0.05, 0.3])


def learn(graph, state, glance, picked, **options):
    for answer in answers_of(glance, picked, **options):
        state = add_interleaved_answer(graph, state, *answer[:3], **answer.reading())
    return state


def truth(glance, labels):
    alike = [other for other in glance.others if labels[other] == labels[glance.subject]]
    return [other for other in glance.others if other not in alike] if glance.kind == "grid" else alike[:1]


def look_on(graph, labels, kinds=KINDS, **options):
    """Answer truthfully until nothing is left; return the state, the glances and the seconds."""
    state, glances, seconds = Interleaved(begin(graph), {}), [], 0.0
    while (glance := next_glance(graph, state, kinds=kinds, **options)) is not None:
        picked = truth(glance, labels)
        clicks = len(picked) if glance.kind == "grid" else 0
        seconds += GlanceSeconds().of(glance.kind, len(glance.others), clicks)
        glances.append(glance)
        state = learn(graph, state, glance, picked)
    return state, glances, seconds


@given(weights=st.lists(st.floats(0.001, 1), min_size=3, max_size=8), count=st.integers(1, 5), rate=RATES)
def test_a_choice_tells_the_mutual_information_of_its_channel(weights, count, rate):
    believed, count = np.array(weights) / sum(weights), min(count, len(weights) - 1)
    expected = twin.mutual_information(believed, twin.choice_channel(len(believed), count, rate))
    told = choice_information(believed, count, rate)
    assert told >= 0
    np.testing.assert_allclose(told, expected, rtol=1e-9, atol=1e-12)


@given(alike=st.floats(0, 1), rate=RATES, miss_rate=RATES)
def test_a_tile_of_a_grid_tells_the_mutual_information_of_its_channel(alike, rate, miss_rate):
    prior, channel = np.array([alike, 1 - alike]), twin.grid_channel(rate, miss_rate)
    told = grid_information(np.array(alike), rate, miss_rate)
    np.testing.assert_allclose(told, twin.mutual_information(prior, channel), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(click_chances(np.array(alike), rate, miss_rate), prior @ channel[:, 0])


@given(weights=st.lists(st.floats(0.001, 1), min_size=2, max_size=8))
def test_sharpened_beliefs_keep_their_order_and_the_chance_of_a_new_group(weights):
    believed = np.array(weights) / sum(weights)
    sharp = sharpened(believed)
    np.testing.assert_allclose([sharp.sum(), sharp[-1]], [1, believed[-1]])
    assert sharp[:-1].max() >= believed[:-1].max() - 1e-12
    if believed[-1] > MAX_NEW:
        np.testing.assert_array_equal(sharp, believed)
    assert (np.diff(sharp[:-1][np.argsort(believed[:-1])]) >= -1e-12).all()


def test_answers_of_a_glance_are_pair_answers():
    choice, grid = Glance("choice", 9, (1, 2, 3), 0.0), Glance("grid", 9, (1, 2, 3), 0.0)
    said = [(a.second, a.answer, a.miss_rate, a.is_last) for a in answers_of(choice, [2])]
    assert said == [(1, Answer.DISSIMILAR, 0.0, False), (2, Answer.SIMILAR, 0.0, True)]
    assert [a.answer for a in answers_of(choice, [])] == [Answer.DISSIMILAR] * 3
    assert [a.answer for a in answers_of(choice, [], is_unsure=True)] == [Answer.UNSURE]
    said = [(a.second, a.answer, a.miss_rate, a.is_last) for a in answers_of(grid, [3], miss_rate=0.1)]
    similar = Answer.SIMILAR
    assert said == [
        (3, Answer.DISSIMILAR, 0.0, False),
        (1, similar, 0.1, False),
        (2, similar, 0.1, True),
    ]
    assert answers_of(grid, [], is_unsure=True) == []


@settings(max_examples=30)
@given(seed=st.integers(0, 10**6), num_tiles=st.integers(1, 12), data=st.data())
def test_whatever_is_answered_gains_are_no_loss_and_nothing_known_is_asked(seed, num_tiles, data):
    graph = random_graph(seed, num_tiles)
    state = Interleaved(begin(graph), {})
    for _ in range(num_tiles * num_tiles):
        glance = next_glance(graph, state)
        if glance is None:
            return
        assert glance.gain_per_s >= 0 and np.isfinite(glance.gain_per_s)
        assert len({glance.subject, *glance.others}) == 1 + len(glance.others) <= 1 + MAX_TILES
        assert not was_asked(state.beliefs, glance.subject, np.array(glance.others)).any()
        size = None if glance.kind == "grid" else 1
        picked = data.draw(st.lists(st.sampled_from(glance.others), unique=True, max_size=size))
        unsure = not picked and glance.kind != "grid" and data.draw(st.booleans())
        state = learn(graph, state, glance, picked, is_unsure=unsure)
        assert not state.begun
        check(state.beliefs, num_tiles)
    raise AssertionError("more glances than pairs")


@pytest.fixture
def eager_grids(monkeypatch):
    """Grids as soon as they seem to gain most, which small archives need to have any."""
    monkeypatch.setattr(glances_module, "GRID_MARGIN", 0.2)


@pytest.mark.usefixtures("eager_grids")
@pytest.mark.parametrize("seed", range(2))
def test_true_answers_find_the_classes_in_less_time_than_pairs_do(seed):
    features, labels = blobs(seed, per_class=30)
    graph = neighbour_graph(features)
    mixed, glances, seconds = look_on(graph, labels)
    pairs, _, of_pairs = look_on(graph, labels, ("pair",))
    assert partition(mixed.beliefs.groups) == partition(pairs.beliefs.groups) == partition(labels)
    assert {glance.kind for glance in glances} == set(KINDS)
    assert seconds < of_pairs


def test_only_allowed_kinds_are_shown():
    features, labels = blobs(1)
    _, glances, _ = look_on(neighbour_graph(features), labels, ("pair", "choice"))
    assert {glance.kind for glance in glances} == {"pair", "choice"}


@pytest.mark.parametrize("seed", [0, 1])
def test_choices_about_medoids_show_few_groups(seed):
    features, labels = blobs(seed, num_classes=12, spread=1.4)
    graph = neighbour_graph(features)
    state, shown = Interleaved(begin(graph), {}), {True: [0], False: [0]}
    while (glance := next_glance(graph, state)) is not None:
        is_first = open_medoids(graph, state.beliefs).size > 0
        if glance.kind == "choice":
            shown[is_first].append(len(glance.others))
        state = learn(graph, state, glance, truth(glance, labels))
    assert max(shown[True]) == MAX_FIRST_CHOICES < max(shown[False])


def test_glances_open_at_once_are_about_different_tiles():
    features, labels = blobs(2, per_class=40)
    graph = neighbour_graph(features)
    state = Interleaved(begin(graph), {})
    for _ in range(30):
        glance = next_glance(graph, state)
        state = learn(graph, state, glance, truth(glance, labels))
    glances = [glance for glance, _ in zip(open_glances(graph, state), range(5), strict=False)]
    tiles = [t for g in glances for t in (g.others if g.kind == "grid" else (g.subject,))]
    assert len(set(tiles)) == len(tiles)


@given(order=st.permutations(range(6)), clicked=st.sets(st.integers(0, 5)))
@settings(max_examples=30)
def test_before_its_last_answer_a_grid_teaches_the_same_in_any_order(order, clicked):
    features, _ = blobs(0)
    graph = neighbour_graph(features)
    start = Interleaved(begin(graph), {})
    founder = int(np.flatnonzero(start.beliefs.groups != OPEN)[0])
    others = tuple(np.flatnonzero(start.beliefs.groups == OPEN)[:6].tolist())
    answers = answers_of(Glance("grid", founder, others, 0.0), [others[place] for place in clicked])
    states = []
    for answer_order in (range(6), order):
        state = start
        for place in answer_order:
            state = add_interleaved_answer(
                graph, state, *answers[place][:3], miss_rate=answers[place].miss_rate, is_last=False
            )
        states.append(state)
    np.testing.assert_array_equal(states[0].beliefs.evidence, states[1].beliefs.evidence)
    assert states[0].pending == states[1].pending
    assert set(states[0].begun) == set(states[1].begun) == set(others)


@pytest.mark.usefixtures("eager_grids")
def test_tiles_that_a_grid_settles_say_nothing_about_new_groups():
    features, labels = blobs(0, per_class=30)
    graph = neighbour_graph(features)
    state, glances, _ = look_on(graph, labels)
    shown = {t for g in glances if g.kind == "grid" for t in g.others if labels[t] == labels[g.subject]}
    assert set(np.flatnonzero(state.beliefs.is_from_grid)) <= shown
    assert state.beliefs.is_from_grid.any()


@pytest.mark.parametrize("seed", range(3))
def test_mixed_first_questions_have_a_yes_among_three_and_six_among_twenty(seed):
    features, labels = blobs(seed, num_classes=20)
    graph = neighbour_graph(features)
    state, answers = Interleaved(begin(graph), {}), []
    while len(answers) < 20:
        pair = next(open_questions(graph, state, mixes_first=True))
        answers.append(Answer(int(labels[pair[0]] == labels[pair[1]])))
        state = add_interleaved_answer(graph, state, *pair, answers[-1])
    assert Answer.SIMILAR in answers[:3]
    assert answers.count(Answer.SIMILAR) >= 6
