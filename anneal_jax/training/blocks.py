"""Processes rows in blocks of one shape: one compilation and bounded memory for any number of rows."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

BLOCK_ROWS = 16_384
"""Rows handled at once; archives up to this size are one block of their own size."""


def padded(rows: np.ndarray, num_rows: int) -> np.ndarray:
    """Pad with zeros to `num_rows` rows, so that the last batch needs no compilation of its own.

    >>> padded(np.ones((2, 3)), 4).shape
    (4, 3)
    """
    missing = num_rows - len(rows)
    return np.pad(rows, [(0, missing)] + [(0, 0)] * (rows.ndim - 1)) if missing else rows


def map_blocks(function: Callable[[np.ndarray], Any], rows: np.ndarray) -> Any:
    """Apply a function that treats each row separately, block by block.

    Args:
      function: from an array [B, ...] to a pytree of arrays [B, ...], with one B in all calls.
      rows: [N, ...].

    Returns:
      The pytree, of host arrays [N, ...].

    >>> map_blocks(lambda block: {"doubled": 2 * block}, np.arange(3.0))
    {'doubled': array([0., 2., 4.])}
    """
    size = max(1, min(BLOCK_ROWS, len(rows)))
    starts = range(0, max(1, len(rows)), size)
    parts = [_apply(function, rows[start : start + size], size) for start in starts]
    return jax.tree.map(lambda *arrays: np.concatenate(arrays), *parts)


def _apply(function: Callable[[np.ndarray], Any], block: np.ndarray, size: int) -> Any:
    results = function(padded(block, size))
    return jax.tree.map(lambda array: np.asarray(array)[: len(block)], results)
