import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anneal_jax.pairs.canonical import (
    canonicalise,
    contains,
    count_pairs,
    pair_keys,
    pairs_of_keys,
    pairs_of_ranks,
)
from tests.reference import pairs as twin

LARGEST = 2**31 - 1

num_images_up_to_the_largest = st.integers(2, 50) | st.integers(2, LARGEST)


@st.composite
def archives_with_a_pair(draw):
    num_images = draw(num_images_up_to_the_largest)
    first = draw(st.integers(0, num_images - 2))
    return num_images, first, draw(st.integers(first + 1, num_images - 1))


@pytest.mark.parametrize("num_images", range(2, 24))
def test_every_pair_of_a_small_archive_has_its_place(num_images):
    expected = twin.all_pairs(num_images)
    assert count_pairs(num_images) == len(expected)
    ranks = np.arange(len(expected))
    assert list(map(tuple, pairs_of_ranks(ranks, num_images).tolist())) == expected


@given(archives_with_a_pair())
@example((LARGEST, 0, 1))
@example((LARGEST, 0, LARGEST - 1))
@example((LARGEST, 1, 2))
@example((LARGEST, LARGEST // 2, LARGEST // 2 + 1))
@example((LARGEST, LARGEST - 3, LARGEST - 1))
@example((LARGEST, LARGEST - 2, LARGEST - 1))
def test_the_pair_at_a_place_is_exact_up_to_the_largest_archive(case):
    num_images, first, second = case
    rank = np.array([twin.rank_of(first, second, num_images)], np.int64)
    pair = pairs_of_ranks(rank, num_images)
    assert pair.dtype == np.int32
    assert pair.tolist() == [[first, second]]


@given(num_images_up_to_the_largest)
def test_row_ends_and_starts_are_not_confused(num_images):
    rows = np.unique(np.linspace(0, num_images - 2, 7).astype(np.int64)).tolist()
    starts = [twin.rank_of(row, row + 1, num_images) for row in rows]
    ends = [twin.rank_of(row, num_images - 1, num_images) for row in rows]
    assert pairs_of_ranks(np.array(starts), num_images).tolist() == [[r, r + 1] for r in rows]
    assert pairs_of_ranks(np.array(ends), num_images).tolist() == [[r, num_images - 1] for r in rows]


@given(archives_with_a_pair())
@example((LARGEST, LARGEST - 2, LARGEST - 1))
def test_keys_keep_pairs_and_their_order(case):
    num_images, first, second = case
    pairs = np.array([[0, 1], [first, second]], np.int32)
    keys = pair_keys(pairs, num_images)
    assert keys.dtype == np.int64
    assert keys.tolist() == [1, first * num_images + second]
    assert pairs_of_keys(keys, num_images).tolist() == pairs.tolist()
    assert (keys[0] < keys[1]) == ((first, second) > (0, 1))


@given(st.lists(st.tuples(st.integers(0, LARGEST), st.integers(0, LARGEST)).filter(lambda p: p[0] != p[1])))
def test_canonical_pairs_are_ordered_and_stay_in_place(pairs):
    ordered = canonicalise(pairs)
    assert ordered.dtype == np.int32 and ordered.shape == (len(pairs), 2)
    assert ordered.tolist() == [sorted(pair) for pair in pairs]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([[0, 1], [3, 3]], "pair 1 joins image 3 with itself"),
        ([[0, 1, 2]], r"shape \[P, 2\]; this array has \(1, 3\)"),
        ([0, 1], r"shape \[P, 2\]; this array has \(2,\)"),
        ([[0.5, 1.0]], "whole numbers"),
        ([[-1, 1]], "whole numbers"),
        ([[0, 2**31]], "whole numbers"),
    ],
)
def test_what_is_no_pair_is_refused(pairs, message):
    with pytest.raises(ValueError, match=message):
        canonicalise(pairs)


@given(st.sets(st.integers(0, 60)), st.lists(st.integers(0, 61)))
def test_membership_is_that_of_a_set(known, asked):
    found = contains(np.array(sorted(known), np.int64), np.array(asked, np.int64))
    assert found.tolist() == [key in known for key in asked]
