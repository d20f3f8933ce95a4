"""The settings of an annotation workdir, updated by those that a command or a notebook gives."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from anneal_jax.config import ExperimentConfig, config_from_mapping
from anneal_jax.data.bands import holds_vectors
from anneal_jax.errors import ConfigError
from anneal_jax.files.workdir import is_annotated, read_config, read_pictures

THUMBNAILS = "thumbnails:"
"""Prefix of the value of `--thumbnails` where a workdir records what is shown."""


class AnnotationSettings(NamedTuple):
    """What to ask about, and what to show.

    Attributes:
      config: the settings; models learn from its archive.
      pictures: archive of the tiles to look at, or `thumbnails:` and their source, if `config.archive`
        holds vectors; else empty.
    """

    config: ExperimentConfig
    pictures: str


def annotation_settings(
    workdir: pathlib.Path,
    archive: str = "",
    features: str = "",
    settings: Mapping[str, Any] | None = None,
    config: ExperimentConfig | None = None,
    thumbnails: str = "",
) -> AnnotationSettings:
    """Return the settings to use in a workdir.

    A new workdir without a recipe skips and lists images that cannot be read, so that one bad file does not
    stop a new user. With a recipe they are an error, as in a run, unless it says otherwise.

    Args:
      workdir: one with earlier answers, or a new one.
      archive: tiles to look at; empty keeps those of the workdir.
      features: `.npz` of precomputed vectors of these tiles, each under its tile's id; empty keeps those of
        the workdir, or uses a backbone.
      settings: further settings by name; None values are ignored.
      config: the settings to start from; by default those of the workdir.
      thumbnails: pictures for vectors, instead of tiles: a folder, a scene or a column of paths
        (`anneal_jax.annotation.web.thumbnails`).

    Raises:
      AnnealError: a setting is wrong, or the workdir cannot be read.
    """
    pictures = ""
    if config is None:
        is_old = is_annotated(workdir)
        config = read_config(workdir) if is_old else ExperimentConfig(on_bad_image="skip")
        pictures = read_pictures(workdir) if is_old else ""
    named = {name: value for name, value in (settings or {}).items() if value is not None}
    if features:
        if not (archive or pictures or thumbnails):
            raise ConfigError("--features needs the tiles too; give --archive=folder:PATH or --thumbnails.")
        named["archive"], pictures = f"embeddings:{features}", archive or pictures
    elif archive and pictures and not holds_vectors(archive):
        pictures = archive  # keep the vectors; the tiles may have been moved
    elif archive:
        named["archive"] = archive
    pictures = f"{THUMBNAILS}{thumbnails}" if thumbnails else pictures
    return AnnotationSettings(config_from_mapping(dataclasses.asdict(config) | named), pictures)
