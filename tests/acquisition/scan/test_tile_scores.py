"""The grid of tiles, and strips fetched from a device that shares no memory with the host."""

import itertools
from collections import Counter

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.scan.grid import LazyTiles, choose_tiles, make_grid
from anneal_jax.acquisition.scan.tile_scores import fetch_strips, take_strips
from anneal_jax.pairs.canonical import count_pairs


def keys_of(grid, tile):
    keys, is_own = grid.keys(tile, np.arange(grid.tile_size**2))
    return keys[is_own].tolist()


@given(st.integers(1, 70), st.integers(1, 80))
def test_tiles_cover_every_pair_once(num_images, largest_tile):
    grid = make_grid(num_images, largest_tile)
    tiles, num_pairs = choose_tiles(grid, 1.0, seed=0)
    assert grid.tile_size <= largest_tile
    found = [keys_of(grid, tile) for tile in tiles]
    expected = [i * num_images + j for i in range(num_images) for j in range(i + 1, num_images)]
    assert sorted(itertools.chain.from_iterable(found)) == expected
    assert [len(keys) for keys in found] == [grid.count(tile) for tile in tiles]
    assert num_pairs == len(expected)


@given(st.integers(2, 200), st.integers(1, 20), st.floats(0.01, 0.99), st.integers(0, 99))
def test_sampled_tiles_reach_the_share_and_meet_all_blocks_alike(num_images, tile_size, share, seed):
    grid = make_grid(num_images, tile_size)
    tiles, num_pairs = choose_tiles(grid, share, seed)
    assert len(set(tiles)) == len(tiles)
    assert all(row <= column for row, column in tiles)
    assert num_pairs == sum(map(grid.count, tiles)) >= share * count_pairs(num_images)
    meetings = Counter(block for row, column in tiles for block in {row, column})
    assert set(meetings) == set(range(grid.num_blocks))
    assert max(meetings.values()) == min(meetings.values())


def test_another_seed_samples_other_tiles():
    grid = make_grid(400, 10)
    drawn = {tuple(choose_tiles(grid, 0.1, seed).tiles) for seed in range(5)}
    assert len(drawn) == 5


def test_a_part_of_the_tiles_is_the_same_part_of_their_list():
    for share in (1.0, 0.3):
        tiles = choose_tiles(make_grid(300, 16), share, seed=0).tiles
        for part in (slice(1, None, 3), slice(4, 9), slice(5, 5)):
            assert list(tiles[part]) == list(tiles)[part]
        assert list(tiles[1::3][2:4]) == list(tiles)[1::3][2:4]


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_tiles_of_ten_million_images_are_counted_without_being_listed(share):
    grid = make_grid(10_000_000, 64)
    tiles, num_pairs = choose_tiles(grid, share, seed=0)
    assert isinstance(tiles, LazyTiles) and isinstance(tiles[1::2], LazyTiles)
    assert len(tiles) == pytest.approx(share * count_pairs(grid.num_blocks), rel=1e-3)
    assert num_pairs == pytest.approx(share * count_pairs(10_000_000), rel=1e-3)
    assert all(0 <= row <= column < grid.num_blocks for row, column in (tiles[0], tiles[-1]))


@pytest.mark.parametrize("strips", [[0], [3, 1, 2], list(range(32))])
def test_strips_are_the_same_by_either_way(strips):
    scores = jnp.asarray(np.random.default_rng(0).normal(size=(1, 16, 16)).astype(np.float32))
    chosen = np.array(strips)
    expected = np.asarray(scores).reshape(-1, 8)[chosen]
    np.testing.assert_array_equal(fetch_strips(scores, chosen, 8), expected)
    np.testing.assert_array_equal(take_strips(scores, chosen, 8), expected)
