"""What is asked, and what is made of the answers, on tiles that lie in blobs."""

import numpy as np
import pytest

from anneal_jax.acquisition.beliefs.choose import exemplars, next_question, openness
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    BeliefSettings,
    Reply,
    begin,
    found_group,
    joining_chances,
    settled_groups,
    spread,
)
from anneal_jax.acquisition.beliefs.update import add_answer, settle_subject
from anneal_jax.acquisition.group_ask import group_by_asking
from anneal_jax.types import Answer
from tests.acquisition.beliefs.cases import (
    blobs,
    oracle,
    partition,
    session,
    with_a_slip,
)

SETTINGS = BeliefSettings()


def purity(groups, labels):
    """Return the share of tiles that are of the commonest class of their group."""
    common = [np.bincount(labels[groups == group]).max() for group in np.unique(groups)]
    return sum(common) / len(labels)


@pytest.mark.parametrize("seed", range(4))
def test_true_answers_found_the_classes_and_a_third_of_them_tells_the_rest(seed):
    features, labels = blobs(seed)
    graph, tiles = neighbour_graph(features), np.arange(len(labels), dtype=np.int32)
    plain = group_by_asking(tiles, features, oracle(labels))
    state, asked = session(graph, oracle(labels))
    assert partition(state.groups) == partition(labels)
    assert len(asked) <= plain.questions[-1]
    # After as many questions, asking tile by tile has come to a third of the tiles.
    third = int(plain.questions[-1]) // 3
    early, _ = session(graph, oracle(labels), num_questions=third)
    groups, _ = settled_groups(graph, early)
    assert purity(groups, labels) >= 0.97
    assert early.num_groups == 6
    assert np.sum(plain.questions <= third) < 0.4 * len(labels)


@pytest.mark.parametrize("seed", range(4))
def test_groups_that_overlap_are_mostly_reported_apart_with_half_the_questions(seed):
    features, labels = blobs(seed, spread=1.2)
    tiles = np.arange(len(labels), dtype=np.int32)
    plain = group_by_asking(tiles, features, oracle(labels))
    half = int(plain.questions[-1]) // 2
    state, _ = session(neighbour_graph(features), oracle(labels), num_questions=half)
    groups, _ = settled_groups(neighbour_graph(features), state)
    assert 6 <= state.num_groups <= 8  # two refusals found a group at first; halves are joined later
    assert purity(groups, labels) > np.mean(plain.questions <= half) + 0.2


def test_slips_about_known_classes_are_outweighed():
    """One answer in ten is wrong, but for those about the first tiles of a class."""
    features, labels = blobs(0)
    graph, truth = neighbour_graph(features), oracle(labels)
    state, _ = session(graph, truth, num_questions=40)
    assert len(np.unique(labels[state.groups != OPEN])) == state.num_groups == 6
    state, asked = session(graph, oracle(labels, wrong_share=0.1), state=state)
    num_wrong = sum(answer != truth(first, second) for first, second, answer in asked)
    assert num_wrong > 5
    groups, _ = settled_groups(graph, state)
    assert purity(groups, labels) >= 0.98
    assert np.sum(np.bincount(groups) >= 10) == 6


def test_one_wrong_answer_in_twenty_is_survived_by_most():
    purities = []
    for seed in range(10):
        features, labels = blobs(seed)
        graph = neighbour_graph(features)
        state, _ = session(graph, oracle(labels, wrong_share=0.05, seed=seed))
        purities.append(purity(settled_groups(graph, state)[0], labels))
    assert np.quantile(purities, 0.25) >= 0.98


@pytest.mark.parametrize("seed", [4, 5])
def test_a_class_whose_first_tile_was_let_in_elsewhere_is_found_again(seed):
    features, labels = blobs(seed)
    graph = neighbour_graph(features)
    state, _ = session(graph, oracle(labels, wrong_share=0.05, seed=seed))
    assert purity(settled_groups(graph, state)[0], labels) >= 0.95


def two_of_one_kind(seed=0):
    """Return a graph and beliefs of 4 groups, the last two of one class, with two exemplars of each."""
    features, labels = blobs(seed, num_classes=3)
    graph = neighbour_graph(features)
    graph = graph._replace(medoids=graph.medoids[:1])  # the others are done
    founder = int(np.argmax(begin(graph).groups))
    others = [kind for kind in range(3) if kind != labels[founder]]
    free = [np.flatnonzero((labels == kind) & (np.arange(len(labels)) != founder)) for kind in range(3)]
    pairs = [
        free[labels[founder]][:1],
        free[others[0]][:2],
        free[others[1]][:2],
        free[others[1]][2:4],
    ]
    state = begin(graph)
    for group, tiles in enumerate(pairs):
        for tile in tiles.tolist():
            groups, seniority = state.groups.copy(), state.seniority.copy()
            if group == state.num_groups:
                state = found_group(state, tile)
                continue
            groups[tile], seniority[tile] = group, seniority.max() + 1
            state = state._replace(groups=groups, seniority=seniority)
    return graph, labels, spread(graph, state, SETTINGS, 30)


@pytest.mark.parametrize("seed", range(5))
def test_two_groups_of_one_kind_are_compared_and_joined_after_two_yeses(seed):
    graph, labels, state = two_of_one_kind(seed)
    answers = []
    while state.num_groups == 4:
        state, pair = next_question(graph, state)
        assert state.subject == OPEN  # the question is about two groups
        answers.append(oracle(labels)(*pair))
        state = add_answer(graph, state, *pair, answers[-1])
    assert answers.count(Answer.SIMILAR) == 2
    assert len(answers) <= 4
    settled = state.groups != OPEN
    assert partition(state.groups[settled]) == partition(labels[settled])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("one", [0, 1])
def test_one_wrong_yes_joins_no_groups(seed, one):
    graph, _, state = two_of_one_kind(seed)
    pair = int(exemplars(state, one)[0]), int(exemplars(state, 2)[0])
    once = add_answer(graph, state, *pair, Answer.SIMILAR)
    assert once.num_groups == 4
    np.testing.assert_array_equal(once.groups, state.groups)
    # A truthful answer about two other members settles it.
    other = int(exemplars(state, one)[1]), int(exemplars(state, 2)[1])
    refused = add_answer(graph, once, *other, Answer.DISSIMILAR)
    assert refused.apart[one, 2] == pytest.approx(0, abs=1e-5)
    assert refused.num_groups == 4


def test_two_groups_that_were_reported_apart_twice_are_not_compared_again():
    graph, _, state = two_of_one_kind()
    asked = []
    while state.subject == OPEN:  # questions about two groups
        state, pair = next_question(graph, state)
        if state.subject == OPEN:
            asked.append(tuple(sorted(state.groups[list(pair)].tolist())))
            state = add_answer(graph, state, *pair, Answer.DISSIMILAR)
    assert 1 <= asked.count((2, 3)) <= 2
    assert joining_chances(graph, state, SETTINGS)[2, 3] < SETTINGS.least_joining


def test_each_question_about_two_groups_shows_tiles_of_its_own():
    graph, _, state = two_of_one_kind()
    shown = []
    while state.subject == OPEN:
        state, pair = next_question(graph, state)
        if state.subject == OPEN and sorted(state.groups[list(pair)].tolist()) == [2, 3]:
            shown.extend(pair)
        state = add_answer(graph, state, *pair, Answer.DISSIMILAR)
    assert {int(exemplars(state, group)[0]) for group in (2, 3)} <= set(shown)
    assert len(set(shown)) == len(shown)


def test_many_refusals_of_one_group_by_another_weigh_as_one():
    graph, labels, state = two_of_one_kind()
    truth, weight = oracle(labels), np.log(0.95 / 0.05)
    for tile in np.flatnonzero((state.groups == OPEN) & (labels == labels[exemplars(state, 3)[0]]))[:4]:
        state = state._replace(subject=int(tile), replies=())
        state = add_answer(graph, state, int(tile), int(exemplars(state, 2)[0]), Answer.DISSIMILAR)
        while state.subject == tile:
            founder = int(exemplars(state, 3)[0])
            answer = truth(int(tile), founder)
            state = add_answer(graph, state, int(tile), founder, answer)
    assert np.sum(state.groups == 3) > 2
    assert state.apart[2, 3] == pytest.approx(-weight, rel=0.1)


@pytest.mark.parametrize("num_denied", [3, 4])
def test_tiles_that_were_denied_by_their_group_get_one_of_their_own_once_they_are_four(num_denied):
    graph, labels, state = two_of_one_kind()
    own, other = (
        np.flatnonzero((state.groups == OPEN) & (labels == kind)) for kind in kinds(state, labels)
    )
    groups, evidence, tile = state.groups.copy(), state.evidence.copy(), int(own[0])
    denied = other[:num_denied]
    groups[denied] = 0
    evidence[denied] = np.log(0.05)  # a yes and a no
    evidence[tile] = np.log([0.95, 0.05, 0.05, 0.05])  # a yes
    state = state._replace(groups=groups, evidence=evidence, subject=tile, replies=(Reply(0, True),))
    after = settle_subject(graph, state, SETTINGS)
    assert after.groups[tile] == after.groups[exemplars(state, 0)[0]] == 0
    assert np.unique(after.groups[denied]).tolist() == ([4] if num_denied == 4 else [0])
    assert after.num_groups == (5 if num_denied == 4 else 4)
    if num_denied == 4:
        assert exemplars(after, 4).size == 1
        np.testing.assert_allclose(after.evidence[denied, 4], np.log(0.95 / 0.05), rtol=0.05)
        assert not after.evidence[denied, 0].any()


def kinds(state, labels):
    """Return the classes of the founders of the first two groups."""
    return [labels[exemplars(state, group)[0]] for group in (0, 1)]


def test_the_joined_group_keeps_the_lower_number_and_all_tiles():
    graph, _, state = two_of_one_kind()
    state = add_answer(
        graph, found_group(state, int(np.flatnonzero(state.groups == OPEN)[0])), 0, 1, Answer.UNSURE
    )
    before = state.groups
    for place in range(2):
        pair = int(exemplars(state, 2)[place]), int(exemplars(state, 3)[place])
        state = add_answer(graph, state, *pair, Answer.SIMILAR)
    assert before.max() == 4
    np.testing.assert_array_equal(state.groups, np.array([0, 1, 2, 2, 3, OPEN])[before])


def in_question(state, refused):
    """Return beliefs with an open tile in question, which has been told apart from a group."""
    tile = int(np.flatnonzero(state.groups == OPEN)[0])
    return state._replace(subject=tile, replies=(Reply(refused, False),))


def test_a_question_that_stands_outlasts_a_joining_that_somebody_else_brings_about():
    graph, _, state = two_of_one_kind()
    asked = in_question(state, refused=3)
    for place in range(2):
        pair = int(exemplars(state, 2)[place]), int(exemplars(state, 3)[place])
        asked = add_answer(graph, asked, *pair, Answer.SIMILAR)
    assert asked.num_groups == 3
    assert asked.replies == (Reply(2, False),)


def test_a_question_that_stands_outlasts_doubts_about_other_tiles():
    graph, _, state = two_of_one_kind()
    asked = in_question(state, refused=1)
    first, second = (int(tile) for tile in np.flatnonzero(state.groups == OPEN)[-2:])
    after = add_answer(graph, asked, first, second, Answer.UNSURE)
    assert (after.subject, after.replies) == (asked.subject, asked.replies)
    assert after.is_aside.sum() == 1
    member = int(exemplars(state, 0)[0])
    ended = add_answer(graph, asked, asked.subject, member, Answer.UNSURE)
    assert (ended.subject, ended.replies) == (OPEN, ())
    assert ended.is_aside[asked.subject]


def test_an_unsure_tile_waits_until_all_others_are_done():
    features, labels = blobs(1)
    graph = neighbour_graph(features)
    truth = oracle(labels)
    founder = int(np.argmax(begin(graph).groups))
    _, asked = session(graph, truth, num_questions=8)
    puzzling = next(tile for tile in asked[-1][:2] if tile != founder)

    def puzzled(first, second):
        return Answer.UNSURE if puzzling in (first, second) else truth(first, second)

    state, times = begin(graph), 0
    while times < 2:
        state, pair = next_question(graph, state)
        assert pair is not None
        if puzzling in pair:
            times += 1
            if times == 2:
                others = np.arange(len(labels)) != puzzling
                assert (state.groups[others] != OPEN).all()
                assert partition(state.groups[others]) == partition(labels[others])
        state = add_answer(graph, state, *pair, puzzled(*pair))
    assert state.is_aside[puzzling]
    assert state.groups[puzzling] == OPEN
    # Asked again, and answered: it takes its place among the others.
    state, _ = session(graph, truth, state=state)
    assert partition(state.groups) == partition(labels)


def test_nobody_is_asked_about_a_settled_tile_that_all_agree_on():
    features, labels = blobs(2)
    graph = neighbour_graph(features)
    state, _ = session(graph, oracle(labels))
    nats = openness(graph, state, SETTINGS)
    assert (nats[state.groups != OPEN] <= 1e-6).all()


def test_a_settled_tile_that_its_neighbours_deny_is_asked_about_again():
    features, labels = blobs(2)
    graph = neighbour_graph(features)
    state, slipped, tile = with_a_slip(graph, labels)
    assert openness(graph, state, SETTINGS)[tile] == 0
    assert openness(graph, slipped, SETTINGS)[tile] > 0
    state, asked = session(graph, oracle(labels), state=slipped)
    assert any(tile in pair[:2] for pair in asked)
    assert partition(state.groups) == partition(labels)


def test_the_founder_is_asked_first_and_then_the_nearest_member():
    features, labels = blobs(0, num_classes=3, spread=1.0)
    graph, person = neighbour_graph(features), oracle(labels, wrong_share=0.2)
    state, num_founders, num_nearest = begin(graph), 0, 0
    asked = set()
    while (chosen := next_question(graph, state))[1] is not None:
        state, pair = chosen
        if state.subject != OPEN:
            (other,) = set(pair) - {state.subject}
            members = exemplars(state, state.groups[other])
            free = [
                tile
                for tile in members.tolist()
                if tile != state.subject and tuple(sorted((tile, state.subject))) not in asked
            ]
            if members[0] in free:
                assert other == members[0]
                num_founders += 1
            else:
                nearness = graph.features[free] @ graph.features[state.subject]
                assert graph.features[other] @ graph.features[state.subject] >= nearness.max() - 1e-6
                num_nearest += 1
        asked.add(pair)
        state = add_answer(graph, state, *pair, person(*pair))
    assert min(num_founders, num_nearest) > 5
