"""What a run works on: the archive, its split, its duplicates, and a learner over its features."""

import hashlib
import math
from collections.abc import Mapping
from typing import NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive, require_classes
from anneal_jax.data.bands import bands_of
from anneal_jax.data.splits import Split, duplicate_groups, split_images
from anneal_jax.data.tile_cache import open_tiles
from anneal_jax.errors import ArchiveError, ConfigError
from anneal_jax.models.backbones import Backbone, get_backbone
from anneal_jax.models.pretrained import as_pretrained, load_pretrained, prepared_by, weights_digest
from anneal_jax.pairs.canonical import PairKeys, keys_within, pair_keys, pairs_of_keys
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.seeds import Use, device_key, host_seed
from anneal_jax.training.encoding import encode_feed
from anneal_jax.training.features import default_cache_dir, extract_features, standardisation
from anneal_jax.training.feed import HostFeed, ResidentFeed, TileFeed, fits_on_device, make_mesh
from anneal_jax.training.finetune import FinetuneLearner, FinetunePlan
from anneal_jax.training.frozen import FrozenLearner
from anneal_jax.training.head_steps import FitSettings
from anneal_jax.training.learner import Learner
from anneal_jax.types import Archive, FloatArray, IntArray, PairIndices, Params

_MOST_IDENTICAL_PAIRS = 10_000_000


class Problem(NamedTuple):
    """An archive made ready for active learning.

    Attributes:
      archive: the tiles.
      labels: int32[N], the class of each tile; used by the oracle and the metrics alone.
      split: training, query and searched images.
      identical: int64[M], sorted keys of the pairs of byte-identical tiles; never asked.
      tiles_sha256: of all tiles, in their order.
    """

    archive: Archive
    labels: IntArray
    split: Split
    identical: PairKeys
    tiles_sha256: str

    @property
    def identical_in_train(self) -> PairKeys:
        """Keys of those pairs among the training images, by their places in `split.train`."""
        return self.local_keys(pairs_of_keys(self.identical, len(self.labels)))

    def local_keys(self, pair_indices: PairIndices) -> PairKeys:
        """Return the sorted keys of the pairs that lie within the training images.

        Args:
          pair_indices: int32[P, 2], canonical indices into the archive.

        Returns:
          int64[M], keys of places in `split.train`, which is sorted, so that canonical pairs stay so.
        """
        return keys_within(self.split.train, pair_indices)


class Network(NamedTuple):
    """A backbone with its weights.

    Attributes:
      backbone: the network.
      variables: its parameters.
      digest: SHA-256 of the weights, or the text that random weights were drawn from.
      image_size: side in pixels of its input.
    """

    backbone: Backbone
    variables: Params
    digest: str
    image_size: int


def load_problem(config: ExperimentConfig) -> Problem:
    """Open the archive and split it.

    Raises:
      ArchiveError: the archive cannot be used, or holds so many copies of a tile that their pairs
        exceed ten million; the message says why and what to do.
      ConfigError: `on_bad_image` is unknown, or the shares leave a part of the split empty.
    """
    archive = open_archive(
        config.archive, labels_csv=config.labels or None, on_bad_image=config.on_bad_image
    )
    labels = require_classes(archive)
    digests = archive.digests()
    groups = duplicate_groups(digests)
    identical = _identical_pairs(groups, archive)  # before the split: it may refuse the archive
    split = split_archive(config, digests)
    return Problem(archive, labels, split, identical, hashlib.sha256(digests.tobytes()).hexdigest())


def class_oracle(config: ExperimentConfig, problem: Problem) -> ClassOracle:
    """Return the simulated person who answers by the class labels, and errs as configured."""
    return ClassOracle(problem.labels, config.oracle_wrong, config.oracle_unsure, config.seed)


def split_archive(config: ExperimentConfig, digests: npt.NDArray[np.uint8]) -> Split:
    """Split tiles by their digests uint8[N, 32]; no label is looked at.

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


def prepared_backbone(config: ExperimentConfig, inputs: Mapping[str, str] | None = None) -> Backbone:
    """Return the backbone, its input prepared as that of its pretrained weights was.

    Args:
      config: the settings.
      inputs: `inputs.json` of a workdir, which remembers the preparation, so that no weights are looked at.

    Raises:
      ConfigError: no backbone has the configured name.
      WeightsError: the weights, or what lies beside them, cannot be used.
    """
    bands = bands_of(config.archive)
    backbone = get_backbone(config.backbone, num_bands=len(bands.numbers), rgb_bands=bands.rgb)
    if inputs is not None:
        return prepared_by(backbone, inputs.get("preprocessing", ""))
    return backbone if config.pretrained == "none" else as_pretrained(backbone, config.pretrained)


def input_size(config: ExperimentConfig, inputs: Mapping[str, str] | None = None) -> int:
    """Return the side in pixels that tiles are resized to; arguments and errors as `prepared_backbone`."""
    return config.image_size or prepared_backbone(config, inputs).default_image_size


def load_network(config: ExperimentConfig, inputs: Mapping[str, str] | None = None) -> Network:
    """Build the backbone, from a weights file or at random.

    Args:
      config: the settings.
      inputs: as in `prepared_backbone`.

    Raises:
      ConfigError: no backbone has the configured name, or it does not take tiles of this size.
      WeightsError: the weights file cannot be used.
    """
    backbone = prepared_backbone(config, inputs)
    image_size = config.image_size or backbone.default_image_size
    if config.pretrained == "none":
        variables = backbone.init(device_key(config.seed, 0, Use.WEIGHTS), image_size)
        return Network(
            backbone, variables, f"random, seed {config.seed}, jax {jax.__version__}", image_size
        )
    variables = load_pretrained(backbone, config.pretrained)
    return Network(backbone, variables, weights_digest(config.pretrained), image_size)


def make_learner(config: ExperimentConfig, problem: Problem, *, with_classifier: bool) -> Learner:
    """Build the learner of the configured regime.

    Raises:
      ConfigError: the finetune regime is asked of ready vectors, which have no backbone; or as in
        `load_network`, or the cache folder cannot be written to.
      ArchiveError: a tile cannot be read.
      WeightsError: the weights file cannot be used, or gives features that are not finite.
    """
    archive, train = problem.archive, problem.split.train
    settings = FitSettings(
        learning_rate=config.learning_rate,
        feature_dropout=config.feature_dropout,
        margin=config.margin,
        beta=config.beta,
        group_loss=config.group_loss,
        temperature=config.temperature,
    )
    if config.regime == "frozen":
        features = _frozen_features(config, archive)
        mean, scale = standardisation(features, train)
        return FrozenLearner(
            stored_features=features,
            mean=mean,
            scale=scale,
            train_images=train,
            with_classifier=with_classifier,
            seed=config.seed,
            num_steps=config.steps,
            batch_size=config.batch_size,
            oversample=config.oversample,
            settings=settings,
        )
    if archive.kind == "vector":
        raise ConfigError(
            f"regime='finetune' needs tiles, and {config.archive} holds ready vectors; use frozen."
        )
    return _finetune_learner(config, problem, settings, with_classifier=with_classifier)


def _finetune_learner(
    config: ExperimentConfig, problem: Problem, settings: FitSettings, *, with_classifier: bool
) -> FinetuneLearner:
    network = load_network(config)
    if config.batch_norm == "live":
        network.backbone.require_batch_norm()
    feed = tile_feed(config, problem.archive, network)
    features = encode_feed(network.backbone, network.variables, feed)
    mean, scale = standardisation(features, problem.split.train)
    plan = FinetunePlan(**{name: getattr(config, name) for name in FinetunePlan._fields})
    return FinetuneLearner(
        feed=feed,
        backbone=network.backbone,
        variables=network.variables,
        mean=mean,
        scale=scale,
        with_classifier=with_classifier,
        seed=config.seed,
        plan=plan,
        settings=settings,
    )


def tile_feed(config: ExperimentConfig, archive: Archive, network: Network) -> TileFeed:
    """Decode an archive's tiles once into the cache, and keep them on the devices if they fit.

    Raises:
      ArchiveError: a tile cannot be read.
      ConfigError: the cache folder cannot be written to, or has not enough space.
    """
    tiles = open_tiles(
        archive,
        network.image_size,
        network.backbone.resampling,
        cache_dir=config.cache_dir or default_cache_dir(),
    )
    mesh = make_mesh(config.num_devices)
    if fits_on_device(math.prod(tiles.shape)):
        return ResidentFeed(tiles.load(np.arange(tiles.shape[0])), mesh)
    return HostFeed(tiles.load, tiles.shape[0], tiles.shape[1:], mesh)


def _frozen_features(config: ExperimentConfig, archive: Archive) -> FloatArray:
    if archive.kind == "vector":
        return archive.load(np.arange(len(archive.ids)), 0)
    network = load_network(config)
    return extract_features(
        archive,
        network.backbone,
        network.variables,
        image_size=network.image_size,
        weights_digest=network.digest,
        cache_dir=config.cache_dir or default_cache_dir(),
    )


def _identical_pairs(groups: IntArray, archive: Archive) -> PairKeys:
    """Return the sorted keys of all pairs of tiles with one group number."""
    order = np.argsort(groups, kind="stable").astype(np.int32)
    _, starts, sizes = np.unique(groups[order], return_index=True, return_counts=True)
    _refuse_many_copies(order[starts], sizes, archive)
    keys = [np.empty(0, np.int64)]
    for start, size in zip(starts[sizes > 1], sizes[sizes > 1], strict=True):
        places = np.stack(np.triu_indices(size, 1), axis=1)  # canonical, since `order` is stable
        keys.append(pair_keys(order[start : start + size][places], len(groups)))
    return np.sort(np.concatenate(keys))


def _refuse_many_copies(examples: IntArray, sizes: npt.NDArray[np.int64], archive: Archive) -> None:
    num_pairs = int(np.sum(sizes * (sizes - 1) // 2))
    if num_pairs > _MOST_IDENTICAL_PAIRS:
        largest = np.argmax(sizes)
        raise ArchiveError(
            f"{archive.spec} holds {num_pairs:,} pairs of identical tiles, more than the "
            f"{_MOST_IDENTICAL_PAIRS:,} that can be kept from being asked; the largest group is "
            f"{sizes[largest]:,} copies of {archive.ids[examples[largest]]!r}. Remove the copies."
        )
