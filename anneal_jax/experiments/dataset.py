"""The data of a run: the archive, its classes, its split and its identical tiles."""

import hashlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive, require_classes
from anneal_jax.data.splits import Split, duplicate_groups, split_images_by_digest
from anneal_jax.errors import ArchiveError
from anneal_jax.models.pretrained import preparation, weights_digest
from anneal_jax.pairs.canonical import PairKeys, keys_within, pair_keys, pairs_of_keys
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.training.network import prepared_backbone
from anneal_jax.types import Archive, IntArray, PairIndices

_MAX_IDENTICAL_PAIRS = 10_000_000


class Dataset(NamedTuple):
    """An archive prepared for active learning.

    Attributes:
      archive: the tiles.
      labels: int32[N], class of each tile; only used by the oracle and the metrics.
      split: training, query and searched images.
      identical: int64[M], sorted keys of the pairs of byte-identical tiles; never asked.
      tiles_sha256: SHA-256 of all tiles in order.
    """

    archive: Archive
    labels: IntArray
    split: Split
    identical: PairKeys
    tiles_sha256: str

    @property
    def identical_in_train(self) -> PairKeys:
        """Keys of the identical pairs among the training images, by their positions in `split.train`."""
        return self.local_keys(pairs_of_keys(self.identical, len(self.labels)))

    def local_keys(self, pair_indices: PairIndices) -> PairKeys:
        """Return the sorted keys of the pairs within the training images.

        Args:
          pair_indices: int32[P, 2], canonical indices into the archive.

        Returns:
          int64[M], keys of positions in `split.train`, which is sorted, so that pairs stay canonical.
        """
        return keys_within(self.split.train, pair_indices)


def load_dataset(config: ExperimentConfig) -> Dataset:
    """Open the archive and split it.

    Raises:
      ArchiveError: the archive cannot be used, or has so many copies of a tile that their pairs exceed ten
        million; the message says why and what to do.
      ConfigError: `on_bad_image` is unknown, or the shares leave a part of the split empty.
    """
    archive = open_archive(
        config.archive, labels_csv=config.labels or None, on_bad_image=config.on_bad_image
    )
    labels = require_classes(archive)
    digests = archive.digests()
    groups = duplicate_groups(digests)
    identical = identical_pairs(groups, archive)  # before the split, because it may refuse the archive
    split = split_images_by_digest(config, digests)
    return Dataset(archive, labels, split, identical, hashlib.sha256(digests.tobytes()).hexdigest())


def class_oracle(config: ExperimentConfig, dataset: Dataset) -> ClassOracle:
    """Return the simulated annotator, who answers from class labels with the configured errors."""
    return ClassOracle(dataset.labels, config.oracle_wrong, config.oracle_unsure, config.seed)


def fingerprints(config: ExperimentConfig, dataset: Dataset) -> dict[str, str]:
    """Return the SHA-256 of every input that the settings name by a path, by its name in messages.

    The preparation of tiles for pretrained weights is stored in full, because it comes from files next to
    them.
    """
    found = {
        "tiles": dataset.tiles_sha256,
        "labels": hashlib.sha256(dataset.labels.tobytes()).hexdigest(),
    }
    if config.pretrained != "none":
        found["weights"] = weights_digest(config.pretrained)
        if text := preparation(prepared_backbone(config)):
            found["preprocessing"] = text
    return found


def identical_pairs(groups: IntArray, archive: Archive) -> PairKeys:
    """List the pairs of identical tiles.

    Args:
      groups: int[N], equal numbers for identical tiles.
      archive: holds the tiles.

    Returns:
      int64[P], their sorted keys.

    Raises:
      ArchiveError: there are too many; the message names the largest group.
    """
    order = np.argsort(groups, kind="stable").astype(np.int32)
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    _refuse_many_copies(order[starts], sizes, archive)
    keys = [np.empty(0, np.int64)]
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        places = np.stack(np.triu_indices(size, 1), axis=1)  # canonical, because `order` is stable
        keys.append(pair_keys(order[start : start + size][places], len(groups)))
    return np.sort(np.concatenate(keys))


def _refuse_many_copies(examples: IntArray, sizes: npt.NDArray[np.int64], archive: Archive) -> None:
    num_pairs = int(np.sum(sizes * (sizes - 1) // 2))
    if num_pairs > _MAX_IDENTICAL_PAIRS:
        largest = np.argmax(sizes)
        raise ArchiveError(
            f"{archive.spec} holds {num_pairs:,} pairs of identical tiles, more than the "
            f"{_MAX_IDENTICAL_PAIRS:,} that can be kept from being asked; the largest group is "
            f"{sizes[largest]:,} copies of {archive.ids[examples[largest]]!r}. Remove the copies."
        )
