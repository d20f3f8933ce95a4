import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.training.augment import flip_and_turn

TILE = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)


def eight_orientations(tile):
    return [np.rot90(start, turns) for start in (tile, tile[:, ::-1]) for turns in range(4)]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_each_orientation_comes_equally_often_and_nothing_else_comes(dtype):
    tiles = np.repeat(TILE[None].astype(dtype), 4000, axis=0)
    turned = np.asarray(flip_and_turn(jax.random.key(0), tiles))
    assert turned.dtype == dtype
    counts = [np.sum((turned == way).all(axis=(1, 2, 3))) for way in eight_orientations(TILE)]
    assert sum(counts) == 4000
    assert min(counts) > 420  # 500 expected, standard deviation 21
    assert max(counts) < 580


def test_a_symmetric_tile_stays_as_it_is():
    tile = np.zeros((5, 5, 3), np.float32)
    tile[2, 2] = 1.0
    tiles = np.repeat(tile[None], 30, axis=0)
    np.testing.assert_array_equal(flip_and_turn(jax.random.key(1), tiles), tiles)


def test_tiles_turn_independently_of_each_other_and_by_the_key():
    tiles = jnp.asarray(np.repeat(TILE[None], 64, axis=0))
    first, again, other = (np.asarray(flip_and_turn(jax.random.key(k), tiles)) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert len({tile.tobytes() for tile in first}) == 8
