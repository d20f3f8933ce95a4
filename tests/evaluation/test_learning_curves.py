import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.evaluation.learning_curves import cost_to_reach, mean_quality, quality_at

COSTS, QUALITIES = [100, 200, 400], [0.5, 0.7, 0.6]


@pytest.mark.parametrize(
    ("at", "expected"),
    [(99, math.nan), (100, 0.5), (150, 0.6), (200, 0.7), (300, 0.65), (400, 0.6), (9999, 0.6)],
)
def test_a_curve_is_straight_between_rounds_and_stays_after_the_last(at, expected):
    np.testing.assert_allclose(quality_at(COSTS, QUALITIES, [at]), [expected])


@pytest.mark.parametrize(
    ("target", "expected"), [(0.4, 100), (0.5, 100), (0.6, 150), (0.7, 200), (0.71, math.nan)]
)
def test_the_first_cost_counts_even_where_the_curve_falls_again(target, expected):
    np.testing.assert_allclose(cost_to_reach(COSTS, QUALITIES, target), expected)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (100, 200, 0.6),
        (100, 400, (60 + 130) / 300),
        (150, 300, (0.5 * (0.6 + 0.7) * 50 + 0.5 * (0.7 + 0.65) * 100) / 150),
        (400, 500, 0.6),
        (50, 200, math.nan),
    ],
)
def test_the_mean_quality_is_the_area_by_hand(low, high, expected):
    np.testing.assert_allclose(mean_quality(COSTS, QUALITIES, low, high), expected)


@given(
    gaps=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    seed=st.integers(0, 99),
    share=st.floats(0, 1),
)
def test_what_is_reached_at_a_cost_is_read_off_there(gaps, seed, share):
    costs = np.cumsum(gaps).astype(float)
    qualities = np.random.default_rng(seed).random(len(costs))
    target = share * qualities.max()
    cost = cost_to_reach(costs, qualities, target)
    assert quality_at(costs, qualities, [cost])[0] >= target - 1e-9
    assert (
        qualities.min() - 1e-9
        <= mean_quality(costs, qualities, costs[0], costs[-1] + 1)
        <= qualities.max() + 1e-9
    )
