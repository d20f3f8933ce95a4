"""Error bounds hold, float64 routines equal their twins bit by bit, and bad arrays are refused."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.scan.all_pairs import scan_pairs
from anneal_jax.acquisition.scan.rescoring import rescore_dot_products, rescore_logits
from anneal_jax.acquisition.scan.scorers import PRECISIONS, classifier_scorer, threshold_scorer
from anneal_jax.acquisition.scan.similarity import pairwise_cosine_similarity
from tests.reference import all_pairs as twin


@given(st.integers(1, 300), st.floats(1e-3, 1e3), st.integers(0, 1000))
def test_the_bound_of_a_dot_product_covers_its_float32_error(dim, scale, seed):
    rng = np.random.default_rng(seed)
    # One sign: rounding errors then add up instead of cancelling.
    vectors = (scale * np.abs(rng.normal(size=(6, dim)))).astype(np.float32)
    threshold = float(np.float32(rng.normal()))
    scorer = threshold_scorer(vectors, threshold)
    naive = np.zeros((6, 6), np.float32)
    for component in vectors.T:
        naive += np.outer(component, component)
    error = np.abs(naive - np.float32(threshold)) - np.abs(twin.dot_product_matrix(vectors) - threshold)
    assert np.abs(error).max() <= scorer.error_bound(PRECISIONS["float32"])


@pytest.mark.parametrize("precision", ["bfloat16_3x", "bfloat16"])
def test_the_bound_of_shortened_operands_covers_truncation(precision):
    vectors = np.random.default_rng(0).normal(size=(50, 64)).astype(np.float32)
    high = truncate(vectors)
    low = truncate(vectors - high)
    product = high @ high.T
    if precision == "bfloat16_3x":
        product += high @ low.T + low @ high.T
    error = np.abs(product - twin.dot_product_matrix(vectors)).max()
    bound = threshold_scorer(vectors, 0.0).error_bound(PRECISIONS[precision])
    assert bound / 100 < error <= bound


def truncate(values):
    return (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)


def test_the_bound_for_unit_vectors_is_the_documented_one():
    vectors = np.eye(256, dtype=np.float32)
    assert threshold_scorer(vectors, 0.5).error_bound(PRECISIONS["float32"]) == pytest.approx(
        1.5e-5, rel=0.03
    )
    # Two operands, each cut after seven bits.
    shortened = threshold_scorer(vectors, 0.5).error_bound(PRECISIONS["bfloat16"])
    assert shortened == pytest.approx(2 / 128 + 1 / 128**2, rel=0.01)

    three = threshold_scorer(vectors, 0.5).error_bound(PRECISIONS["bfloat16_3x"])
    assert three == pytest.approx(3.7e-4, rel=0.01)


@pytest.mark.parametrize("precision", ["float32", "bfloat16_3x", "bfloat16"])
@pytest.mark.parametrize("scale", [1e-21, 1e-30, 3e-42])
def test_the_bound_covers_numbers_that_are_taken_for_zero(scale, precision):
    vectors = (scale * np.ones((3, 5))).astype(np.float32)
    assert vectors.all()
    scorer = threshold_scorer(vectors, 0.0)
    assert twin.dot_product_matrix(vectors).max() <= scorer.error_bound(PRECISIONS[precision]) < 1e-30
    found = scan_pairs(scorer, 3, 3, precision=precision)
    assert found.measured_error <= found.error_bound
    assert found.is_certified and found.is_proved


@pytest.mark.parametrize("threshold", [np.nan, np.inf, -1e39])
def test_a_threshold_is_a_finite_number(threshold):
    with pytest.raises(ValueError, match=re.escape(f"threshold={threshold} must be a finite float32")):
        threshold_scorer(np.eye(3, dtype=np.float32), threshold)


def test_no_bound_is_claimed_for_the_classifier():
    layers = [(np.ones((3, 1), np.float32), np.zeros(1, np.float32))]
    scorer = classifier_scorer(np.ones((4, 3)), np.ones((4, 3)), layers)
    assert scorer.error_bound(PRECISIONS["float32"]) == math.inf


@given(
    st.sampled_from([1, 7, 8, 9, 40, 256]),
    st.one_of(st.integers(1, 600), st.sampled_from([1, 2, 257, 513])),
    st.integers(0, 100),
)
def test_rescored_products_equal_twin_to_the_last_bit(dim, num_pairs, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(30, dim)).astype(np.float32)
    pairs = rng.integers(0, 30, size=(num_pairs, 2)).astype(np.int32)
    expected = twin.dot_product_matrix(vectors)[pairs[:, 0], pairs[:, 1]]
    np.testing.assert_array_equal(rescore_dot_products(vectors, pairs), expected)


@given(st.integers(1, 600), st.integers(0, 100))
def test_a_rescored_logit_does_not_depend_on_the_other_pairs(num_pairs, seed):
    rng = np.random.default_rng(seed)
    as_first, as_second = rng.normal(size=(2, 12, 33)).astype(np.float32)
    layers = [
        (rng.normal(size=shape).astype(np.float32), rng.normal(size=shape[1:]).astype(np.float32))
        for shape in ((33, 17), (17, 1))
    ]
    pairs = rng.integers(0, 12, size=(num_pairs, 2)).astype(np.int32)
    expected = twin.logit_matrix(as_first, as_second, layers)[pairs[:, 0], pairs[:, 1]]
    np.testing.assert_array_equal(rescore_logits(as_first, as_second, layers, pairs), expected)


@pytest.mark.parametrize("is_jitted", [False, True])
@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 4, 20)])
def test_pairwise_cosine_similarity_equals_twin(shape, is_jitted):
    rows, columns, dim = shape
    rng = np.random.default_rng(0)
    first = (3 * rng.normal(size=(rows, dim))).astype(np.float32)
    second = rng.normal(size=(columns, dim)).astype(np.float32)
    second[0] = 0.0
    lengths = np.outer(np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1))
    expected = np.divide(
        first.astype(np.float64) @ second.T, lengths, where=lengths > 0, out=np.zeros(lengths.shape)
    )
    function = jax.jit(pairwise_cosine_similarity) if is_jitted else pairwise_cosine_similarity
    np.testing.assert_allclose(function(jnp.asarray(first), jnp.asarray(second)), expected, atol=1e-6)


def test_cosine_similarity_knows_no_length_and_is_never_above_one():
    vectors = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    similarity = pairwise_cosine_similarity(jnp.asarray(vectors), jnp.asarray(vectors / 1e4))
    np.testing.assert_allclose(np.diagonal(similarity), 1.0, atol=1e-6)
    assert similarity.max() <= 1.0


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_broken_embeddings_are_refused_by_row(value):
    embeddings = np.ones((5, 3), np.float32)
    embeddings[3, 1:] = value, -value
    with pytest.raises(ValueError, match="embeddings holds NaN or infinity in row 3"):
        threshold_scorer(embeddings, 0.5)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(4, 5), (6, 1)], "layer 1 of the classifier takes 5 values"),
        ([(4, 5), (5, 2)], "must end in one logit"),
        ([], "must end in one logit"),
    ],
)
def test_layers_that_do_not_follow_each_other_are_refused(shapes, message):
    layers = [(np.ones(shape), np.ones(shape[1])) for shape in shapes]
    with pytest.raises(ValueError, match=message):
        classifier_scorer(np.ones((3, 4)), np.ones((3, 4)), layers)


def test_halves_of_different_shape_and_flat_embeddings_are_refused():
    with pytest.raises(ValueError, match="differ in shape"):
        classifier_scorer(np.ones((3, 4)), np.ones((2, 4)), [])
    with pytest.raises(ValueError, match="must have two axes"):
        threshold_scorer(np.ones(3), 0.5)
