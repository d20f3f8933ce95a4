import jax
import jax.numpy as jnp
import numpy as np
import pytest

from anneal_jax.training.augment import (
    Strength,
    another_picture,
    augment,
    crop,
    draw_boxes,
    draw_colours,
    flip_and_turn,
    recolour,
)
from tests.reference import pictures as reference

compiled_augment = jax.jit(augment, static_argnames=("choice", "is_rgb"))
compiled_crop = jax.jit(crop)
compiled_turn = jax.jit(flip_and_turn)
TILE = np.arange(2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 3)


def eight_orientations(tile):
    return [np.rot90(start, turns) for start in (tile, tile[:, ::-1]) for turns in range(4)]


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_each_orientation_comes_equally_often_and_nothing_else_comes(dtype):
    tiles = np.repeat(TILE[None].astype(dtype), 4000, axis=0)
    turned = np.asarray(compiled_turn(jax.random.key(0), tiles))
    assert turned.dtype == dtype
    counts = [np.sum((turned == way).all(axis=(1, 2, 3))) for way in eight_orientations(TILE)]
    assert sum(counts) == 4000
    assert min(counts) > 420  # 500 expected, standard deviation 21
    assert max(counts) < 580


def test_a_symmetric_tile_stays_as_it_is():
    tile = np.zeros((5, 5, 3), np.float32)
    tile[2, 2] = 1.0
    tiles = np.repeat(tile[None], 30, axis=0)
    np.testing.assert_array_equal(compiled_turn(jax.random.key(1), tiles), tiles)


def test_tiles_turn_independently_of_each_other_and_by_the_key():
    tiles = jnp.asarray(np.repeat(TILE[None], 64, axis=0))
    first, again, other = (np.asarray(compiled_turn(jax.random.key(k), tiles)) for k in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert len({tile.tobytes() for tile in first}) == 8


def random_tiles(num_tiles, size=9, bands=3, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, (num_tiles, size, size, bands)).astype(dtype)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_crop_is_its_twin(dtype):
    tiles = random_tiles(12, dtype=dtype)
    boxes = draw_boxes(jax.random.key(0), len(tiles), Strength(smallest_area=0.2))
    found = compiled_crop(tiles, boxes)
    assert found.dtype == jnp.float32
    expected = [reference.crop(tile, box) for tile, box in zip(tiles, np.asarray(boxes), strict=True)]
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_whole_tile_as_a_crop_is_the_tile():
    tiles = random_tiles(12)
    boxes = draw_boxes(jax.random.key(0), 12, Strength(smallest_area=1.0, largest_aspect=1.0))
    np.testing.assert_allclose(compiled_crop(tiles, boxes), tiles, atol=1e-3)


def test_boxes_keep_to_the_ranges_and_use_them():
    boxes = np.asarray(draw_boxes(jax.random.key(0), 4000, Strength(0.25, 2.0)))
    corners, sides = boxes[:, :2], boxes[:, 2:]
    assert corners.min() >= 0 and (corners + sides).max() <= 1 + 1e-6
    aspects = sides[:, 1] / sides[:, 0]
    assert 0.5 - 1e-4 < aspects.min() < 0.55 and 1.9 < aspects.max() < 2 + 1e-4
    areas = sides.prod(axis=1)
    assert 0.24 < areas.min() < 0.27 and areas.max() > 0.9
    uncut = sides.max(axis=1) < 1
    assert np.abs(corners[uncut] / (1 - sides[uncut])).mean() == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("bands", "is_rgb"), [(3, True), (3, False), (5, False)])
def test_colours_are_their_twin(bands, is_rgb):
    tiles = random_tiles(6, bands=bands, dtype=np.float32)
    strength = Strength(brightness=0.5, contrast=0.5, saturation=0.5)
    colours = draw_colours(jax.random.key(0), 6, 1 if is_rgb else bands, strength)
    found = jax.jit(recolour, static_argnames="is_rgb")(tiles, colours, is_rgb=is_rgb)
    expected = [
        reference.recolour(tile, *(np.asarray(part[i], np.float64) for part in colours), is_rgb)
        for i, tile in enumerate(tiles)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    for factors in colours:
        assert 0.5 <= factors.min() < factors.max() <= 1.5


@pytest.mark.parametrize("bands", [3, 13])
def test_choices(bands):
    tiles = jnp.asarray(random_tiles(16, bands=bands))
    key = jax.random.key(3)
    results = {
        choice: np.asarray(compiled_augment(choice, key, tiles, is_rgb=bands == 3))
        for choice in ("none", "turn", "full")
    }
    np.testing.assert_array_equal(results["none"], tiles)
    np.testing.assert_array_equal(results["turn"], compiled_turn(key, tiles))
    full = results["full"]
    assert full.dtype == np.float32 and full.shape == tiles.shape
    assert full.min() >= 0 and full.max() <= 255
    again = compiled_augment("full", key, tiles, is_rgb=bands == 3)
    np.testing.assert_array_equal(full, again)
    assert (full != np.asarray(compiled_augment("full", jax.random.key(4), tiles, is_rgb=bands == 3))).any()


def test_a_picture_without_any_strength_is_the_tile():
    tiles = random_tiles(4)
    none = Strength(1.0, 1.0, 0.0, 0.0, 0.0, turns=False)
    compiled = jax.jit(another_picture, static_argnums=2, static_argnames="is_rgb")
    found = compiled(jax.random.key(0), tiles, none, is_rgb=True)
    np.testing.assert_allclose(found, tiles, atol=1e-3)
