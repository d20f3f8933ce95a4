"""Refining a search by marks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.annotation.refine import TRUST, refine
from tests.reference import refine as reference

DIM = 8
NOTHING = np.empty((0, DIM), np.float32)


def directions(seed, count):
    drawn = np.random.default_rng(seed).normal(size=(count, DIM))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@given(st.integers(0, 10**6), st.integers(0, 12), st.integers(0, 12), st.sampled_from([0.1, TRUST, 10.0]))
def test_it_is_what_recursive_least_squares_find(seed, num_right, num_wrong, trust):
    query, *marked = directions(seed, 1 + num_right + num_wrong)
    right = np.array(marked[:num_right], np.float32).reshape(-1, DIM)
    wrong = np.array(marked[num_right:], np.float32).reshape(-1, DIM)
    found = refine(query, right, wrong, trust=trust)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, reference.refine(query, right, wrong, trust), atol=2e-6)


@given(st.integers(0, 10**6))
def test_a_right_mark_comes_nearer_and_a_wrong_one_goes_away(seed):
    query, other = directions(seed, 2)
    before = float(query @ other)
    assert refine(query, other[None], NOTHING) @ other >= before - 1e-6
    moved = refine(query, NOTHING, other[None]) @ other
    assert abs(moved) <= abs(before) + 1e-6


def test_without_marks_it_is_the_query_and_the_order_of_marks_is_nothing():
    query, *marked = directions(1, 7)
    np.testing.assert_array_equal(refine(query, NOTHING, NOTHING), query)
    right, wrong = np.array(marked[:3]), np.array(marked[3:])
    found = refine(query, right, wrong)
    np.testing.assert_allclose(refine(query, right[::-1], wrong[::-1]), found, atol=1e-6)


def test_a_mark_can_be_given_twice_and_be_the_query():
    query, other = directions(2, 2)
    assert np.isfinite(refine(query, np.stack([other] * 9), np.stack([other] * 9))).all()
    np.testing.assert_allclose(refine(query, query[None], NOTHING), query, atol=1e-6)
    assert np.linalg.norm(refine(query, NOTHING, query[None])) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("shapes", "trust"), [([(8,), (2, 7), (0, 8)], 1.0), ([(1, 8), (2, 8), (0, 8)], 1.0)]
)
def test_shapes_that_do_not_agree_are_refused(shapes, trust):
    with pytest.raises(ValueError, match=r"give a query \[D\]"):
        refine(*(np.zeros(shape, np.float32) for shape in shapes), trust=trust)


@pytest.mark.parametrize("trust", [0.0, -1.0, np.nan])
def test_trust_must_be_positive(trust):
    with pytest.raises(ValueError, match="must be positive"):
        refine(directions(0, 1)[0], NOTHING, NOTHING, trust=trust)
