"""Augmentation on the device: random variants of a tile, drawn from a key each time.

A tile seen from above has no preferred direction (`turn`); a crop shows a part of it, enlarged, and colour
differs with season, sun and sensor (`full`). Every draw has static shapes, so that nothing compiles twice.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

_WHITE = 255.0


class Strength(NamedTuple):
    """How far the variants of a tile may differ from it.

    Attributes:
      smallest_area: minimum share of the tile that a crop shows, in (0, 1]; 1 with `largest_aspect` 1 keeps
        the whole tile.
      largest_aspect: maximum ratio of the longer to the shorter side of a crop; at least 1.
      brightness: values are multiplied by a factor in [1 - brightness, 1 + brightness].
      contrast: likewise, the distances from the mean of the tile.
      saturation: likewise, the distances from the grey picture; only of RGB.
      turns: whether tiles are mirrored and rotated by right angles.
    """

    smallest_area: float = 0.5
    largest_aspect: float = 4 / 3
    brightness: float = 0.2
    contrast: float = 0.2
    saturation: float = 0.2
    turns: bool = True


class Colours(NamedTuple):
    """Factors around 1 for a batch of tiles.

    Attributes:
      brightness: float32[B, S].
      contrast: float32[B, S].
      saturation: float32[B].
    """

    brightness: jax.Array
    contrast: jax.Array
    saturation: jax.Array


def augment(choice: str, key: jax.Array, tiles: jax.Array, *, is_rgb: bool) -> jax.Array:
    """Augment a batch according to the setting `augment`.

    Args:
      choice: `none`, `turn` (`flip_and_turn`) or `full` (`another_picture` at its usual strength).
      key: of the draw.
      tiles: uint8 or float32[B, H, H, S] in [0, 255].
      is_rgb: as in `recolour`.

    Returns:
      [B, H, H, S] in [0, 255]; float32 for `full`, else of the dtype of `tiles`.
    """
    if choice == "full":
        return another_picture(key, tiles, Strength(), is_rgb=is_rgb)
    return flip_and_turn(key, tiles) if choice == "turn" else tiles


def another_picture(key: jax.Array, tiles: jax.Array, strength: Strength, *, is_rgb: bool) -> jax.Array:
    """Crop, mirror, rotate and recolour each tile, independently of the others.

    Args:
      key: key of the draw.
      tiles: uint8 or float32[B, H, H, S] in [0, 255].
      strength: how far the tiles may change.
      is_rgb: as in `recolour`.

    Returns:
      float32[B, H, H, S] in [0, 255].
    """
    crop_key, turn_key, colour_key = jax.random.split(key, 3)
    pictures = crop(tiles, draw_boxes(crop_key, len(tiles), strength))
    pictures = flip_and_turn(turn_key, pictures) if strength.turns else pictures
    colours = draw_colours(colour_key, len(tiles), 1 if is_rgb else tiles.shape[-1], strength)
    return recolour(pictures, colours, is_rgb=is_rgb)


def flip_and_turn(key: jax.Array, tiles: jax.Array) -> jax.Array:
    """Mirror and rotate each tile by right angles, with all eight orientations equally likely.

    Args:
      key: of the draw.
      tiles: [B, H, H, S], any dtype.

    Returns:
      The tiles, each in one of its eight orientations.
    """
    orientation = jax.random.randint(key, (tiles.shape[0],), 0, 8)
    return jax.vmap(_orient)(tiles, orientation)


def draw_boxes(key: jax.Array, num_tiles: int, strength: Strength) -> jax.Array:
    """Draw the part of each tile that a crop shows.

    The area is uniform in [smallest_area, 1], and so are the logarithm of the aspect ratio and, within the
    tile, the position. A side that would be longer than the tile is shortened to it.

    Returns:
      float32[B, 4]: top, left, height, width, as shares of the tile's side.
    """
    area_key, aspect_key, place_key = jax.random.split(key, 3)
    area = jax.random.uniform(area_key, (num_tiles,), minval=strength.smallest_area, maxval=1.0)
    longest = jnp.log(jnp.float32(strength.largest_aspect))
    aspect = jnp.exp(longest * jax.random.uniform(aspect_key, (num_tiles,), minval=-1.0, maxval=1.0))
    sides = jnp.minimum(jnp.sqrt(jnp.stack([area / aspect, area * aspect], axis=1)), 1.0)
    corners = (1.0 - sides) * jax.random.uniform(place_key, (num_tiles, 2))
    return jnp.concatenate([corners, sides], axis=1)


def crop(tiles: jax.Array, boxes: jax.Array) -> jax.Array:
    """Enlarge a part of each tile to the whole square, bilinearly.

    Args:
      tiles: uint8 or float32[B, H, H, S].
      boxes: float32[B, 4], from `draw_boxes`.

    Returns:
      float32[B, H, H, S].
    """
    return jax.vmap(_crop)(tiles.astype(jnp.float32), boxes)


def draw_colours(key: jax.Array, num_tiles: int, num_groups: int, strength: Strength) -> Colours:
    """Draw uniform factors for each tile; `num_groups` is 1 if its bands share them, else S."""
    keys = jax.random.split(key, 3)
    shapes = ((num_tiles, num_groups), (num_tiles, num_groups), (num_tiles,))
    spreads = (strength.brightness, strength.contrast, strength.saturation)
    return Colours(
        *(
            jax.random.uniform(key, shape, minval=1.0 - spread, maxval=1.0 + spread)
            for key, shape, spread in zip(keys, shapes, spreads, strict=True)
        )
    )


def recolour(tiles: jax.Array, colours: Colours, *, is_rgb: bool) -> jax.Array:
    """Change brightness, then contrast, then saturation, and cut to [0, 255].

    Args:
      tiles: float32[B, H, H, S].
      colours: the factors.
      is_rgb: whether the bands are red, green and blue: then contrast is relative to one mean, and grey is
        the mean of the three. Otherwise each band is a picture by itself, without saturation.

    Returns:
      float32[B, H, H, S].
    """
    brightness, contrast = (jnp.expand_dims(factors, (1, 2)) for factors in colours[:2])
    pictures = tiles * brightness
    mean = jnp.mean(pictures, axis=(1, 2, 3) if is_rgb else (1, 2), keepdims=True)
    pictures = mean + (pictures - mean) * contrast
    if is_rgb:
        grey = jnp.mean(pictures, axis=3, keepdims=True)
        pictures = grey + (pictures - grey) * jnp.expand_dims(colours.saturation, (1, 2, 3))
    return jnp.clip(pictures, 0.0, _WHITE)


def _orient(tile: jax.Array, orientation: jax.Array) -> jax.Array:
    tile = jnp.where(orientation >= 4, tile[:, ::-1], tile)
    turned = [jnp.rot90(tile, turns) for turns in range(4)]
    return jax.lax.select_n(orientation % 4, *turned)


def _crop(tile: jax.Array, box: jax.Array) -> jax.Array:
    corner, sides = jnp.split(box, 2)
    size = tile.shape[0]
    return jax.image.scale_and_translate(
        tile, tile.shape, (0, 1), 1.0 / sides, -corner * size / sides, "linear", antialias=False
    )
