"""What every registered acquisition promises. A new one is tested here by being registered."""

import numpy as np
import pytest

from anneal_jax.acquisition.registry import (
    ACQUISITIONS,
    PoolView,
    ScanSettings,
    get_acquisition,
    select_pairs,
)
from anneal_jax.errors import ConfigError
from anneal_jax.pairs.canonical import contains, count_pairs, pair_keys, pairs_of_keys, pairs_of_ranks
from anneal_jax.types import ClassifierTables

NUM_IMAGES = 24
HIDDEN = 16  # so many that no pair has all ReLUs shut, which would be a tie
SCORED = sorted(set(ACQUISITIONS) - {"random"})
"""Those whose utilities depend on the model, and hence are the same in any order of images."""

every_acquisition = pytest.mark.parametrize("name", sorted(ACQUISITIONS))
with_and_without_diversity = pytest.mark.parametrize("diversity", [False, True])


def make_view(num_known=0, seed=0, num_distinct=NUM_IMAGES, num_images=NUM_IMAGES):
    """A pool with a classifier that treats both orders of a pair alike."""
    rng = np.random.default_rng(0)
    rows = np.arange(num_images) % num_distinct
    embeddings = rng.normal(size=(num_images, 6))[rows].astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    hidden = rng.normal(size=(num_images, HIDDEN))[rows].astype(np.float32)
    layers = [(rng.normal(size=(HIDDEN, 1)).astype(np.float32), np.zeros(1, np.float32))]
    ranks = np.random.default_rng(1).permutation(count_pairs(num_images))[:num_known]
    known = np.sort(pair_keys(pairs_of_ranks(ranks, num_images), num_images))
    return PoolView(embeddings, known, seed, 0.3, ClassifierTables(hidden, hidden, layers))


def choose(name, view, num_pairs, diversity):
    return select_pairs(get_acquisition(name), view, num_pairs, diversity=diversity, candidate_factor=4)


def as_set(pair_indices):
    return {tuple(pair) for pair in pair_indices.tolist()}


def assert_keeps_the_contract(chosen, view, num_expected):
    pairs, utilities = chosen.pair_indices, chosen.utilities
    num_images = len(view.embeddings)
    assert pairs.shape == (num_expected, 2)
    assert pairs.dtype == np.int32
    assert (pairs[:, 0] < pairs[:, 1]).all()
    assert pairs.size == 0 or (pairs.min() >= 0 and pairs.max() < num_images)
    assert len(as_set(pairs)) == num_expected
    assert not contains(view.known, pair_keys(pairs, num_images)).any()
    assert utilities.shape == (num_expected,)
    assert utilities.dtype == np.float32
    assert (np.diff(utilities) <= 0).all()


@every_acquisition
@with_and_without_diversity
@pytest.mark.parametrize("num_known", [0, 100, count_pairs(NUM_IMAGES) - 7, count_pairs(NUM_IMAGES)])
@pytest.mark.parametrize("num_pairs", [0, 1, 30, 1000])
@pytest.mark.parametrize("num_distinct", [NUM_IMAGES, 2])
def test_min_of_k_and_pool_new_pairs_are_chosen(name, diversity, num_known, num_pairs, num_distinct):
    view = make_view(num_known, num_distinct=num_distinct)
    num_expected = min(num_pairs, count_pairs(NUM_IMAGES) - num_known)
    assert_keeps_the_contract(choose(name, view, num_pairs, diversity), view, num_expected)


@every_acquisition
@with_and_without_diversity
@pytest.mark.parametrize("num_images", [0, 1, 2])
def test_hardly_any_images_are_no_error(name, diversity, num_images):
    view = make_view(num_images=num_images, num_distinct=max(1, num_images))
    assert_keeps_the_contract(choose(name, view, 5, diversity), view, count_pairs(num_images))


@every_acquisition
@with_and_without_diversity
def test_equal_views_give_equal_questions(name, diversity):
    first, again = (choose(name, make_view(50), 20, diversity) for _ in range(2))
    np.testing.assert_array_equal(first.pair_indices, again.pair_indices)
    np.testing.assert_array_equal(first.utilities, again.utilities)


@every_acquisition
@with_and_without_diversity
def test_another_seed_breaks_ties_otherwise(name, diversity):
    first, other = (
        as_set(choose(name, make_view(seed=seed, num_distinct=1), 20, diversity).pair_indices)
        for seed in (0, 1)
    )
    assert first != other


@pytest.mark.parametrize("name", SCORED)
@with_and_without_diversity
def test_the_order_of_images_does_not_matter(name, diversity):
    view = make_view(60)
    order = np.random.default_rng(5).permutation(NUM_IMAGES)
    place_of = np.argsort(order)
    first_layer = view.classifier.as_first[order]
    moved_known = np.sort(place_of[pairs_of_keys(view.known, NUM_IMAGES)], axis=1)
    moved = view._replace(
        embeddings=view.embeddings[order],
        known=np.sort(pair_keys(moved_known, NUM_IMAGES)),
        classifier=ClassifierTables(first_layer, first_layer, view.classifier.layers),
    )
    expected = choose(name, view, 20, diversity)
    found = choose(name, moved, 20, diversity)
    assert as_set(np.sort(order[found.pair_indices], axis=1)) == as_set(expected.pair_indices)
    np.testing.assert_allclose(found.utilities, expected.utilities, atol=1e-6)


@pytest.mark.parametrize("name", SCORED)
def test_without_diversity_the_most_uncertain_pairs_are_chosen(name):
    view = make_view(60)
    whole = choose(name, view, 10_000, diversity=False)
    best = choose(name, view, 20, diversity=False)
    np.testing.assert_array_equal(best.pair_indices, whole.pair_indices[:20])


@every_acquisition
def test_diversity_chooses_among_the_candidates(name):
    view = make_view()
    candidates = choose(name, view, 80, diversity=False)
    diverse = choose(name, view, 20, diversity=True)
    assert as_set(diverse.pair_indices) < as_set(candidates.pair_indices)
    assert as_set(diverse.pair_indices) != as_set(candidates.pair_indices[:20])


@every_acquisition
@with_and_without_diversity
def test_a_missing_classifier_is_named_or_not_needed(name, diversity):
    view = make_view()._replace(classifier=None)
    if ACQUISITIONS[name].needs_classifier:
        with pytest.raises(ValueError, match=f"{name} scores pairs by the classifier"):
            choose(name, view, 5, diversity)
    else:
        assert_keeps_the_contract(choose(name, view, 5, diversity), view, 5)


@pytest.mark.parametrize("name", SCORED)
def test_what_an_acquisition_needs_is_what_it_looks_at(name):
    view = make_view()
    found = choose(name, view, 20, diversity=False).pair_indices
    other = choose(name, view._replace(threshold=-0.5), 20, diversity=False).pair_indices
    assert (as_set(found) != as_set(other)) == ACQUISITIONS[name].needs_threshold


@pytest.mark.parametrize("name", ["bcgue", "mgue"])
@with_and_without_diversity
def test_a_scan_tells_how_far_it_can_be_trusted(name, diversity):
    scan = choose(name, make_view(), 5, diversity).scan
    assert (scan.is_certified, scan.is_proved, scan.pool_share) == (True, name == "mgue", 1.0)


def test_the_classifiers_order_and_the_share_are_as_set():
    view = make_view()
    rng = np.random.default_rng(2)
    view = view._replace(
        classifier=view.classifier._replace(as_second=rng.normal(size=(24, HIDDEN)).astype(np.float32))
    )
    settings = (
        ScanSettings(),
        ScanSettings(classifier_order="two_order"),
        ScanSettings(tile_size=3, share=0.3),
    )
    canonical, both, part = (choose("bcgue", view._replace(scan=each), 10, False) for each in settings)
    assert as_set(canonical.pair_indices) != as_set(both.pair_indices)
    assert 0.3 <= part.scan.pool_share < 0.6
    for precision in ("bfloat16_3x", "bfloat16"):
        found = choose("mgue", view._replace(scan=ScanSettings(precision=precision)), 10, False).scan
        assert found.error_bound > 1e-4


@pytest.mark.parametrize("name", ["bcgue", "mgue"])
def test_a_share_too_small_for_the_questions_is_given_up(name):
    view = make_view(count_pairs(NUM_IMAGES) - 7)._replace(scan=ScanSettings(share=0.01, tile_size=2))
    chosen = choose(name, view, 7, diversity=False)
    assert_keeps_the_contract(chosen, view, 7)
    assert chosen.scan.pool_share == 1.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mgeu", r"no acquisition 'mgeu' \(did you mean 'mgue'\?\); choose one of badge"),
        ("", "there is no acquisition ''; choose one of badge, bcgue, coreset, "),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(name, message):
    with pytest.raises(ConfigError, match=message):
        get_acquisition(name)


def test_names_are_sorted():
    assert list(ACQUISITIONS) == sorted(ACQUISITIONS)
