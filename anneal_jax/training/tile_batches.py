"""The batches of the finetune regime: unique tiles, and pairs or groups that point into them.

All batches of a fit have one shape, however many pairs are known. Unused places are padding: no pair points
to them, and their weight is 0.
"""

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.training.learner import TrainingPairs
from anneal_jax.training.sampling import (
    GroupBatches,
    draw_group_batches,
    draw_pair_batches,
    draw_weighted_group_batches,
)
from anneal_jax.training.shared_tile_batches import group_draws
from anneal_jax.types import IntArray

_TILES_PER_PAIR = 0.75
"""Tiles that a batch has room for, per pair that it has room for; two towers encode 2.

On UC Merced's pairs of any round, batches with 3/4 encode 0.8 to 0.9 tiles per pair, batches with 1 about
1, and batches with 1/2 hardly fewer than those with 3/4.
"""

_MIN_BATCHES = 8
"""Minimum number of batches grouped at once, because the last is seldom full; epochs are drawn together."""


class TileBatch(NamedTuple):
    """One batch, or several along a first axis: NumPy arrays on the host, JAX arrays in a step.

    Attributes:
      rows: int32[U], different tiles of the archive; unused places have row 0.
      is_tile: bool[U], False for an unused place.
      places: int32[B, 2] for pairs, int32[B] for groups: positions in `rows`.
      targets: float32[B], 1 similar, 0 dissimilar; or int32[B], groups, -1 for an unused place.
      weights: float32[B], weights in the loss, a sum: 1 / B even if there are fewer targets, so that all
        targets of a fit have the same weight; 0 for an unused place.
    """

    rows: Any
    is_tile: Any
    places: Any
    targets: Any
    weights: Any


class Timed(NamedTuple):
    """A batch and its time.

    Attributes:
      batch: a batch.
      epoch: how many epochs were drawn before it.
    """

    batch: TileBatch
    epoch: float


class BatchShape(NamedTuple):
    """The size of every batch.

    Attributes:
      num_tiles: U, places for tiles.
      num_targets: B, places for pairs or groups.
    """

    num_tiles: int
    num_targets: int


def pair_shape(batch_size: int, num_devices: int) -> BatchShape:
    """Return the shape of batches of pairs; each device takes the same number of tiles.

    >>> pair_shape(128, 1), pair_shape(100, 8)
    (BatchShape(num_tiles=96, num_targets=128), BatchShape(num_tiles=80, num_targets=100))
    """
    return BatchShape(_shared(max(2, round(_TILES_PER_PAIR * batch_size)), num_devices), batch_size)


def group_shape(batch_size: int, num_devices: int) -> BatchShape:
    """Return the shape of batches of tiles whose groups are known."""
    return BatchShape(_shared(batch_size, num_devices), batch_size)


def draw_pair_tiles(
    rng: np.random.Generator, pairs: TrainingPairs, shape: BatchShape, *, epochs: int, oversample: bool
) -> Iterator[Timed]:
    """Draw the batches of a fit on pairs.

    Args:
      rng: source of randomness.
      pairs: to train on; P of them.
      shape: of every batch.
      epochs: P pairs are drawn in each.
      oversample: draw similar and dissimilar pairs equally often, as in `draw_pair_batches`.

    Yields:
      Batches grouped by `shared_tile_batches.group_draws`. An epoch is drawn when its first batch is
      requested.

    Raises:
      ConfigError: there are no pairs.
    """
    num_pairs = max(1, len(pairs.labels))  # drawing refuses none
    at_once = math.ceil(_MIN_BATCHES * shape.num_targets / num_pairs)
    for first in range(0, epochs, at_once):
        num_epochs = min(at_once, epochs - first)
        drawn = draw_pair_batches(
            rng,
            pairs.pair_indices,
            pairs.labels,
            num_steps=1,
            batch_size=num_epochs * num_pairs,
            oversample=oversample,
        )
        order = rng.permutation(num_epochs * num_pairs)
        indices, labels = drawn.pair_indices[0][order], drawn.labels[0][order]
        num_done = 0
        for batch in _grouped(indices, labels, shape):
            yield Timed(batch, first + num_done / num_pairs)
            num_done += np.count_nonzero(batch.weights)


def draw_group_tiles(
    rng: np.random.Generator,
    images: IntArray,
    groups: IntArray,
    weights: npt.NDArray[np.float64] | None,
    shape: BatchShape,
    *,
    epochs: int,
) -> Iterator[Timed]:
    """Draw the batches of a fit on groups.

    Args:
      rng: source of randomness.
      images: int32[M].
      groups: int32[M].
      weights: float64[M], as in `draw_weighted_group_batches`; None draws all equally often.
      shape: of every batch.
      epochs: M images are drawn in each, or a few fewer, in whole batches.
    """
    size = min(shape.num_targets, len(images))
    numbers = {"num_steps": epochs * len(images) // size, "batch_size": shape.num_targets}
    if weights is None:
        batches = draw_group_batches(rng, images, groups, **numbers)
    else:
        batches = draw_weighted_group_batches(rng, images, groups, weights, **numbers)
    num_steps = len(batches.images)
    for step in range(num_steps):
        batch = GroupBatches(batches.images[step], batches.groups[step])
        yield Timed(_group_batch(batch, shape), epochs * step / num_steps)


def bounded(batches: Iterable[Timed], max_batches: int, num_epochs: int) -> Iterator[Timed]:
    """End a fit after at most `max_batches`, and adapt the time of each batch to the end that comes first.

    Args:
      batches: batches of the whole fit.
      max_batches: maximum number of batches; 0 is unlimited.
      num_epochs: epochs of the whole fit.

    >>> times = [timed.epoch for timed in bounded((Timed(None, 0.1 * n) for n in range(90)), 4, 9)]
    >>> times
    [0.0, 2.25, 4.5, 6.75]
    """
    pace = num_epochs / max_batches if max_batches else 0.0
    for number, timed in enumerate(itertools.islice(batches, max_batches or None)):
        yield timed._replace(epoch=max(timed.epoch, number * pace))


def validation_batches(pairs: TrainingPairs, shape: BatchShape) -> Iterator[TileBatch]:
    """Yield every pair once. Similar and dissimilar pairs have equal total weight; all weights sum to 1."""
    batches = list(_grouped(pairs.pair_indices, pairs.labels.astype(np.float32), shape))
    num_of = np.bincount(pairs.labels, minlength=2)
    share = 1.0 / (num_of[num_of > 0].size * np.maximum(num_of, 1))
    for batch in batches:
        weights = np.where(batch.weights > 0, share[batch.targets.astype(int)], 0.0)
        yield batch._replace(weights=weights.astype(np.float32))


def _grouped(
    indices: npt.NDArray[np.int32], labels: npt.NDArray[np.float32], shape: BatchShape
) -> Iterator[TileBatch]:
    for draws in group_draws(indices, labels > 0, num_tiles=shape.num_tiles, num_pairs=shape.num_targets):
        rows, places = np.unique(indices[draws], return_inverse=True)
        num_empty = shape.num_targets - len(draws)
        weights = np.full(len(draws), 1 / shape.num_targets, np.float32)
        yield TileBatch(
            *_filled(rows, shape),
            places=np.pad(places.reshape(-1, 2).astype(np.int32), [(0, num_empty), (0, 0)]),
            targets=np.pad(labels[draws], (0, num_empty)),
            weights=np.pad(weights, (0, num_empty)),
        )


def _group_batch(batch: GroupBatches, shape: BatchShape) -> TileBatch:
    is_drawn = batch.groups >= 0
    rows, drawn_places = np.unique(batch.images[is_drawn], return_inverse=True)
    places = np.zeros(shape.num_targets, np.int32)
    places[is_drawn] = drawn_places
    return TileBatch(
        *_filled(rows, shape),
        places=places,
        targets=batch.groups,
        weights=is_drawn.astype(np.float32) / np.float32(shape.num_targets),
    )


def _filled(rows: npt.NDArray[np.int32], shape: BatchShape) -> tuple[npt.NDArray[np.int32], np.ndarray]:
    """Return `rows` and `is_tile` of a batch."""
    num_empty = shape.num_tiles - len(rows)
    return np.pad(rows, (0, num_empty)).astype(np.int32), np.arange(shape.num_tiles) < len(rows)


def _shared(num_tiles: int, num_devices: int) -> int:
    return math.ceil(num_tiles / num_devices) * num_devices
