"""The buffer of best pairs, the hash that breaks ties, and what holds when the band overflows."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.scan.all_pairs import scan_pairs
from anneal_jax.acquisition.scan.best_pairs import BestPairs, ScoredPairs, tie_hashes
from anneal_jax.acquisition.scan.scorers import classifier_scorer, threshold_scorer
from anneal_jax.pairs.canonical import count_pairs, pair_keys, pairs_of_ranks
from tests.reference import all_pairs as twin

ONE_DEVICE = jax.devices()[:1]
NOISE = 0.02
ULP = 2.0**-23  # of float32 above 1


def clustered_vectors(num_images, dim=8, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(num_images, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def noisy_tile(rows, columns, params, algorithm):
    """Score with an error of up to NOISE that depends on the pair alone."""
    del params, algorithm
    scores = rows @ columns.T
    return scores + NOISE * jax.numpy.sin(1e6 * scores)


def noisy_scorer(embeddings, threshold):
    return threshold_scorer(embeddings, threshold)._replace(
        score_tile=noisy_tile, error_bound=lambda precision: NOISE + 1e-6, band_pairs=0
    )


@given(st.integers(0, 2**31 - 2), st.integers(1, 2**31 - 1), st.integers(-(2**65), 2**65))
def test_tie_hash_equals_twin_for_every_pair_below_two_to_the_31(i, gap, seed):
    num_images = 2**31 - 1
    j = min(i + gap, num_images - 1)
    keys = pair_keys(np.array([[i, j]], np.int32), num_images)
    assert int(tie_hashes(keys, num_images, seed)[0]) == twin.tie_hash(i, j, seed)


def test_tie_hash_favours_no_images():
    keys = pair_keys(pairs_of_ranks(np.arange(count_pairs(200)), 200), 200)
    best = np.argsort(tie_hashes(keys, 200, seed=0))[:2000]
    # The mean place of a uniform draw of 2,000 from 19,900: 9,950 with a spread of 122.
    assert abs(best.mean() - 9950) < 500
    assert not np.array_equal(best, np.argsort(tie_hashes(keys, 200, seed=1))[:2000])


def neighbouring_floats(num_levels, rng):
    """Return the pairs of 40 images at distances of few levels, one float above another."""
    keys = pair_keys(pairs_of_ranks(np.arange(780), 40), 40)
    return ScoredPairs((1 + ULP * rng.integers(0, num_levels, keys.size)).astype(np.float32), keys)


@given(
    st.integers(1, 30),
    st.integers(0, 60),
    st.sampled_from([0.0, 2 * ULP, 40 * ULP, np.inf]),
    st.sampled_from([1, 4, 300]),
    st.integers(0, 2**32),
)
def test_buffer_keeps_the_same_pairs_in_whatever_order_they_come(num_pairs, spare, slack, num_levels, seed):
    rng = np.random.default_rng(seed)
    # The edge of the band, rounded up by one, falls on the next level.
    distances, keys = neighbouring_floats(num_levels, rng)
    results = []
    for order in (np.arange(keys.size), rng.permutation(keys.size)):
        best = BestPairs(num_pairs, num_pairs + spare, slack, 40, seed=seed)
        for part in np.array_split(order, 7):
            best.offer(ScoredPairs(distances[part], keys[part]))
            best.ranked()
        results.append(best.ranked())
    in_order = np.lexsort((tie_hashes(keys, 40, seed), distances))[: num_pairs + spare]
    edge = distances[in_order[num_pairs - 1]] + slack + ULP
    expected = keys[in_order][distances[in_order] <= edge]
    for result in results:
        np.testing.assert_array_equal(result.keys, expected)


@given(
    st.integers(1, 12),
    st.integers(0, 12),
    st.sampled_from([0.0, 2 * ULP, np.inf]),
    st.sampled_from([1, 4, 300]),
    st.integers(0, 2**32),
)
def test_what_is_foreseen_changes_nothing_in_the_end(num_pairs, spare, slack, num_levels, seed):
    rng = np.random.default_rng(seed)
    distances, keys = neighbouring_floats(num_levels, rng)
    plain, tightened = (BestPairs(num_pairs, num_pairs + spare, slack, 40, seed=seed) for _ in range(2))
    for part in np.array_split(rng.permutation(keys.size), 7):
        pairs, before = ScoredPairs(distances[part], keys[part]), tightened.bound
        assert tightened.tighten_from_sample(pairs) == (tightened.bound < before)
        assert tightened.bound == before or np.sum(pairs.distances <= tightened.bound) > num_pairs + spare
        for best in (plain, tightened):
            best.offer(pairs)
            best.ranked()
    for one, other in zip(plain.ranked(), tightened.ranked(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert (plain.bound, plain.last_hash) == (tightened.bound, tightened.last_hash)


def test_a_few_pairs_or_a_wider_bound_foresee_nothing():
    keys = pair_keys(pairs_of_ranks(np.arange(12), 40), 40)
    pairs = ScoredPairs(np.arange(1, 13, dtype=np.float32), keys)
    best = BestPairs(2, 4, np.inf, 40, seed=0)
    assert not best.tighten_from_sample(pairs.where(np.arange(12) < 4))
    assert best.tighten_from_sample(pairs) and best.bound == 5
    assert not best.tighten_from_sample(pairs) and best.bound == 5


def test_only_what_is_within_the_bound_is_held():
    keys = pair_keys(pairs_of_ranks(np.arange(12), 40), 40)
    best = BestPairs(2, 20, 0.25, 40, seed=0)
    best.offer(ScoredPairs(np.arange(1, 13, dtype=np.float32) / 8, keys))
    best.ranked()
    bound = float(best.bound)
    assert bound == np.nextafter(np.float32(0.5), np.float32(1))
    assert best.holds_all_within(bound) and not best.holds_all_within(np.nextafter(bound, 1))
    ties = BestPairs(2, 4, np.inf, 40, seed=0)
    ties.offer(ScoredPairs(np.ones(12, np.float32), keys))
    ties.ranked()
    assert ties.bound == 1 and not ties.holds_all_within(1.0)
    assert ties.holds_all_within(0.5) and not ties.holds_all_within(1.5)


def test_a_hash_that_cut_one_tie_does_not_cut_the_next():
    level = (1 + ULP * np.arange(8)).astype(np.float32)
    keys = pair_keys(pairs_of_ranks(np.arange(40), 40), 40)
    keys = keys[np.argsort(tie_hashes(keys, 40, seed=0))]
    best = BestPairs(1, 4, 2 * ULP, 40, seed=0)
    # The first four hashes of level 7 fill the buffer; then the band moves down to levels 0 to 3.
    for distance, part in ((7, keys[:20]), (0, keys[20:21]), (3, keys[21:23])):
        best.offer(ScoredPairs(np.full(len(part), level[distance]), part))
        kept = best.ranked()
    np.testing.assert_array_equal(kept.keys, keys[20:23])


@given(st.integers(1, 12), st.integers(0, 1000))
def test_equal_scores_are_drawn_by_hash_even_past_the_buffer(num_pairs, seed):
    embeddings = np.ones((70, 1), np.float32)
    scorer = threshold_scorer(embeddings, 0.25)._replace(band_pairs=0)
    found = scan_pairs(scorer, 70, num_pairs, seed=seed, tile_size=16, devices=ONE_DEVICE)
    pairs, _ = twin.best_pairs(np.ones((70, 70)), 0.25, num_pairs, seed=seed)
    assert found.pair_indices.tolist() == [list(pair) for pair in pairs]
    assert not found.is_certified
    assert found.margin == 0.0


@given(st.integers(1, 400), st.sampled_from([0.0, 0.4, 0.9, 3.0]), st.integers(0, 100))
def test_no_pair_is_off_by_more_than_twice_the_error_bound(num_pairs, threshold, seed):
    embeddings = clustered_vectors(80, seed=seed)
    found = scan_pairs(noisy_scorer(embeddings, threshold), 80, num_pairs, tile_size=32, devices=ONE_DEVICE)
    scores = twin.dot_product_matrix(embeddings)
    pairs, distances = twin.best_pairs(scores, threshold, count_pairs(80))
    worst_allowed = distances[num_pairs - 1] + 2 * found.error_bound
    assert -found.utilities[-1] <= worst_allowed
    returned = {tuple(pair) for pair in found.pair_indices.tolist()}
    left_out = [d for pair, d in zip(pairs, distances, strict=True) if pair not in returned]
    assert min(left_out) >= -found.utilities[-1] - 2 * found.error_bound
    noisy = np.asarray(noisy_tile(embeddings, embeddings, (), None))[np.triu_indices(80, 1)]
    noisy_distances = np.sort(np.abs(noisy - np.float32(threshold)))
    edge = noisy_distances[num_pairs - 1] + 2 * found.error_bound
    if np.count_nonzero(noisy_distances <= edge) < 11 * num_pairs:
        assert found.is_certified
    if found.is_certified:
        assert [tuple(pair) for pair in found.pair_indices.tolist()] == pairs[:num_pairs]


@pytest.mark.parametrize(("threshold", "is_certified"), [(3.0, True), (0.0, False)])
def test_certified_means_that_the_band_fitted(threshold, is_certified):
    # Far from every score (3.0) few pairs crowd the best; at the densest place (0.0) hundreds do.
    embeddings = clustered_vectors(80)
    found = scan_pairs(noisy_scorer(embeddings, threshold), 80, 5, tile_size=32, devices=ONE_DEVICE)
    assert found.is_certified == is_certified
    assert found.measured_error <= found.error_bound
    scores = np.asarray(noisy_tile(embeddings, embeddings, (), None))
    distances = np.sort(np.abs(scores[np.triu_indices(80, 1)] - np.float32(threshold)))
    band_size = np.count_nonzero(distances <= distances[4] + 2 * found.error_bound)
    assert found.band_is_complete == is_certified
    # Where the band does not fit, what was kept of it is a lower bound.
    assert found.band_size == (band_size if is_certified else 11 * 5) <= band_size


def test_a_band_of_ties_past_the_buffer_is_no_smaller_than_reported():
    # A constant classifier: all 79,800 pairs tie, and 4,096 are kept.
    layers = [(np.zeros((3, 1), np.float32), np.zeros(1, np.float32))]
    scorer = classifier_scorer(np.ones((400, 3)), np.ones((400, 3)), layers)
    found = scan_pairs(scorer, 400, 20, devices=ONE_DEVICE)
    assert (found.band_size, found.band_is_complete) == (4096, False)
    found = scan_pairs(scorer._replace(band_pairs=79_800), 400, 20, devices=ONE_DEVICE)
    assert (found.band_size, found.band_is_complete) == (79_800, True)


def test_a_pool_smaller_than_the_request_is_a_complete_band():
    found = scan_pairs(threshold_scorer(clustered_vectors(4), 0.2), 4, 10, devices=ONE_DEVICE)
    assert (found.band_size, found.band_is_complete) == (6, True)


def merged(parts):
    """Merge buffers as processes do: each takes over all limits, then all pairs."""
    limits = [(part.bound, part.last_hash) for part in parts]
    pairs = [part.ranked() for part in parts]
    for me, part in enumerate(parts):
        for limit in limits:
            part.tighten(*limit)
        for other, theirs in enumerate(pairs):
            if other != me:
                part.offer(theirs)
        part.ranked()
    return parts


@given(
    st.integers(1, 20),
    st.integers(0, 40),
    st.sampled_from([0.0, 2 * ULP, np.inf]),
    st.sampled_from([1, 4, 300]),
    st.integers(0, 2**32),
)
def test_merged_buffers_hold_what_one_buffer_holds_and_know_what_is_missing(
    num_pairs, spare, slack, num_levels, seed
):
    rng = np.random.default_rng(seed)
    keys = pair_keys(pairs_of_ranks(np.arange(780), 40), 40)
    distances = (1 + ULP * rng.integers(0, num_levels, keys.size)).astype(np.float32)
    is_first = rng.random(keys.size) < rng.random()
    one = BestPairs(num_pairs, num_pairs + spare, slack, 40, seed=seed)
    one.offer(ScoredPairs(distances, keys))
    expected = one.ranked()
    parts = []
    for chosen in (is_first, ~is_first):
        parts.append(BestPairs(num_pairs, num_pairs + spare, slack, 40, seed=seed))
        parts[-1].offer(ScoredPairs(distances, keys).where(chosen))
        parts[-1].ranked()
    for part in merged(parts):
        np.testing.assert_array_equal(part.ranked().keys, expected.keys)
        assert (part.bound, part.last_hash) == (one.bound, one.last_hash)


def test_an_overflow_in_one_buffer_is_known_to_all_that_merge_with_it():
    keys = pair_keys(pairs_of_ranks(np.arange(300), 40), 40)
    full, other = (BestPairs(5, 55, 0.1, 40, seed=0) for _ in range(2))
    full.offer(ScoredPairs(np.zeros(200, np.float32), keys[:200]))
    other.offer(ScoredPairs(np.ones(100, np.float32), keys[200:]))
    for part in (full, other):
        part.ranked()
    assert [part.holds_all_within(0.0) for part in (full, other)] == [False, True]
    for part in merged([full, other]):
        assert len(part.ranked().keys) == 55
        assert part.bound == 0.0
        assert not part.holds_all_within(0.0)
