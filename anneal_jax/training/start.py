"""The defaults of a run's start: `backbone=auto`, `pretrained=auto` and `image_size=0`.

A workdir records the choice, so that it does not change when weights are installed or removed.
"""

import dataclasses
import pathlib
from typing import cast

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.catalogue import Catalogue
from anneal_jax.errors import ConfigError
from anneal_jax.files.workdir import read_config
from anneal_jax.models import packaged
from anneal_jax.types import Archive

AUTO = "auto"

SMALL_TILE, SMALL_SIDE = 128, 160
"""Tiles of up to so many pixels are enlarged to so many for the packaged weights, and not to 224: by
`python benchmarks/start.py --sides=...` that takes half of the time, and costs 0.01 of precision@5."""


def settle_start(config: ExperimentConfig, workdir: str | pathlib.Path | None = None) -> ExperimentConfig:
    """Replace `auto` by the values of an existing workdir, or those of `choose_start`.

    Args:
      config: the settings.
      workdir: workdir of the run; None if there is none.

    Raises:
      ConfigError: as `choose_start`.
      WorkdirError: the settings of an old workdir cannot be read.
    """
    automatic = [name for name in ("backbone", "pretrained") if getattr(config, name) == AUTO]
    if workdir is not None and (pathlib.Path(workdir) / "config.json").exists():
        old = read_config(workdir)
        config = dataclasses.replace(config, **{name: getattr(old, name) for name in automatic})
        if config.pretrained == packaged.SOURCE == old.pretrained and not config.image_size:
            config = dataclasses.replace(config, image_size=old.image_size)
    return choose_start(config)


def settle_side(config: ExperimentConfig, archive: Archive) -> ExperimentConfig:
    """Choose the side that tiles are resized to for the packaged weights, unless it is set.

    Args:
      config: the settings, as `settle_start` gives them.
      archive: that of the settings.

    Returns:
      The settings; `image_size` is `SMALL_SIDE` if most tiles are no larger than `SMALL_TILE`.
    """
    if config.image_size or config.pretrained != packaged.SOURCE:
        return config
    is_small = 0 < cast(Catalogue, archive).tile_side() <= SMALL_TILE
    return dataclasses.replace(config, image_size=SMALL_SIDE) if is_small else config


def choose_start(config: ExperimentConfig) -> ExperimentConfig:
    """Replace `auto` by a network and its weights.

    Vectors have no network, and the digits, of 8 x 8 pixels, need none: both get `pixels`. All other tiles
    get the packaged weights. A network that was named gets the packaged weights if they are for it, else
    random ones.

    Args:
      config: the settings.

    Returns:
      The settings with explicit `backbone` and `pretrained`; unchanged if they are explicit already.

    Raises:
      ConfigError: the packaged weights are not installed, or weights are named without their network.
    """
    backbone, pretrained = config.backbone, config.pretrained
    if AUTO not in (backbone, pretrained):
        return config
    if backbone == AUTO:
        if pretrained not in (AUTO, packaged.SOURCE):
            raise ConfigError(
                f"pretrained={pretrained} does not say which network it is for; give its backbone too, as "
                "backbone=vit_s14 for DINOv2, or backbone=tiny_cnn for a small one with random weights."
            )
        if pretrained == AUTO and config.archive.partition(":")[0] in ("embeddings", "digits"):
            return dataclasses.replace(config, backbone="pixels", pretrained="none")
        backbone = packaged.BACKBONE
    if pretrained == AUTO:
        pretrained = packaged.SOURCE if backbone == packaged.BACKBONE else "none"
    if pretrained == packaged.SOURCE and not packaged.is_installed():
        raise ConfigError(
            f"backbone={config.backbone} takes the packaged weights, which are not installed; "
            f"{packaged.TWO_WAYS}."
        )
    return dataclasses.replace(config, backbone=backbone, pretrained=pretrained)


def start_warnings(config: ExperimentConfig) -> list[str]:
    """Return a warning if explicit settings choose a network with random weights; else an empty list."""
    if (
        config.pretrained != "none"
        or config.backbone == "pixels"
        or config.archive.startswith("embeddings:")
    ):
        return []
    return [
        f"Backbone {config.backbone} has random weights: its first answers are little better than chance. "
        "Without --backbone and --pretrained, weights that were trained on photographs are taken."
    ]
