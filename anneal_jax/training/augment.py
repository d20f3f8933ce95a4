"""Augmentation on the device: a tile seen from above has no preferred direction."""

import jax
import jax.numpy as jnp


def flip_and_turn(key: jax.Array, tiles: jax.Array) -> jax.Array:
    """Mirror and turn each tile by a right angle, each of the eight ways equally likely.

    Args:
      key: of the draw.
      tiles: [B, S, S, channels], any dtype.

    Returns:
      The tiles, each in one of its eight orientations.
    """
    orientation = jax.random.randint(key, (tiles.shape[0],), 0, 8)
    return jax.vmap(_orient)(tiles, orientation)


def _orient(tile: jax.Array, orientation: jax.Array) -> jax.Array:
    tile = jnp.where(orientation >= 4, tile[:, ::-1], tile)
    turned = [jnp.rot90(tile, turns) for turns in range(4)]
    return jax.lax.select_n(orientation % 4, *turned)
