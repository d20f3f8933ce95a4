"""What a person is asked about: the settings of a workdir, and what a command or a notebook names anew."""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

from anneal_jax.config import ExperimentConfig, config_from_mapping
from anneal_jax.data.bands import holds_vectors
from anneal_jax.errors import ConfigError
from anneal_jax.files.workdir import is_annotated, read_config, read_pictures

THUMBNAILS = "thumbnails:"
"""Before what `--thumbnails` says, where a workdir keeps the name of what is shown."""


class AnnotationSettings(NamedTuple):
    """What to ask about, and what to show.

    Attributes:
      config: the settings; its archive is what is learnt from.
      pictures: archive of the tiles to look at, or `thumbnails:` and what they are, where `config.archive`
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
    """Return the settings to go on with in a workdir.

    A new workdir without a recipe skips the images that cannot be read, and lists them: a person who begins
    is not to be stopped by one file. A recipe stops at them, as in a run, unless it says otherwise.

    Args:
      workdir: of earlier answers, or a new one.
      archive: tiles to look at; empty is what the workdir has.
      features: `.npz` of ready vectors of these tiles, each under its tile's id; empty uses a backbone, or
        what the workdir has.
      settings: more of them, by name; None is not named.
      config: a recipe that all these change; by default that of the workdir.
      thumbnails: pictures for vectors, in place of tiles: a folder, a scene or a column of paths
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
            raise ConfigError(
                "--features needs the tiles beside it; give --archive=folder:PATH or --thumbnails."
            )
        named["archive"], pictures = f"embeddings:{features}", archive or pictures
    elif archive and pictures and not holds_vectors(archive):
        pictures = archive  # the vectors stay; the tiles may have been moved
    elif archive:
        named["archive"] = archive
    pictures = f"{THUMBNAILS}{thumbnails}" if thumbnails else pictures
    return AnnotationSettings(config_from_mapping(dataclasses.asdict(config) | named), pictures)
