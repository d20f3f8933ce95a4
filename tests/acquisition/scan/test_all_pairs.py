"""The scan returns what sorting every pair in float64 returns."""

import sys

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.scan import all_pairs
from anneal_jax.acquisition.scan.all_pairs import scan_pairs
from anneal_jax.acquisition.scan.best_pairs import ScoredPairs
from anneal_jax.acquisition.scan.progress import scan_progress
from anneal_jax.acquisition.scan.scorers import classifier_scorer, threshold_scorer
from anneal_jax.acquisition.scan.similarity import pairwise_cosine_similarity
from anneal_jax.errors import ConfigError
from anneal_jax.pairs.canonical import count_pairs, pair_keys, pairs_of_ranks
from tests.compilations import count_compilations
from tests.reference import all_pairs as twin

ONE_DEVICE = jax.devices()[:1]


def unit_vectors(num_images, dim=8, seed=0):
    vectors = np.random.default_rng(seed).normal(size=(num_images, dim)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def small_classifier(num_images, seed=0, num_distinct=None):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)  # noqa: E731
    rows = np.arange(num_images) % (num_distinct or num_images)
    layers = [(draw(6, 5), draw(5)), (draw(5, 4), draw(4)), (draw(4, 1), draw(1))]
    return draw(num_images, 6)[rows], draw(num_images, 6)[rows], layers


def known_keys(num_images, share, seed):
    ranks = np.arange(count_pairs(num_images))
    chosen = ranks[np.random.default_rng(seed).random(ranks.size) < share]
    return np.sort(pair_keys(pairs_of_ranks(chosen, num_images), num_images))


def assert_equals_twin(found, scores, boundary, num_pairs, known, seed):
    pairs, distances = twin.best_pairs(
        scores, boundary, num_pairs, zip(*divmod(known, len(scores)), strict=True), seed
    )
    assert found.pair_indices.tolist() == [list(pair) for pair in pairs]
    assert found.pair_indices.dtype == np.int32
    np.testing.assert_array_equal(found.utilities, -np.array(distances))
    assert found.is_certified
    # Re-scoring would hide a wrong tile as long as the tile keeps the right pairs.
    assert found.measured_error < 1e-4


requests = st.fixed_dictionaries(
    {
        "num_images": st.sampled_from([2, 3, 17, 40]),
        "num_pairs": st.sampled_from([1, 5, 60, 1000]),
        "tile_size": st.sampled_from([1, 5, 16, 64]),
        "known_share": st.sampled_from([0.0, 0.3, 0.95, 1.0]),
        "num_distinct": st.sampled_from([1, 3, 40]),
        "seed": st.integers(-5, 2**70),
    }
)


@given(requests, st.sampled_from([-0.4, 0.0, 0.3, 1.0]))
def test_threshold_scan_equals_twin(request_, threshold):
    num_images, seed = request_["num_images"], request_["seed"]
    rows = np.arange(num_images) % request_["num_distinct"]
    embeddings = unit_vectors(num_images)[rows]
    known = known_keys(num_images, request_["known_share"], seed % 1000)
    found = scan_pairs(
        threshold_scorer(embeddings, threshold),
        num_images,
        request_["num_pairs"],
        known=known,
        seed=seed,
        tile_size=request_["tile_size"],
        devices=ONE_DEVICE,
    )
    scores = twin.dot_product_matrix(embeddings)
    assert_equals_twin(found, scores, threshold, request_["num_pairs"], known, seed)


@given(requests)
def test_classifier_scan_equals_twin(request_):
    num_images, seed = request_["num_images"], request_["seed"]
    as_first, as_second, layers = small_classifier(num_images, 1, request_["num_distinct"])
    known = known_keys(num_images, request_["known_share"], seed % 1000)
    found = scan_pairs(
        classifier_scorer(as_first, as_second, layers),
        num_images,
        request_["num_pairs"],
        known=known,
        seed=seed,
        tile_size=request_["tile_size"],
        devices=ONE_DEVICE,
    )
    scores = twin.logit_matrix(as_first, as_second, layers)
    assert_equals_twin(found, scores, 0.0, request_["num_pairs"], known, seed)


@pytest.mark.parametrize("band_pairs", [4096, 8192])
def test_a_classifier_scan_that_cannot_keep_the_pool_still_equals_twin(band_pairs):
    as_first, as_second, layers = small_classifier(150)
    scorer = classifier_scorer(as_first, as_second, layers)._replace(band_pairs=band_pairs)
    found = scan_pairs(scorer, 150, 20, devices=ONE_DEVICE)
    scores = twin.logit_matrix(as_first, as_second, layers)
    assert_equals_twin(found, scores, 0.0, 20, np.empty(0, np.int64), 0)
    assert 0.0 < found.measured_error < found.error_bound < found.margin < np.inf


def test_two_order_scores_by_the_mean_of_both_orders():
    as_first, as_second, layers = small_classifier(20)
    scorer = classifier_scorer(as_first, as_second, layers, two_order=True)
    found = scan_pairs(scorer, 20, 30, tile_size=8, devices=ONE_DEVICE)
    logits = twin.logit_matrix(as_first, as_second, layers)
    assert_equals_twin(found, 0.5 * (logits + logits.T), 0.0, 30, np.empty(0, np.int64), 0)


@pytest.mark.parametrize("precision", ["float32", "bfloat16_3x", "bfloat16"])
def test_every_precision_runs_and_returns_the_twins_pairs_on_cpu(precision):
    embeddings = unit_vectors(60)
    found = scan_pairs(threshold_scorer(embeddings, 0.2), 60, 10, precision=precision, tile_size=32)
    pairs, _ = twin.best_pairs(twin.dot_product_matrix(embeddings), 0.2, 10)
    assert found.pair_indices.tolist() == [list(pair) for pair in pairs]


def test_scores_equal_pairwise_cosine_similarity():
    embeddings = unit_vectors(50, dim=16)
    found = scan_pairs(threshold_scorer(embeddings, 0.1), 50, 2000, tile_size=16)
    matrix = np.asarray(pairwise_cosine_similarity(embeddings, embeddings))
    first, second = found.pair_indices.T
    assert len(first) == count_pairs(50)
    np.testing.assert_allclose(found.utilities, -np.abs(matrix[first, second] - np.float32(0.1)), atol=1e-6)


@pytest.mark.parametrize(
    "scorer",
    [threshold_scorer(unit_vectors(300, dim=32), 0.25), classifier_scorer(*small_classifier(300))],
    ids=["mgue", "bcgue"],
)
@pytest.mark.parametrize("num_pairs", [1, 257, 500])
def test_eight_devices_return_the_pairs_of_one(scorer, num_pairs):
    assert len(jax.devices()) == 8
    one, eight = (
        scan_pairs(scorer, 300, num_pairs, tile_size=64, devices=devices)
        for devices in (ONE_DEVICE, jax.devices())
    )
    np.testing.assert_array_equal(one.pair_indices, eight.pair_indices)
    assert one[2:] == eight[2:]
    np.testing.assert_array_equal(one.utilities, eight.utilities)


@given(st.sampled_from([1, 2, 257, 400]), st.integers(0, 1000))
def test_fewer_pairs_are_the_first_of_more(num_pairs, seed):
    # Images in three heaps of equal ones: all is settled by ties, to the last bit of the scores.
    vectors = unit_vectors(3, dim=256, seed=seed)[np.arange(40) % 3]
    few, more = (
        scan_pairs(threshold_scorer(vectors, 0.8), 40, count, seed=seed, devices=ONE_DEVICE)
        for count in (num_pairs, count_pairs(40))
    )
    np.testing.assert_array_equal(few.pair_indices, more.pair_indices[:num_pairs])


@pytest.mark.parametrize("precision", ["float32", "bfloat16_3x", "bfloat16"])
def test_the_smallest_products_run_in_every_precision(precision):
    vectors = unit_vectors(7, dim=3)
    found = scan_pairs(threshold_scorer(vectors, 0.2), 7, 4, precision=precision, tile_size=1)
    pairs, _ = twin.best_pairs(twin.dot_product_matrix(vectors), 0.2, 4)
    assert found.pair_indices.tolist() == [list(pair) for pair in pairs]
    halves, layers = vectors[:, :1], [(np.ones((1, 1), np.float32), np.zeros(1, np.float32))]
    found = scan_pairs(classifier_scorer(halves, halves, layers), 7, 4, precision=precision)
    assert_equals_twin(found, twin.logit_matrix(halves, halves, layers), 0.0, 4, np.empty(0, np.int64), 0)


def test_a_scan_that_was_killed_starts_again_cleanly():
    scorer, num_tiles = threshold_scorer(unit_vectors(90), 0.2), []

    def die_half_way(num_scored):
        num_tiles.append(num_scored)
        if len(num_tiles) == 10:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        scan_pairs(scorer, 90, 50, tile_size=16, progress=die_half_way)
    again = scan_pairs(scorer, 90, 50, tile_size=16, progress=num_tiles.append)
    assert len(num_tiles) == 10 + 21
    assert_equals_twin(again, twin.dot_product_matrix(scorer.images), 0.2, 50, np.empty(0, np.int64), 0)


def test_a_bound_that_is_seen_to_fail_is_no_proof():
    scorer = threshold_scorer(unit_vectors(60), 0.2)
    found = scan_pairs(scorer, 60, 5, devices=ONE_DEVICE)
    assert found.is_proved and found.measured_error > 0
    too_small = found.measured_error / 4
    doubted = scan_pairs(
        scorer._replace(error_bound=lambda precision: too_small), 60, 5, devices=ONE_DEVICE
    )
    assert not doubted.is_proved
    assert doubted.error_bound == 8 * doubted.measured_error > too_small


def test_nothing_is_proved_on_a_tpu(monkeypatch):
    class Tpu:
        platform = "tpu"

    def score_nothing(best, *arguments, **named):
        best.offer(ScoredPairs(np.full(1, 0.2, np.float32), np.ones(1, np.int64)))

    monkeypatch.setattr(all_pairs, "collect_best", score_nothing)
    scorer = threshold_scorer(np.eye(3, dtype=np.float32), 0.2)
    assert not scan_pairs(scorer, 3, 1, devices=[Tpu()]).is_proved
    assert scan_pairs(scorer, 3, 1, devices=ONE_DEVICE).is_proved


def test_new_values_of_the_same_shapes_compile_nothing():
    with count_compilations() as compiled:
        scan_pairs(threshold_scorer(unit_vectors(30), 0.2), 30, 5, tile_size=8)
        scan_pairs(classifier_scorer(*small_classifier(30)), 30, 5, tile_size=8)
        scan_pairs(threshold_scorer(unit_vectors(30, seed=1), -0.6), 30, 7, tile_size=8, seed=3)
        scan_pairs(classifier_scorer(*small_classifier(30, seed=2)), 30, 9, tile_size=8)
    assert compiled["score_tiles"] == 2  # one for each scorer


def test_progress_counts_every_pair_once():
    done = []
    scan_pairs(threshold_scorer(unit_vectors(45), 0.2), 45, 5, tile_size=16, progress=done.append)
    assert sum(done) == count_pairs(45)
    assert len(done) > 3


def test_a_short_scan_shows_no_progress_bar(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with scan_progress(45) as bar:
        scan_pairs(threshold_scorer(unit_vectors(45), 0.2), 45, 5, progress=bar.update)
    assert bar.n == bar.total == count_pairs(45)
    assert capsys.readouterr().err == ""


def test_no_progress_bar_is_written_to_a_file(capsys):
    with scan_progress(45) as bar:
        assert bar.disable


def test_a_certificate_tells_whether_its_bound_is_proved():
    by_threshold = scan_pairs(threshold_scorer(unit_vectors(20), 0.2), 20, 5, devices=ONE_DEVICE)
    by_classifier = scan_pairs(classifier_scorer(*small_classifier(20)), 20, 5, devices=ONE_DEVICE)
    assert by_threshold.is_certified and by_threshold.is_proved
    assert by_classifier.is_certified and not by_classifier.is_proved


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 17, 39])
def test_broken_scores_are_refused_with_the_images(broken, place):
    scorer = threshold_scorer(unit_vectors(40), 0.2)
    scorer.images[place] = broken
    message = (
        r"^pairs of images \d+ to \d+ with images \d+ to \d+ have scores that are NaN or infinite.*\.$"
    )
    with pytest.raises(ConfigError, match=message):
        scan_pairs(scorer, 40, 5, tile_size=16, devices=ONE_DEVICE)


def test_scores_that_overflow_float32_are_refused():
    as_first, as_second, layers = small_classifier(20)
    layers = [(kernel * np.float32(1e20), bias) for kernel, bias in layers]
    with pytest.raises(ConfigError, match=r"pairs of images 0 to 19 .* NaN or infinite"):
        scan_pairs(classifier_scorer(as_first, as_second, layers), 20, 5, devices=ONE_DEVICE)


@pytest.mark.parametrize("num_images", [0, 1])
def test_without_a_pair_there_is_nothing_to_return(num_images):
    found = scan_pairs(threshold_scorer(unit_vectors(num_images), 0.2), num_images, 5)
    assert found.pair_indices.shape == (0, 2)
    assert found.is_certified


def test_a_sampled_scan_is_exact_for_the_part_it_saw():
    embeddings = unit_vectors(200)
    scorer = threshold_scorer(embeddings, 0.3)
    found = scan_pairs(scorer, 200, 40, share=0.2, tile_size=10, seed=4, devices=ONE_DEVICE)
    whole = scan_pairs(scorer, 200, count_pairs(200), tile_size=10, devices=ONE_DEVICE)
    assert 0.2 <= found.pool_share < 0.35
    assert found.num_scored == round(found.pool_share * count_pairs(200))
    in_whole = [np.flatnonzero((whole.pair_indices == pair).all(axis=1))[0] for pair in found.pair_indices]
    assert in_whole == sorted(in_whole)
    # A fifth of the pool holds the whole pool's fortieth at a place of about 200.
    assert 100 < in_whole[-1] < 400


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_images": 9}, "num_images=9, but the scorer holds 10"),
        ({"num_pairs": -1}, "num_pairs=-1 is negative"),
        ({"share": 0.0}, "share=0.0 must be above 0"),
        ({"tile_size": 0}, "tile_size=0"),
        ({"known": np.array([3, 2])}, "known must be a sorted int64 array"),
        ({"known": np.array([2.5])}, "known must be a sorted int64 array"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(arguments, message):
    request_ = {"num_images": 10, "num_pairs": 3, **arguments}
    with pytest.raises(ValueError, match=message):
        scan_pairs(threshold_scorer(unit_vectors(10), 0.2), **request_)


def test_images_beyond_what_a_key_counts_are_refused():
    images = np.broadcast_to(np.float32(0), (2**31, 1))
    with pytest.raises(ValueError, match=r"num_images=2147483648, .* below 2\^31"):
        scan_pairs(threshold_scorer(unit_vectors(10), 0.2)._replace(images=images), 2**31, 3)


def test_the_band_is_what_lies_within_two_bounds_of_the_last_chosen():
    # Products of 1, 1/2, 1/4, ...: exact in float32, and far apart.
    vectors = np.float32(0.5) ** np.arange(9, dtype=np.float32)[:, None]
    found = scan_pairs(threshold_scorer(vectors, 0.0), 9, 5, devices=ONE_DEVICE)
    assert 0 < found.error_bound < 1e-6
    distances = np.sort(twin.dot_product_matrix(vectors)[np.triu_indices(9, 1)])
    assert found.band_size == np.sum(distances <= distances[4] + 2 * found.error_bound) < 36
    assert found.band_is_complete
    edge = np.nextafter(np.float32(distances[4] + 2 * found.error_bound), np.float32(1))
    assert found.margin == edge - distances[4]


def test_an_unknown_precision_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"precision='float16' .*bfloat16_3x"):
        scan_pairs(threshold_scorer(unit_vectors(10), 0.2), 10, 3, precision="float16")
