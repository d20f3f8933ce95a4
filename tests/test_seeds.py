import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.seeds import Use, device_key, host_rng, host_seed

seeds = st.integers(0, 2**31 - 1)
rounds = st.integers(0, 100_000)
uses = st.sampled_from(list(Use))


def draws(seed, round_index, use):
    """One draw by each of the three kinds of randomness."""
    return (
        int(host_rng(seed, round_index, use).integers(2**63)),
        host_seed(seed, round_index, use),
        tuple(jax.random.key_data(device_key(seed, round_index, use)).tolist()),
    )


@given(seeds, rounds, uses)
def test_the_same_name_draws_the_same(seed, round_index, use):
    assert draws(seed, round_index, use) == draws(seed, round_index, use)
    assert 0 <= host_seed(seed, round_index, use) < 2**31


def test_every_seed_round_and_use_draws_for_itself():
    names = [(seed, index, use) for seed in range(3) for index in range(3) for use in Use]
    for column in zip(*(draws(*name) for name in names), strict=True):
        assert len(set(column)) == len(names)


def test_draws_of_different_uses_are_not_correlated():
    one, other = (host_rng(0, 0, use).standard_normal(10_000) for use in (Use.BATCHES, Use.NOISE))
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.05


def test_what_a_seed_means_never_changes():
    # A change here makes every recorded result of a seed another one.
    assert {use.name: use.value for use in Use} == {
        "SPLIT": 0,
        "INITIAL_PAIRS": 1,
        "WEIGHTS": 2,
        "BATCHES": 3,
        "NOISE": 4,
        "SELECTION": 5,
        "FOLDS": 6,
        "ERRORS": 7,
        "HELD_OUT": 8,
        "HEADS": 9,
        "PROJECTOR": 10,
        "OVERSIGHTS": 11,
    }
    assert draws(7, 3, Use.SELECTION) == (
        452882084672932210,
        1175554418,
        (2377693112, 978177622),
    )


def test_asking_leaves_numpys_global_randomness_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    draws(0, 0, Use.SPLIT)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        host_rng(-1, 0, Use.SPLIT)
