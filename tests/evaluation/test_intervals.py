import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from anneal_jax.errors import ConfigError
from anneal_jax.evaluation.intervals import paired_difference_interval


def test_interval_by_hand():
    # Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t(2 degrees, 97.5%) = 4.3027.
    found = paired_difference_interval([2.0, 4.0, 6.0], [1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.upper - 2 == pytest.approx(4.30265 / np.sqrt(3), rel=1e-5)
    assert 2 - found.lower == pytest.approx(found.upper - 2)
    assert found.num_pairs == 3


@given(seed=st.integers(0, 2**32 - 1), confidence=st.floats(0.5, 0.999))
def test_interval_equals_scipy(seed, confidence):
    a, b = np.random.default_rng(seed).normal(size=(2, 6))
    expected = stats.ttest_rel(a, b).confidence_interval(confidence)
    found = paired_difference_interval(a, b, confidence=confidence)
    np.testing.assert_allclose(found[1:3], expected, rtol=1e-9)


def test_pairing_removes_what_seeds_share():
    hard_and_easy_seeds = np.array([0.2, 0.5, 0.8])
    found = paired_difference_interval(hard_and_easy_seeds + 0.1, hard_and_easy_seeds)
    assert found.lower == pytest.approx(0.1)
    assert found.upper == pytest.approx(0.1)


def test_what_allows_no_interval_is_refused():
    with pytest.raises(ConfigError, match="confidence = 95 must lie between 0 and 1"):
        paired_difference_interval([1, 2], [1, 2], confidence=95)
    with pytest.raises(ValueError, match="two seeds or more"):
        paired_difference_interval([1.0], [2.0])
    with pytest.raises(ValueError, match="equally long lists"):
        paired_difference_interval([1.0, 2.0], [2.0])
    with pytest.raises(ValueError, match="leave that seed out of both lists"):
        paired_difference_interval([1.0, np.nan], [2.0, 3.0])
