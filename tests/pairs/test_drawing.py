import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.pairs import drawing
from anneal_jax.pairs.canonical import contains, count_pairs, pair_keys, pairs_of_ranks
from anneal_jax.pairs.drawing import draw_class_balanced_pairs, draw_random_pairs
from tests.pairs.known import known_keys
from tests.reference import pairs as twin


@pytest.fixture(params=["listed", "rejection"])
def branch(request, monkeypatch):
    """Run once with the pool listed and once with pairs drawn and rejected."""
    if request.param == "rejection":
        monkeypatch.setattr(drawing, "_LISTED_PAIRS", 0)
    return request.param


@given(
    num_images=st.integers(2, 20),
    known_share=st.floats(0, 1),
    num_pairs=st.integers(0, 250),
    seed=st.integers(0, 2**32),
    rejects=st.booleans(),
)
def test_as_many_new_pairs_as_asked_or_as_there_are(num_images, known_share, num_pairs, seed, rejects):
    rng = np.random.default_rng(seed)
    total = count_pairs(num_images)
    known = known_keys(num_images, round(known_share * total), rng)
    with pytest.MonkeyPatch.context() as patch:
        if rejects:
            patch.setattr(drawing, "_LISTED_PAIRS", 0)
        drawn = draw_random_pairs(rng, num_images, num_pairs, known=known)
    keys = pair_keys(drawn, num_images)
    assert drawn.dtype == np.int32
    assert len(drawn) == min(num_pairs, total - known.size)
    assert np.unique(keys).size == len(keys)
    assert not contains(known, keys).any()
    assert set(map(tuple, drawn.tolist())) <= set(twin.all_pairs(num_images))


def test_every_pool_pair_is_equally_likely_in_every_place(branch):
    # 28 pairs, 4 known, 3 drawn: few enough for the rejecting branch, once the listing one is off.
    num_images, num_draws, num_repeats = 8, 3, 6_000
    known = np.array([1, 10, 20, 30], np.int64)
    rng = np.random.default_rng(7)
    keys = np.stack(
        [
            pair_keys(draw_random_pairs(rng, num_images, num_draws, known=known), num_images)
            for _ in range(num_repeats)
        ]
    )
    pool = [i * num_images + j for i, j in twin.all_pairs(num_images) if i * num_images + j not in known]
    expected = num_repeats / len(pool)
    for place in range(num_draws):
        counts = np.array([(keys[:, place] == key).sum() for key in pool])
        assert counts.sum() == num_repeats
        chi_square = float(((counts - expected) ** 2 / expected).sum())
        assert chi_square < 55  # 23 degrees of freedom: the 99.98th percentile


@pytest.mark.parametrize("num_images", [3_000, 2**31 - 1])
def test_a_large_pool_is_never_listed(num_images, monkeypatch):
    monkeypatch.setattr(np, "arange", None)
    rng = np.random.default_rng(1)
    known = np.sort(pair_keys(np.array([[0, 1], [5, 9]], np.int32), num_images))
    drawn = draw_random_pairs(rng, num_images, 5_000, known=known)
    assert np.unique(pair_keys(drawn, num_images)).size == 5_000
    assert (drawn[:, 0] < drawn[:, 1]).all() and drawn.min() >= 0 and drawn.max() < num_images
    # Seen from (0, 0), uniform pairs have their mean at a third and two thirds of the archive.
    assert np.abs(drawn.mean(axis=0) / num_images - [1 / 3, 2 / 3]).max() < 0.02


class WithoutTries(np.random.Generator):
    """Draws no numbers one by one: to draw and reject would take ages."""

    integers = None


def test_the_last_pairs_of_a_large_pool_are_all_found_at_once():
    num_images = 2_050
    total = count_pairs(num_images)
    assert total > drawing._LISTED_PAIRS
    everything = pair_keys(pairs_of_ranks(np.arange(total), num_images), num_images)
    is_open = np.zeros(total, np.bool_)
    is_open[[0, 1, 70_000, total // 2, total - 1]] = True
    rng = WithoutTries(np.random.PCG64(3))
    drawn = draw_random_pairs(rng, num_images, 9, known=everything[~is_open])
    assert sorted(pair_keys(drawn, num_images).tolist()) == everything[is_open].tolist()


@pytest.mark.parametrize("num_images", [0, 1])
def test_no_pair_can_be_drawn_of_less_than_two_images(num_images):
    none = np.empty(0, np.int64)
    assert draw_random_pairs(np.random.default_rng(0), num_images, 5, known=none).shape == (0, 2)


@given(
    labels=st.lists(st.integers(0, 3), min_size=1, max_size=25),
    fraction=st.floats(0, 1),
    num_similar=st.integers(0, 5),
    num_dissimilar=st.integers(0, 5),
    seed=st.integers(0, 2**32),
)
def test_the_first_set_is_its_twins(labels, fraction, num_similar, num_dissimilar, seed):
    drawn = draw_class_balanced_pairs(
        np.random.default_rng(seed),
        np.array(labels, np.int32),
        fraction=fraction,
        num_similar=num_similar,
        num_dissimilar=num_dissimilar,
    )
    expected = twin.class_balanced_pairs(
        np.random.default_rng(seed), labels, fraction, num_similar, num_dissimilar
    )
    assert drawn.dtype == np.int32 and drawn.shape == (len(expected), 2)
    assert list(map(tuple, drawn.tolist())) == expected


def test_the_papers_first_set_on_1680_images_of_21_classes():
    labels = np.repeat(np.arange(21, dtype=np.int32), 80)
    drawn = draw_class_balanced_pairs(np.random.default_rng(0), labels)
    is_similar = labels[drawn[:, 0]] == labels[drawn[:, 1]]
    # 84 images with 4 + 4 partners each; the few pairs drawn from both ends are kept once.
    assert 650 < len(drawn) <= 672
    assert abs(int(is_similar.sum()) - 336) <= 15 and (~is_similar).sum() <= 336
