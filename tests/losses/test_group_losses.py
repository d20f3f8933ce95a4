"""One contract for every registered group loss; what is special to one stands in its own test."""

import functools
import inspect

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError
from anneal_jax.losses.registry import GROUP_LOSSES, get_group_loss, group_loss_settings
from tests.reference.losses import GROUP_TWINS

NUM_ROWS, DIM = 10, 8
every_loss = pytest.mark.parametrize("name", sorted(GROUP_LOSSES))
seeds = st.integers(0, 2**32 - 1)


@functools.cache
def jitted_gradient(name):
    return jax.jit(jax.value_and_grad(get_group_loss(name)))


def draw_batch(seed, num_rows=NUM_ROWS, dim=DIM):
    """Draw unit-norm rows in groups that hang together not at all, somewhat or tightly."""
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 4, num_rows).astype(np.int32)
    centres = generator.normal(size=(4, dim)) * generator.choice([0.0, 1.0, 3.0])
    rows = centres[groups] + generator.normal(size=(num_rows, dim))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), groups, generator.random(num_rows) < 0.8


@every_loss
@given(seed=seeds)
def test_equals_its_twin(name, seed):
    embeddings, groups, mask = draw_batch(seed)
    expected = GROUP_TWINS[name](embeddings[mask], groups[mask])
    found, _ = jitted_gradient(name)(embeddings, groups, mask)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


@every_loss
@given(seed=seeds)
def test_order_of_the_batch_and_names_of_groups_do_not_matter(name, seed):
    embeddings, groups, mask = draw_batch(seed)
    order = np.random.default_rng(seed).permutation(NUM_ROWS)
    value, gradient = jitted_gradient(name)(embeddings, groups, mask)
    moved, moved_gradient = jitted_gradient(name)(embeddings[order], 7 - 3 * groups[order], mask[order])
    np.testing.assert_allclose(moved, value, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(moved_gradient, gradient[order], rtol=1e-4, atol=1e-5)


@every_loss
@given(seed=seeds, poison=st.sampled_from([0.0, np.nan, np.inf]))
def test_masked_rows_do_not_matter_whatever_they_hold(name, seed, poison):
    embeddings, groups, mask = draw_batch(seed)
    value, gradient = jitted_gradient(name)(embeddings, groups, mask)
    embeddings[~mask], groups[~mask] = poison, 99
    dirty, dirty_gradient = jitted_gradient(name)(embeddings, groups, mask)
    assert float(dirty) == float(value)
    np.testing.assert_array_equal(dirty_gradient, gradient)
    assert not np.any(np.asarray(gradient)[~mask])


def degenerate_batches():
    rows, groups, _ = draw_batch(1)
    full, same = np.ones(NUM_ROWS, bool), np.tile(rows[:1], (NUM_ROWS, 1))
    opposite = rows[:1] * np.where(np.arange(NUM_ROWS) % 2, 1, -1)[:, None].astype(np.float32)
    one_group, own_groups = np.zeros(NUM_ROWS, np.int32), np.arange(NUM_ROWS, dtype=np.int32)
    return {
        "all embeddings equal": (same, groups, full),
        "all embeddings zero": (np.zeros_like(rows), groups, full),
        "two opposite points": (opposite, groups, full),
        "empty mask": (rows, groups, ~full),
        "a single row": (rows, groups, own_groups == 3),
        "one group": (rows, one_group, full),
        "one group in one point": (same, one_group, full),
        "each row its own group": (rows, own_groups, full),
    }


@every_loss
@pytest.mark.parametrize("case", degenerate_batches())
def test_value_and_gradient_are_finite_where_all_is_degenerate(name, case):
    value, gradient = jitted_gradient(name)(*degenerate_batches()[case])
    assert np.isfinite(value) and value >= -1e-6
    assert np.isfinite(gradient).all()
    if case in ("empty mask", "a single row"):
        assert float(value) == 0 and not np.any(gradient)


@every_loss
def test_gradient_is_the_slope_of_the_twin(name):
    embeddings, groups, _ = draw_batch(6)
    direction = np.random.default_rng(0).normal(size=embeddings.shape)
    _, gradient = jitted_gradient(name)(embeddings, groups, np.ones(NUM_ROWS, bool))
    # The twin scales rows to norm 1, so that only what is across a row counts.
    along = np.sum(embeddings * direction, axis=1, keepdims=True) * embeddings
    slope = np.vdot(gradient, direction - along)
    constants = {"weights_from": embeddings} if name == "ranked_list" else {}
    ahead = GROUP_TWINS[name](embeddings + 1e-6 * direction, groups, **constants)
    behind = GROUP_TWINS[name](embeddings - 1e-6 * direction, groups, **constants)
    assert abs(slope) > 1e-3
    assert slope == pytest.approx((ahead - behind) / 2e-6, rel=1e-3)


@every_loss
def test_descent_brings_groups_together(name):
    embeddings, _, _ = draw_batch(11)
    groups, mask = np.arange(NUM_ROWS, dtype=np.int32) % 3, np.ones(NUM_ROWS, bool)
    same, own = np.equal.outer(groups, groups), np.eye(NUM_ROWS, dtype=bool)

    def contrast(rows):
        similarities = rows @ rows.T
        return similarities[same & ~own].mean() - similarities[~same].mean()

    rows = embeddings
    for _ in range(100):
        rows = rows - 0.3 * np.asarray(jitted_gradient(name)(rows, groups, mask)[1])
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert contrast(rows) > contrast(embeddings) + 0.3


@given(seed=seeds)
def test_srl_counts_no_masked_row_as_a_neighbour(seed):
    # Masked rows read as zeros, sqrt(2) from every other: within a radius of 1.5.
    embeddings, groups, mask = draw_batch(seed)
    wide = {"negative_distance": 1.6, "margin": 0.1}
    found = jax.jit(get_group_loss("srl"), static_argnames=tuple(wide))(embeddings, groups, mask, **wide)
    expected = GROUP_TWINS["srl"](embeddings[mask], groups[mask], alpha=1.6, margin=0.1)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_twins_and_losses_have_the_same_names():
    assert set(GROUP_TWINS) == set(GROUP_LOSSES)


@every_loss
def test_settings_are_keywords_with_defaults(name):
    _, _, _, *settings = inspect.signature(get_group_loss(name)).parameters.values()
    assert all(setting.kind is inspect.Parameter.KEYWORD_ONLY for setting in settings)
    assert all(setting.default is not inspect.Parameter.empty for setting in settings)
    assert {setting.name for setting in settings} >= set(GROUP_LOSSES[name].settings)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("info_nce", {"temperature": 0.25}), ("n_pairs", {"temperature": 0.25}), ("srl", {})],
)
def test_a_run_fixes_the_settings_that_the_loss_takes(name, expected):
    assert dict(group_loss_settings(ExperimentConfig(group_loss=name, temperature=0.25))) == expected


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"no group loss 'info_nse' \(did you mean 'info_nce'\?\)"):
        get_group_loss("info_nse")
    with pytest.raises(ConfigError, match="choose one of contrastive, info_nce"):
        get_group_loss("?")
