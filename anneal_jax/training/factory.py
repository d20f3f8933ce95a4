"""The learner that the settings name, over the tiles or the features of an archive."""

import math

import numpy as np

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.tile_cache import open_tiles
from anneal_jax.errors import ConfigError
from anneal_jax.losses.registry import group_loss_settings
from anneal_jax.seeds import Use
from anneal_jax.training.encoding import encode_feed
from anneal_jax.training.features import default_cache_dir, extract_features, standardisation
from anneal_jax.training.feed import HostFeed, ResidentFeed, TileFeed, fits_on_device, make_mesh
from anneal_jax.training.finetune import FinetuneLearner, FinetunePlan
from anneal_jax.training.frozen import FrozenLearner
from anneal_jax.training.head_steps import FitSettings
from anneal_jax.training.learner import Learner
from anneal_jax.training.network import Network, load_network
from anneal_jax.types import Archive, FloatArray, IntArray


def make_learner(
    config: ExperimentConfig, archive: Archive, train_rows: IntArray, *, with_classifier: bool
) -> Learner:
    """Build the learner of the configured regime.

    Args:
      config: the settings.
      archive: N tiles, or precomputed vectors.
      train_rows: int32[T], the training images, by which features are standardised.
      with_classifier: whether a pair classifier is trained, too.

    Raises:
      ConfigError: the finetune regime was requested for vectors, which have no backbone; or as for
        `load_network`, or the cache folder cannot be written to.
      ArchiveError: a tile cannot be read.
      WeightsError: the weights file cannot be used, or gives features that are not finite.
    """
    if config.regime == "frozen":
        features = _frozen_features(config, archive)
        return _frozen_learner(config, features, train_rows, with_classifier=with_classifier)
    if archive.kind == "vector":
        raise ConfigError(f"regime='finetune' needs tiles, but {config.archive} holds vectors; use frozen.")
    network = load_network(config)
    if config.batch_norm == "live":
        network.backbone.require_batch_norm()
    feed = tile_feed(config, archive, network)
    features = encode_feed(network.backbone, network.variables, feed)
    return FinetuneLearner(
        feed=feed,
        backbone=network.backbone,
        variables=network.variables,
        heads_only=_frozen_learner(
            config, features, train_rows, with_classifier=with_classifier, heads_use=Use.HEADS
        ),
        plan=FinetunePlan(**{name: getattr(config, name) for name in FinetunePlan._fields}),
    )


def _frozen_learner(
    config: ExperimentConfig,
    features: FloatArray,
    train_rows: IntArray,
    *,
    with_classifier: bool,
    heads_use: Use = Use.WEIGHTS,
) -> FrozenLearner:
    mean, scale = standardisation(features, train_rows)
    return FrozenLearner(
        stored_features=features,
        mean=mean,
        scale=scale,
        train_images=train_rows,
        with_classifier=with_classifier,
        seed=config.seed,
        num_steps=config.steps,
        batch_size=config.batch_size,
        oversample=config.oversample,
        settings=FitSettings(
            learning_rate=config.learning_rate,
            schedule=config.schedule,
            feature_dropout=config.feature_dropout,
            margin=config.margin,
            beta=config.beta,
            group_loss=config.group_loss,
            group_loss_settings=group_loss_settings(config),
        ),
        heads_use=heads_use,
    )


def tile_feed(config: ExperimentConfig, archive: Archive, network: Network) -> TileFeed:
    """Decode an archive's tiles once into the cache, and keep them on the devices if they fit.

    Raises:
      ArchiveError: a tile cannot be read.
      ConfigError: the cache folder cannot be written to, or lacks space.
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
