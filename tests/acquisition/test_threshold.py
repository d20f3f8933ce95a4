import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from anneal_jax.acquisition.threshold import (
    ESTIMATORS,
    balanced_threshold,
    estimate_threshold,
    gaussian_threshold,
    initial_threshold,
    midpoint_threshold,
)
from anneal_jax.errors import ConfigError
from tests.reference import thresholds as twins

cosines = st.one_of(
    st.integers(-4, 4).map(lambda quarter: quarter / 4),  # many ties
    st.floats(-1, 1, width=32, allow_subnormal=False),
)


@st.composite
def scored_pairs(draw):
    size = draw(st.integers(2, 25))
    labels = draw(st_np.arrays(np.int8, size, elements=st.integers(0, 1)))
    assume(0 < labels.sum() < size)
    return draw(st_np.arrays(np.float32, size, elements=cosines)), labels


@given(scored_pairs())
def test_balanced_equals_trying_every_cut(pairs):
    found = balanced_threshold(*pairs)
    assert (found.lower, found.upper) == twins.balanced(*pairs)
    assert found.threshold == (found.lower + found.upper) / 2


@given(scored_pairs())
def test_midpoint_equals_the_twin(pairs):
    found = midpoint_threshold(*pairs)
    assert found.threshold == found.lower == found.upper == pytest.approx(twins.midpoint(*pairs), abs=1e-12)


@given(scored_pairs())
def test_gaussian_equals_bisection(pairs):
    found = gaussian_threshold(*pairs)
    low, high = sorted(np.float64(pairs[0])[pairs[1] == label].mean() for label in (0, 1))
    assert low - 1e-9 <= found.threshold <= high + 1e-9
    assert found.threshold == found.lower == found.upper == pytest.approx(twins.gaussian(*pairs), abs=1e-6)


@pytest.mark.parametrize("spreads", [(0.1, 0.1), (0.05, 0.2), (0.2, 0.05), (0.1, 0.1 + 1e-9), (1e-7, 0.3)])
def test_gaussian_densities_are_equal_at_the_threshold(spreads):
    steps = np.array([-1.0, 1.0])
    similarities = np.concatenate([0.1 + spreads[0] * steps, 0.8 + spreads[1] * steps])
    labels = np.array([0, 0, 1, 1])
    found = gaussian_threshold(similarities, labels).threshold
    assert found == pytest.approx(twins.gaussian(similarities, labels), abs=1e-9)
    if spreads[0] == spreads[1]:
        assert found == pytest.approx(0.45)
    elif abs(spreads[0] - spreads[1]) > 0.01:
        assert (found < 0.45) == (spreads[0] < spreads[1])  # nearer to the narrower class


def test_gaussian_falls_back_to_the_middle_where_one_density_is_larger_throughout():
    similarities = np.array([-0.9, 0.9, -0.01, 0.03])
    assert gaussian_threshold(similarities, np.array([0, 0, 1, 1])).threshold == pytest.approx(0.005)


def test_separable_classes_give_the_middle_of_the_gap_between_them():
    found = balanced_threshold(np.array([0.7, -0.2, 0.1, 0.9]), np.array([1, 0, 0, 1]))
    assert found == pytest.approx((0.4, 0.1, 0.7))


def test_of_equally_good_intervals_the_widest_is_taken_then_the_lowest():
    labels = np.array([0, 1, 0, 1])
    assert balanced_threshold(np.array([0.0, 0.1, 0.2, 0.9]), labels)[1:] == pytest.approx((0.2, 0.9))
    assert balanced_threshold(np.array([0.0, 0.25, 0.5, 0.75]), labels)[1:] == (0.0, 0.25)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_constant_similarities_are_their_own_threshold(name):
    found = estimate_threshold(name, np.full(5, 0.25, np.float32), np.array([1, 0, 0, 1, 0]))
    assert found == (0.25, 0.25, 0.25)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@given(scored_pairs())
def test_rows_that_cannot_be_used_change_nothing(name, pairs):
    similarities = np.concatenate([[np.nan, 0.9, np.nan], pairs[0], [-0.9]]).astype(np.float32)
    labels = np.concatenate([[1, 2, 0], pairs[1], [2]])
    assert estimate_threshold(name, similarities, labels) == ESTIMATORS[name](*pairs)


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
@pytest.mark.parametrize(
    ("similarities", "labels"),
    [([], []), ([0.1, 0.9], [1, 1]), ([0.1, 0.9], [0, 0]), ([0.1, np.nan], [0, 1]), ([0.1, 0.2], [0, 2])],
)
def test_without_both_classes_there_is_no_estimate(name, similarities, labels):
    assert estimate_threshold(name, np.array(similarities, np.float32), np.array(labels, np.int8)) is None


@given(scored_pairs(), st.randoms(use_true_random=False))
def test_the_order_of_pairs_does_not_matter(pairs, random):
    order = np.array(random.sample(range(len(pairs[1])), len(pairs[1])))
    for name in ESTIMATORS:
        found, shuffled = (estimate_threshold(name, *p) for p in (pairs, [a[order] for a in pairs]))
        assert found == pytest.approx(shuffled, abs=1e-9)


def test_the_first_threshold_lies_between_the_losses_targets():
    assert initial_threshold(0.1) == pytest.approx(0.55)


def test_an_unknown_estimator_is_refused_by_name():
    with pytest.raises(ConfigError, match=r"threshold='median' .*prequential"):
        estimate_threshold("median", np.zeros(2), np.zeros(2, np.int8))
