import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.evaluation.calibration import RIDGE, fit_calibration


def drawn(seed, num_labels, slope=6.0, middle=0.5):
    """Similarities, and labels drawn with the chance that a logistic curve gives them."""
    rng = np.random.default_rng(seed)
    similarities = rng.uniform(-0.2, 1, num_labels)
    chance = 1 / (1 + np.exp(-slope * (similarities - middle)))
    return similarities, (rng.random(num_labels) < chance).astype(int), chance


def twin(similarities, labels, steps=100):
    """The penalised likelihood climbed by Newton's method, in plain float64."""
    places = (similarities - similarities.mean()) / similarities.std()
    design, weights = np.stack([np.ones_like(places), places], 1), np.zeros(2)
    penalty = np.diag([0.0, RIDGE])
    for _ in range(steps):
        share = 1 / (1 + np.exp(-design @ weights))
        curvature = (design * (share * (1 - share))[:, None]).T @ design + penalty
        weights += np.linalg.solve(curvature, design.T @ (labels - share) - penalty @ weights)
    return design, weights, np.linalg.inv(curvature)


@pytest.mark.parametrize("seed", range(5))
def test_it_is_the_twins_curve_and_interval(seed):
    similarities, labels, _ = drawn(seed, 80)
    fit = fit_calibration(similarities, labels)
    design, weights, covariance = twin(similarities, labels)
    log_odds = design @ weights
    half = 1.959964 * np.sqrt(np.einsum("pi,ij,pj->p", design, covariance, design))
    share = lambda values: 1 / (1 + np.exp(-values))  # noqa: E731
    np.testing.assert_allclose(fit.probability(similarities), share(log_odds), atol=1e-6)
    lower, upper = fit.interval(similarities)
    np.testing.assert_allclose(lower, share(log_odds - half), atol=1e-5)
    np.testing.assert_allclose(upper, share(log_odds + half), atol=1e-5)


@given(seed=st.integers(0, 2**32 - 1), num_labels=st.integers(20, 60))
def test_it_rises_and_lies_within_its_interval(seed, num_labels):
    similarities, labels, _ = drawn(seed, num_labels)
    fit = fit_calibration(similarities, labels)
    if fit is None:
        assert min(labels.sum(), num_labels - labels.sum()) < 3
        return
    asked = np.linspace(-1, 1, 50)
    chance, (lower, upper) = fit.probability(asked), fit.interval(asked)
    assert chance.dtype == np.float64 and (np.diff(chance) >= 0).all()
    assert ((lower >= 0) & (lower <= chance) & (chance <= upper) & (upper <= 1)).all()


def test_the_interval_holds_the_true_chance_as_often_as_it_says():
    inside = []
    for seed in range(100):
        similarities, labels, chance = drawn(seed, 100)
        lower, upper = fit_calibration(similarities, labels).interval(similarities)
        inside.append((lower <= chance) & (chance <= upper))
    assert 0.92 < np.mean(inside) < 0.98


def test_too_little_says_nothing():
    similarities = np.linspace(0, 1, 40)
    assert fit_calibration(similarities[:19], np.arange(19) % 2) is None
    assert fit_calibration(similarities, np.arange(40) < 38) is None  # two dissimilar ones
    assert fit_calibration(np.full(40, 0.5), np.arange(40) % 2) is None


def test_a_model_that_learnt_the_opposite_gets_a_flat_curve_at_the_share_of_similar_pairs():
    fit = fit_calibration(np.linspace(0, 1, 40), np.arange(40) < 30)
    assert fit.slope == 0
    np.testing.assert_allclose(fit.probability([0.0, 1.0]), 0.75)


def test_separable_labels_give_a_finite_curve():
    fit = fit_calibration(np.linspace(0, 1, 40), np.arange(40) >= 20)
    assert np.isfinite(fit.slope) and fit.num_labels == 40


@pytest.mark.parametrize(
    ("similarities", "labels", "message"),
    [
        ([0.1, 0.2], [1], "equally long"),
        ([0.1, 0.2], [1, 2], "each 0 or 1"),
        ([0.1, np.nan], [1, 0], "leave that pair out"),
    ],
)
def test_other_lists_are_refused(similarities, labels, message):
    with pytest.raises(ValueError, match=message):
        fit_calibration(similarities, labels)
