"""Draws the batches of each step on the host, so that a jitted step always has one shape."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import ConfigError
from anneal_jax.types import IntArray, PairIndices, PairLabels


class PairBatches(NamedTuple):
    """Batches of training pairs, one row per step.

    Attributes:
      pair_indices: int32[T, B, 2], images of each pair, order swapped at random.
      labels: float32[T, B], 1 similar, 0 dissimilar.
    """

    pair_indices: npt.NDArray[np.int32]
    labels: npt.NDArray[np.float32]


class GroupBatches(NamedTuple):
    """Batches of images whose groups are known, one row per step.

    Attributes:
      images: int32[T, B].
      groups: int32[T, B]; -1 is an unused place.
    """

    images: npt.NDArray[np.int32]
    groups: npt.NDArray[np.int32]


def cycle_permutations(rng: np.random.Generator, num_items: int, num_draws: int) -> npt.NDArray[np.intp]:
    """Draw items so that each comes once before any comes twice.

    Args:
      rng: source of randomness.
      num_items: number of items, at least 1.
      num_draws: number of draws.

    Returns:
      int[num_draws] in [0, num_items).
    """
    cycles = -(-num_draws // num_items)
    # One call for all cycles: if the rarer class is a single pair, there are thousands of cycles.
    return rng.permuted(np.tile(np.arange(num_items), (cycles, 1)), axis=1).reshape(-1)[:num_draws]


def draw_image_batches(
    rng: np.random.Generator, num_images: int, *, num_steps: int, batch_size: int
) -> npt.NDArray[np.intp]:
    """Draw the batches of a fit on images.

    Args:
      rng: source of randomness.
      num_images: number of images.
      num_steps: T.
      batch_size: B, or the number of images if that is smaller, so that no image is twice in a batch.

    Returns:
      int[T, min(B, num_images)] in [0, num_images); the images of one step differ.
    """
    size = min(batch_size, num_images)
    per_cycle = num_images // size
    # The rest of each cycle is dropped: a batch across two cycles could have an image twice.
    cycles = np.tile(np.arange(num_images), (-(-num_steps // per_cycle), 1))
    whole = rng.permuted(cycles, axis=1)[:, : per_cycle * size]
    return whole.reshape(-1, size)[:num_steps]


def draw_group_batches(
    rng: np.random.Generator, images: IntArray, groups: IntArray, *, num_steps: int, batch_size: int
) -> GroupBatches:
    """Draw the batches of a fit on groups, in one shape even if there are few images.

    Args:
      rng: source of randomness.
      images: int32[M], indices into the archive.
      groups: int32[M], the group of each, not negative.
      num_steps: T.
      batch_size: B; if there are fewer images, the other places of each row are unused.
    """
    drawn = draw_image_batches(rng, len(images), num_steps=num_steps, batch_size=batch_size)
    rest = [(0, 0), (0, batch_size - drawn.shape[1])]
    return GroupBatches(
        np.pad(images[drawn], rest), np.pad(groups[drawn], rest, constant_values=-1).astype(np.int32)
    )


def draw_weighted_group_batches(
    rng: np.random.Generator,
    images: IntArray,
    groups: IntArray,
    weights: npt.NDArray[np.float64],
    *,
    num_steps: int,
    batch_size: int,
) -> GroupBatches:
    """Draw the batches of a fit on groups that are not all equally sure.

    Args:
      rng: source of randomness.
      images: int32[M], indices into the archive.
      groups: int32[M], the group of each, not negative.
      weights: float64[M] >= 0, not all 0; an image is drawn in proportion, and may be twice in a step.
      num_steps: T.
      batch_size: B.
    """
    drawn = rng.choice(len(images), size=(num_steps, batch_size), p=weights / weights.sum())
    return GroupBatches(images[drawn], groups[drawn].astype(np.int32))


def draw_pair_batches(
    rng: np.random.Generator,
    pair_indices: PairIndices,
    pair_labels: PairLabels,
    *,
    num_steps: int,
    batch_size: int,
    oversample: bool = True,
) -> PairBatches:
    """Draw the batches of one round.

    With `oversample` similar and dissimilar pairs are drawn equally often, each class in cycles
    without replacement; if only one class exists, it fills every batch.

    Args:
      rng: source of randomness.
      pair_indices: int32[P, 2].
      pair_labels: int8[P], 1 similar, 0 dissimilar.
      num_steps: T.
      batch_size: B; may be larger than P.
      oversample: whether the minority class is drawn more often.

    Raises:
      ConfigError: there are no pairs.

    Source: henkel2023anneal, section 3 (oversampling of the minority class).
    """
    if not len(pair_labels):
        raise ConfigError("no pair is answered yes or no, so there is nothing to train on; answer some")
    shape = (num_steps, batch_size)
    classes = [np.flatnonzero(pair_labels == label) for label in (1, 0)]
    if oversample and all(rows.size for rows in classes):
        num_similar = batch_size // 2
        counts = (num_similar, batch_size - num_similar)
        parts = [
            rows[cycle_permutations(rng, rows.size, num_steps * count)].reshape(num_steps, count)
            for rows, count in zip(classes, counts, strict=True)
        ]
        drawn = np.concatenate(parts, axis=1)
    else:
        drawn = cycle_permutations(rng, len(pair_labels), num_steps * batch_size).reshape(shape)
    pairs = pair_indices[drawn]
    # The classifier sees [f_i; f_j]: without the swap it would learn the order i < j.
    is_swapped = rng.random(shape) < 0.5
    pairs = np.where(is_swapped[..., None], pairs[..., ::-1], pairs)
    return PairBatches(pairs, pair_labels[drawn].astype(np.float32))
