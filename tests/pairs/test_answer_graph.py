import random

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anneal_jax.errors import ConfigError
from anneal_jax.pairs.answer_graph import AnswerGraph
from anneal_jax.pairs.canonical import pairs_of_ranks
from anneal_jax.pairs.closure import expand_closure
from anneal_jax.pairs.transitive import expand_one_step
from tests.pairs.graphs import graph_of
from tests.reference import pairs as twin

NUM_IMAGES = 7
pairs = st.sampled_from(twin.all_pairs(NUM_IMAGES))
answers = st.lists(st.tuples(pairs, st.integers(0, 1)).map(lambda row: (*row[0], row[1])), max_size=14)
TRIANGLE = [(0, 1, 1), (1, 2, 1), (0, 2, 0)]


def derived(graph):
    """Return {pair: label}, having seen that no pair comes twice."""
    found = list(graph.derived_pairs())
    as_dict = {(first, second): label for first, second, label in found}
    assert len(as_dict) == len(found) == graph.num_derived()
    assert all(first < second for first, second in as_dict)
    return as_dict


def expected_of(rows, transitive):
    if transitive == "none":
        return {}
    if transitive == "closure":
        return twin.closure(rows, NUM_IMAGES)[0]
    agreed = {pair: min(labels) for pair, labels in twin.said(rows).items() if len(labels) == 1}
    return {pair: label for pair, label in twin.one_step(agreed)[0].items() if pair not in twin.said(rows)}


def check(graph, rows, transitive):
    """Hold everything that a graph tells against the brute force, given its answers by id."""
    answers = list(rows.values())
    expected = expected_of(answers, transitive)
    assert derived(graph) == expected
    said = twin.said(answers)
    for pair in twin.all_pairs(NUM_IMAGES):
        label = min(said[pair]) if len(said.get(pair, ())) == 1 else None
        assert graph.implied(*pair) == graph.implied(*pair[::-1]) == expected.get(pair, label)
        check_explanation(graph, rows, pair)
    both = twin.closure(answers, NUM_IMAGES)[1]
    refuted = sorted(
        key for key, (i, j, label) in rows.items() if not label and (min(i, j), max(i, j)) in both
    )
    assert graph.contradictions() == refuted
    for key in refuted:
        *similar, last = graph.chain(key)
        assert last == key and all(rows[step][2] for step in similar)
        start, goal, _ = rows[key]
        assert len(similar) == twin.shortest_similar_path(answers, start, goal, NUM_IMAGES)
        assert walk([rows[step] for step in similar], start) == goal


def walk(steps, image):
    """Follow answers that each share an image with the one before."""
    for first, second, _ in steps:
        assert image in (first, second)
        image = second if image == first else first
    return image


def check_explanation(graph, rows, pair):
    label, chain = graph.implied(*pair), graph.explain(*pair)
    assert bool(chain) == (label is not None)
    if chain:
        assert walk([rows[step] for step in chain], pair[0]) == pair[1]
        assert sum(not rows[step][2] for step in chain) == 1 - label


@pytest.mark.parametrize("transitive", ["none", "one_step", "closure"])
@given(rows=answers)
@example(rows=TRIANGLE)
@example(rows=[(0, 1, 1), (1, 0, 0)])  # one pair, answered both ways
@example(rows=[(0, 1, 1), (1, 2, 1), (0, 3, 1), (2, 3, 0)])
@example(rows=[(0, 1, 1), (2, 3, 1), (0, 2, 0), (1, 3, 0), (1, 2, 1)])
def test_a_graph_tells_what_follows_by_brute_force(transitive, rows):
    check(graph_of(rows, transitive), dict(enumerate(rows)), transitive)


@pytest.mark.parametrize("transitive", ["one_step", "closure"])
@given(rows=answers, data=st.data())
def test_any_retractions_leave_what_the_rest_implies(transitive, rows, data):
    graph, kept = graph_of(rows, transitive), dict(enumerate(rows))
    for _ in range(data.draw(st.integers(0, len(rows)))):
        key = data.draw(st.sampled_from(sorted(kept)))
        graph.retract(key)
        del kept[key]
        check(graph, kept, transitive)
    assert dict(graph.answers) == {
        key: (min(i, j), max(i, j), bool(label)) for key, (i, j, label) in kept.items()
    }


@given(rows=answers, random=st.randoms(use_true_random=False))
def test_the_order_of_the_answers_does_not_matter(rows, random):
    numbered = list(enumerate(rows))
    random.shuffle(numbered)
    graph = AnswerGraph("closure")
    for key, (first, second, label) in numbered:
        graph.insert(key, first, second, is_similar=bool(label))
    check(graph, dict(enumerate(rows)), "closure")


@given(rows=answers)
def test_what_an_insert_reports_is_what_became_contradictory(rows):
    graph, seen = AnswerGraph("closure"), set()
    for key, (first, second, label) in enumerate(rows):
        fresh = graph.insert(key, first, second, is_similar=bool(label))
        assert not fresh & seen
        seen |= fresh
        assert graph.contradictions() == sorted(seen)
        assert all(key in graph.chain(other) for other in fresh)


@given(rows=answers)
def test_taking_everything_back_leaves_nothing_in_memory(rows):
    graph = graph_of(rows)
    for key in range(len(rows)):
        graph.retract(key)
    assert len(graph) == 0
    evidence, components = graph._evidence, graph._components
    held = [evidence.answers, evidence.similar, evidence.dissimilar, components._component]
    held += [components._members, components._against, components._refuted]
    assert held == [{}] * 7


@pytest.mark.parametrize("seed", range(3))
def test_long_random_sequences_with_classes_and_mistakes(seed):
    rng = random.Random(seed)
    num_images, kept, graph = 60, {}, AnswerGraph("closure")
    for key in range(600):
        if kept and rng.random() < 0.35:
            gone = rng.choice(sorted(kept))
            graph.retract(gone)
            del kept[gone]
        first, second = rng.sample(range(num_images), 2)
        label = (first % 5 == second % 5) != (rng.random() < 0.02)
        kept[key] = (first, second, int(label))
        graph.insert(key, first, second, is_similar=label)
        if key % 60 == 59:
            fresh = AnswerGraph("closure")
            for other, (i, j, said) in kept.items():
                fresh.insert(other, i, j, is_similar=bool(said))
            assert derived(graph) == derived(fresh)
            assert graph.contradictions() == fresh.contradictions()
    assert len(kept) > 300


def test_a_graph_counts_what_it_could_never_list():
    graph, num_images = AnswerGraph("closure"), 100_001
    for image in range(1, num_images):
        graph.insert(image, image - 1, image, is_similar=True)
    assert graph.num_derived() == num_images * (num_images - 1) // 2 - (num_images - 1)
    assert graph.implied(0, num_images - 1) == 1
    assert len(graph.explain(0, num_images - 1)) == num_images - 1
    graph.retract(50_000)
    assert graph.implied(0, num_images - 1) is None
    assert graph.num_derived() == 50_000 * 49_999 // 2 + 50_001 * 50_000 // 2 - 99_999
    assert next(graph.derived_pairs())


def test_what_cannot_be_inserted_or_taken_back_is_refused():
    graph = graph_of([(0, 1, 1)])
    with pytest.raises(ValueError, match="answer 0 is already in the graph"):
        graph.insert(0, 2, 3, is_similar=True)
    with pytest.raises(ValueError, match="answer 1 joins image 2 with itself"):
        graph.insert(1, 2, 2, is_similar=True)
    with pytest.raises(ValueError, match="answer 1 joins image 10000 with itself"):
        graph.insert(1, 10_000, int("10000"), is_similar=True)  # equal, and not the same object
    with pytest.raises(KeyError):
        graph.retract(1)
    with pytest.raises(ValueError, match="no similar answers join images 3 and 4"):
        graph_of([(3, 4, 0)]).chain(0)
    with pytest.raises(ConfigError, match="did you mean 'closure'"):
        AnswerGraph("closur")


# The same, as arrays.


def arrays_of(rows):
    """Return answers, each pair once, as canonical arrays."""
    once = {pair: min(labels) for pair, labels in twin.said(rows).items()}
    return np.array(list(once), np.int32).reshape(-1, 2), np.array(list(once.values()), np.int8)


def as_dict(found):
    return dict(zip(map(tuple, found.pair_indices.tolist()), found.pair_labels.tolist(), strict=True))


@given(rows=answers)
@example(rows=TRIANGLE)
def test_the_closure_as_arrays_is_that_by_brute_force(rows):
    indices, labels = arrays_of(rows)
    found = expand_closure(indices, labels, NUM_IMAGES)
    once = [(*pair, label) for pair, label in zip(indices.tolist(), labels.tolist(), strict=True)]
    expected, both = twin.closure(once, NUM_IMAGES)
    assert as_dict(found) == expected and len(found.pair_labels) == len(expected)
    assert found.num_contradictory == len(both)
    assert found.pair_indices.tolist() == sorted(found.pair_indices.tolist())
    assert found.pair_indices.dtype == np.int32 and found.pair_labels.dtype == np.int8


@given(rows=answers, max_pairs=st.integers(0, 30))
def test_a_thinned_closure_is_part_of_the_whole(rows, max_pairs):
    indices, labels = arrays_of(rows)
    whole = as_dict(expand_closure(indices, labels, NUM_IMAGES))
    part = as_dict(expand_closure(indices, labels, NUM_IMAGES, max_pairs=max_pairs))
    assert part.items() <= whole.items() and len(part) <= max_pairs
    if max_pairs >= len(whole) + len(labels):
        assert part == whole


def test_thinning_takes_of_every_two_groups_their_share():
    sizes = np.array([400, 300, 200, 100])
    starts = np.cumsum(sizes) - sizes
    stars = [
        [start, start + place]
        for start, size in zip(starts, sizes, strict=True)
        for place in range(1, size)
    ]
    apart = [[first, second] for first in starts for second in starts if first < second]
    indices = np.array(stars + apart, np.int32)
    labels = np.repeat(np.array([1, 0], np.int8), [len(stars), len(apart)])
    found = expand_closure(indices, labels, 1000, max_pairs=10_000)
    assert 9_900 <= len(found.pair_labels) <= 10_000
    group = np.searchsorted(starts, found.pair_indices, side="right") - 1
    assert ((group[:, 0] == group[:, 1]) == found.pair_labels).all()
    counts = np.zeros((4, 4))
    np.add.at(counts, (group[:, 0], group[:, 1]), 1)
    shares = np.triu(np.outer(sizes, sizes), 1) + np.diag(sizes * (sizes - 1) // 2)
    np.testing.assert_allclose(counts / 10_000, shares / (1000 * 999 / 2), atol=3e-3)


def test_the_closure_of_a_run_on_uc_merced_is_whole_and_holds_the_single_step():
    """2,687 right answers about 1,680 tiles of 21 classes, as a finished run has them."""
    rng = np.random.default_rng(0)
    classes = rng.permutation(np.arange(1680) % 21)
    similar = rng.integers(1680, size=(4_000, 2))
    similar = similar[(classes[similar[:, 0]] == classes[similar[:, 1]]) & (similar[:, 0] != similar[:, 1])]
    ranks = rng.choice(1680 * 1679 // 2, size=2_687 - len(similar), replace=False)
    indices = np.unique(np.sort(np.concatenate([similar, pairs_of_ranks(ranks, 1680)]), axis=1), axis=0)
    labels = (classes[indices[:, 0]] == classes[indices[:, 1]]).astype(np.int8)
    found = expand_closure(indices.astype(np.int32), labels, 1680)
    truth = classes[found.pair_indices[:, 0]] == classes[found.pair_indices[:, 1]]
    assert (truth == found.pair_labels).all() and found.num_contradictory == 0
    step = as_dict(expand_one_step(indices.astype(np.int32), labels, 1680))
    assert step.items() <= as_dict(found).items() and len(found.pair_labels) > len(step)
    rows = [(*pair, label) for pair, label in zip(indices.tolist(), labels.tolist(), strict=True)]
    assert graph_of(rows).num_derived() == len(found.pair_labels)
