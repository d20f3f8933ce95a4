"""Splits an archive into training, query and searched images."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError
from anneal_jax.seeds import Use, host_seed
from anneal_jax.types import IntArray

_SPLIT_USE = 0x53504C54  # "SPLT": separates this stream from others with the same seed


class Split(NamedTuple):
    """Three disjoint parts that cover all images; each int32, sorted, never empty."""

    train: IntArray
    query: IntArray
    archive: IntArray


def split_images(
    num_images: int,
    *,
    seed: int,
    train_fraction: float = 0.8,
    query_fraction: float = 0.1,
    groups: npt.ArrayLike | None = None,
) -> Split:
    """Split images at random; the searched archive gets those not in train or query.

    A group is never split. Groups of several images are placed first, largest first, each in a part drawn
    in proportion to the room left among the parts that can hold it; single images then fill the rest. The
    sizes are exact if there are more than 3 (M - 1) single images, M being the size of the largest group;
    otherwise they may be off by a group.

    Args:
      num_images: N.
      seed: non-negative; equal arguments give equal splits.
      train_fraction: share of the images within (0, 1); the size is rounded.
      query_fraction: likewise; both together are below 1.
      groups: int[N], equal numbers stay in one part, as from `duplicate_groups`.

    Raises:
      ConfigError: an argument is out of range, or a part would be empty.

    Source: hoxha2024anneal for 80/10/10; keeping duplicates together is this project's.

    >>> [part.size for part in split_images(2100, seed=0)]
    [1680, 210, 210]
    """
    if seed < 0:
        raise ConfigError(f"seed is {seed}; give a number of at least 0")
    sizes = _part_sizes(num_images, train_fraction, query_fraction)
    group_numbers = np.arange(num_images) if groups is None else np.asarray(groups)
    if group_numbers.shape != (num_images,):
        raise ConfigError(f"groups has shape {group_numbers.shape}; it needs one for each image")
    part = _draw_parts(sizes, group_numbers, np.random.default_rng((seed, _SPLIT_USE)))
    split = Split(*(np.flatnonzero(part == number).astype(np.int32) for number in range(3)))
    for name, indices in zip(Split._fields, split, strict=True):
        if not indices.size:
            raise ConfigError(
                f"{num_images} images at train_fraction={train_fraction} and"
                f" query_fraction={query_fraction} leave none for {name}; give more images, other"
                " fractions or smaller groups"
            )
    return split


def split_images_by_digest(config: ExperimentConfig, digests: npt.NDArray[np.uint8]) -> Split:
    """Split tiles by their digests uint8[N, 32], without using labels.

    Raises:
      ConfigError: the shares leave a part empty.
    """
    return split_images(
        len(digests),
        seed=host_seed(config.seed, 0, Use.SPLIT),
        train_fraction=config.train_fraction,
        query_fraction=config.query_fraction,
        groups=duplicate_groups(digests) if config.keep_duplicates_together else None,
    )


def duplicate_groups(digests: npt.NDArray[np.uint8]) -> IntArray:
    """Number byte-identical tiles alike.

    Args:
      digests: uint8[N, 32], as from `Archive.digests`.

    Returns:
      int32[N], numbered in the order of first appearance.

    >>> duplicate_groups(np.array([[7, 7], [1, 2], [7, 7]], np.uint8))
    array([0, 1, 0], dtype=int32)
    """
    _, first_row, inverse = np.unique(digests, axis=0, return_index=True, return_inverse=True)
    rank = np.empty(len(first_row), np.int32)
    rank[np.argsort(first_row)] = np.arange(len(first_row), dtype=np.int32)
    return rank[inverse.reshape(-1)]


def _part_sizes(num_images: int, train_fraction: float, query_fraction: float) -> np.ndarray:
    if min(train_fraction, query_fraction) <= 0 or train_fraction + query_fraction >= 1:
        raise ConfigError(
            f"train_fraction={train_fraction} and query_fraction={query_fraction} must each be"
            " above 0 and together below 1, so that the searched archive has a share"
        )
    num_train, num_query = round(num_images * train_fraction), round(num_images * query_fraction)
    return np.array([num_train, num_query, num_images - num_train - num_query])


def _draw_parts(sizes: np.ndarray, groups: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return int[N], the part of each image."""
    _, group_of, counts = np.unique(groups, return_inverse=True, return_counts=True)
    part = np.empty(len(counts), np.int8)
    room = sizes.copy()
    several = rng.permutation(np.flatnonzero(counts > 1))
    for group in several[np.argsort(-counts[several], kind="stable")]:
        chosen = _draw_part(room, int(counts[group]), rng)
        part[group] = chosen
        room[chosen] = max(room[chosen] - counts[group], 0)
    single = np.flatnonzero(counts == 1)
    part[single] = rng.permutation(np.repeat(np.arange(3), room))[: single.size]
    return part[group_of]


def _draw_part(room: np.ndarray, count: int, rng: np.random.Generator) -> int:
    fitting = np.where(room >= count, room, 0)
    if not fitting.any():
        return int(np.argmax(room))
    return int(rng.choice(3, p=fitting / fitting.sum()))
