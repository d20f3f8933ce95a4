"""Splits: disjoint, complete, of the right sizes, and groups in one piece."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.data.splits import duplicate_groups, split_images
from anneal_jax.errors import ConfigError


def assert_partition(split, num_images):
    np.testing.assert_array_equal(np.sort(np.concatenate(split)), np.arange(num_images))
    for part in split:
        assert part.dtype == np.int32
        assert np.all(np.diff(part) > 0)


@given(
    num_images=st.integers(30, 300),
    seed=st.integers(0, 2**40),
    train_percent=st.integers(20, 75),
    query_percent=st.integers(5, 20),
)
def test_parts_cover_all_images_in_exact_sizes(num_images, seed, train_percent, query_percent):
    split = split_images(
        num_images,
        seed=seed,
        train_fraction=train_percent / 100,
        query_fraction=query_percent / 100,
    )
    assert_partition(split, num_images)
    assert split.train.size == round(num_images * (train_percent / 100))
    assert split.query.size == round(num_images * (query_percent / 100))


@given(st.lists(st.integers(1, 6), min_size=1, max_size=12), st.integers(0, 2**32))
def test_groups_stay_in_one_piece_and_sizes_stay_exact(group_sizes, seed):
    num_single = max(40, 3 * (max(group_sizes) - 1) + 1)
    sizes = group_sizes + [1] * num_single
    groups = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)) * 7, sizes))
    split = split_images(len(groups), seed=seed, groups=groups)
    assert_partition(split, len(groups))
    members = [set(groups[part].tolist()) for part in split]
    assert not (members[0] & members[1] or members[0] & members[2] or members[1] & members[2])
    assert split.train.size == round(0.8 * len(groups))
    assert split.query.size == round(0.1 * len(groups))


@pytest.mark.parametrize("seed", range(10))
def test_large_groups_are_placed_first_so_that_small_ones_still_fit(seed):
    split = split_images(
        10, seed=seed, train_fraction=0.6, query_fraction=0.2, groups=[0] * 2 + [1] * 2 + [2] * 6
    )
    assert [part.size for part in split] == [6, 2, 2]
    assert split.train.tolist() == [4, 5, 6, 7, 8, 9]


def test_a_group_too_large_for_any_part_is_kept_whole():
    split = split_images(100, seed=0, groups=[0] * 90 + list(range(1, 11)))
    assert_partition(split, 100)
    assert set(range(90)) <= set(split.train.tolist())
    assert split.query.size
    assert split.archive.size


def test_seed_decides_and_repeats():
    first, again, other = (split_images(500, seed=seed).query for seed in (7, 7, 8))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_groups_of_one_draw_as_no_groups():
    plain, grouped = split_images(60, seed=1), split_images(60, seed=1, groups=range(60))
    for part, same in zip(plain, grouped, strict=True):
        np.testing.assert_array_equal(part, same)


def test_every_image_and_every_pair_lands_in_each_part_about_as_often():
    groups = np.r_[0, 0, 1:99]
    in_query = sum(
        np.isin(np.arange(100), split_images(100, seed=seed, groups=groups).query).astype(int)
        for seed in range(400)
    )
    assert in_query.min() > 20  # 40 expected, standard deviation 6
    assert in_query.max() < 66


@pytest.mark.parametrize(
    ("num_images", "options", "message"),
    [
        (3, {}, "3 images at train_fraction=0.8 .* leave none for query"),
        (100, {"train_fraction": 0.9}, "together below 1"),
        (100, {"query_fraction": 0.0}, "each be above 0"),
        (100, {"seed": -1}, "seed is -1; give a number of at least 0"),
        (100, {"groups": [0, 1]}, r"groups has shape \(2,\)"),
        (10, {"groups": [0] * 10}, "leave none for query"),
    ],
)
def test_bad_arguments_are_named(num_images, options, message):
    with pytest.raises(ConfigError, match=message):
        split_images(num_images, **{"seed": 0, **options})


@given(st.lists(st.integers(0, 5), max_size=30))
def test_duplicate_groups_agree_with_a_dictionary(contents):
    digests = np.zeros((len(contents), 32), np.uint8)
    digests[:, 31] = contents
    seen: dict[int, int] = {}
    expected = [seen.setdefault(content, len(seen)) for content in contents]
    groups = duplicate_groups(digests)
    assert groups.dtype == np.int32
    assert groups.tolist() == expected
