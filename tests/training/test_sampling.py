import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.errors import ConfigError
from anneal_jax.training.sampling import (
    cycle_permutations,
    draw_image_batches,
    draw_pair_batches,
    draw_weighted_group_batches,
)


def generator(seed=0):
    return np.random.default_rng(seed)


def pairs_with(num_similar, num_dissimilar):
    """Pairs whose first image tells the row, similar ones in front."""
    rows = np.arange(num_similar + num_dissimilar, dtype=np.int32)
    return np.stack([rows, rows + 1000], axis=1), (rows < num_similar).astype(np.int8)


def draw(num_similar, num_dissimilar, *, seed=0, num_steps=7, batch_size=10, oversample=True):
    pair_indices, labels = pairs_with(num_similar, num_dissimilar)
    return draw_pair_batches(
        generator(seed),
        pair_indices,
        labels,
        num_steps=num_steps,
        batch_size=batch_size,
        oversample=oversample,
    )


@given(st.integers(1, 30), st.integers(1, 100), st.integers(0, 99))
def test_every_item_comes_once_before_any_comes_twice(num_items, num_draws, seed):
    drawn = cycle_permutations(generator(seed), num_items, num_draws)
    assert drawn.shape == (num_draws,)
    for start in range(0, num_draws, num_items):
        cycle = drawn[start : start + num_items]
        assert len(set(cycle.tolist())) == len(cycle)
        assert set(cycle.tolist()) <= set(range(num_items))


def test_cycles_differ_from_each_other():
    first, second = cycle_permutations(generator(), 20, 40).reshape(2, 20)
    assert first.tolist() != second.tolist()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(2, 30), st.integers(0, 99))
def test_oversampled_batches_are_balanced_and_keep_each_pairs_label(similar, dissimilar, size, seed):
    batches = draw(similar, dissimilar, seed=seed, batch_size=size)
    assert batches.pair_indices.shape == (7, size, 2)
    assert batches.pair_indices.dtype == np.int32
    assert batches.labels.dtype == np.float32
    assert np.sum(batches.labels, axis=1).tolist() == [size // 2] * 7
    rows = batches.pair_indices.min(axis=2)
    np.testing.assert_array_equal(batches.pair_indices.max(axis=2), rows + 1000)
    np.testing.assert_array_equal(batches.labels, rows < similar)


@pytest.mark.parametrize("counts", [(5, 0), (0, 5), (1, 0)])
@pytest.mark.parametrize("oversample", [True, False])
def test_one_class_fills_every_batch(counts, oversample):
    batches = draw(*counts, oversample=oversample)
    assert set(batches.labels.ravel().tolist()) == {float(counts[0] > 0)}
    assert batches.pair_indices.shape == (7, 10, 2)


def test_without_oversampling_every_pair_is_drawn_equally_often():
    batches = draw(3, 17, num_steps=6, oversample=False)
    _, counts = np.unique(batches.pair_indices.min(axis=2), return_counts=True)
    assert counts.tolist() == [3] * 20


def test_the_pairs_of_the_rarer_class_take_turns():
    batches = draw(2, 50, num_steps=3)
    rows = batches.pair_indices.min(axis=2)[batches.labels == 1]
    assert np.unique(rows, return_counts=True)[1].tolist() in ([7, 8], [8, 7])


def test_the_two_towers_are_swapped_about_half_the_time():
    pair_indices = draw(40, 40, num_steps=50, batch_size=80).pair_indices
    assert abs(np.mean(pair_indices[..., 0] > pair_indices[..., 1]) - 0.5) < 0.03


def test_equal_seeds_draw_equally_and_others_do_not():
    first, second, other = draw(9, 30), draw(9, 30), draw(9, 30, seed=1)
    np.testing.assert_array_equal(first.pair_indices, second.pair_indices)
    assert (first.pair_indices != other.pair_indices).any()


def test_without_pairs_there_is_nothing_to_train_on():
    with pytest.raises(ConfigError, match="no pair is answered yes or no"):
        draw(0, 0)


@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 9))
def test_images_of_one_step_differ(num_images, batch_size, num_steps):
    drawn = draw_image_batches(generator(), num_images, num_steps=num_steps, batch_size=batch_size)
    assert drawn.shape == (num_steps, min(batch_size, num_images))
    assert all(len(set(row)) == len(row) for row in drawn.tolist())
    assert drawn.min() >= 0
    assert drawn.max() < num_images


def test_image_batches_meet_nearly_all_images():
    drawn = draw_image_batches(generator(), 100, num_steps=30, batch_size=32)
    assert len(np.unique(drawn)) == 100


def draw_weighted(weights, *, seed=0, num_steps=200, batch_size=50):
    rows = np.arange(len(weights), dtype=np.int32)
    return draw_weighted_group_batches(
        generator(seed),
        1000 + rows,
        rows % 3,
        np.array(weights, np.float64),
        num_steps=num_steps,
        batch_size=batch_size,
    )


def test_images_are_drawn_in_proportion_to_their_weights_with_their_groups():
    weights = np.array([0.0, 1.0, 2.0, 5.0, 0.5])
    batches = draw_weighted(weights)
    assert batches.images.shape == batches.groups.shape == (200, 50)
    assert batches.images.dtype == batches.groups.dtype == np.int32
    np.testing.assert_array_equal(batches.groups, (batches.images - 1000) % 3)
    counts = np.bincount(batches.images.ravel() - 1000, minlength=5)
    shares = weights / weights.sum()
    assert (np.abs(counts - 10_000 * shares) <= 4 * np.sqrt(10_000 * shares * (1 - shares))).all()
    assert counts[0] == 0


def test_weights_count_relative_to_each_other():
    one, other = (draw_weighted(scale * np.array([1.0, 3.0, 2.0])) for scale in (1, 1024))
    np.testing.assert_array_equal(one.images, other.images)


def test_one_image_fills_every_weighted_batch():
    batches = draw_weighted([0.3], num_steps=2, batch_size=4)
    assert batches.images.tolist() == [[1000] * 4] * 2


def test_weighted_draws_depend_on_the_seed_alone():
    first, second, other = (draw_weighted([1, 2, 3, 4], seed=seed).images for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()
