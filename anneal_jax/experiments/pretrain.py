"""Runs a warm start as a command: from a recipe to a weights file for `pretrained`."""

import dataclasses
import logging
import pathlib

import numpy as np

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.data.splits import split_images_by_digest
from anneal_jax.errors import ConfigError, WorkdirError
from anneal_jax.models.backbones import Backbone
from anneal_jax.models.pretrained import save_pretrained
from anneal_jax.training.factory import tile_feed
from anneal_jax.training.network import load_network
from anneal_jax.training.start import choose_start, settle_side
from anneal_jax.training.warmstart import STRENGTH, Method, WarmStartSettings, warm_start
from anneal_jax.types import Archive, IntArray

_TILES_FOR_SCALING = 1_000
_COLLAPSED = 0.05

_log = logging.getLogger(__name__)


def pretrain(
    config: ExperimentConfig,
    output: pathlib.Path,
    *,
    method: Method = "vicreg",
    epochs: int = 100,
    with_all_tiles: bool = False,
    turns: bool = True,
) -> str:
    """Train a backbone on the tiles of an archive without labels, and write its weights.

    Args:
      config: `archive`, `on_bad_image`, `backbone`, `pretrained`, `image_size`, `batch_size`,
        `learning_rate`, `num_devices`, `cache_dir`, the split and `seed` are used. With random weights, the
        network's input is scaled by mean and spread of the archive's own bands.
      output: a `.safetensors` file, replaced atomically after the training.
      method: see `WarmStartSettings`.
      epochs: likewise.
      with_all_tiles: whether to include tiles of the query and searched parts; do not, if these are used to
        measure quality.
      turns: whether tiles may be mirrored and rotated.

    Returns:
      What was done, in two sentences.

    Raises:
      ConfigError: `output` has another suffix, the archive holds vectors, or as for `warm_start` and
        `load_network`.
      WorkdirError: the folder of `output` does not exist.
      ArchiveError: a tile cannot be read.
      WeightsError: the weights to start from cannot be used.
    """
    _require_place(output)
    config = choose_start(config)
    archive = open_archive(
        config.archive, labels_csv=config.labels or None, on_bad_image=config.on_bad_image
    )
    if archive.kind == "vector":
        raise ConfigError(f"a warm start needs tiles, but {config.archive} holds vectors.")
    config = settle_side(config, archive)
    rows = np.arange(len(archive.ids), dtype=np.int32)
    if not with_all_tiles:
        rows = split_images_by_digest(config, archive.digests()).train
    network = load_network(config)
    backbone = dataclasses.replace(network.backbone, default_image_size=network.image_size)
    if config.pretrained == "none":
        backbone = _scaled_by_archive(backbone, archive, rows, config.seed)
    settings = WarmStartSettings(
        method=method,
        epochs=epochs,
        batch_size=config.batch_size,
        learning_rate=config.learning_rate,
        seed=config.seed,
        strength=STRENGTH._replace(turns=turns),
    )
    feed = tile_feed(config, archive, network)
    found = warm_start(backbone, network.variables, feed, rows, settings)
    if found.spread < _COLLAPSED:
        _log.warning(
            "features of different tiles are nearly equal (spread %.3f); take more tiles or epochs, or the "
            "other method",
            found.spread,
        )
    save_pretrained(output, backbone, found.variables)
    return (
        f"{config.backbone} saw {len(rows):,} tiles {epochs} times ({method}): its loss went from "
        f"{found.losses[:10].mean():.3f} to {found.losses[-10:].mean():.3f}, spread {found.spread:.2f}. "
        f"See {output}; give it as --config.pretrained={output} --config.backbone={config.backbone}."
    )


def _require_place(output: pathlib.Path) -> None:
    """Fail now rather than after hours of work."""
    if not output.absolute().parent.is_dir():
        raise WorkdirError(f"cannot write {output}: its folder does not exist; create it first")
    if output.suffix != ".safetensors":
        raise ConfigError(f"{output} must end in .safetensors, the format of weights.")


def _scaled_by_archive(backbone: Backbone, archive: Archive, rows: IntArray, seed: int) -> Backbone:
    """Return the backbone with mean and spread of each band, from a sample of tiles."""
    chosen = np.random.default_rng(seed).permutation(rows)[:_TILES_FOR_SCALING]
    tiles = archive.load(np.sort(chosen), backbone.default_image_size, backbone.resampling)
    mean, spread = (
        tuple(float(value) for value in of_bands)
        for of_bands in (tiles.mean(axis=(0, 1, 2)), np.maximum(tiles.std(axis=(0, 1, 2)), 1.0))
    )
    return dataclasses.replace(backbone, mean=mean, spread=spread)
