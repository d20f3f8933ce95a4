"""A backbone with its weights, as the settings name them."""

from collections.abc import Mapping
from typing import NamedTuple

import jax

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.bands import bands_of
from anneal_jax.files.progress import progress_bar
from anneal_jax.models.backbones import Backbone, get_backbone
from anneal_jax.models.pretrained import as_pretrained, load_pretrained, prepared_by, weights_digest
from anneal_jax.seeds import Use, device_key
from anneal_jax.training.start import choose_start
from anneal_jax.types import Params


class Network(NamedTuple):
    """A backbone with its weights.

    Attributes:
      backbone: the network.
      variables: its parameters.
      digest: SHA-256 of the weights, or a description of how random weights were drawn.
      image_size: side in pixels of its input.
    """

    backbone: Backbone
    variables: Params
    digest: str
    image_size: int


def prepared_backbone(config: ExperimentConfig, inputs: Mapping[str, str] | None = None) -> Backbone:
    """Return the backbone, its input prepared as that of its pretrained weights was.

    Args:
      config: the settings.
      inputs: `inputs.json` of a workdir, which has the preparation, so that no weights are read.

    Raises:
      ConfigError: no backbone has the configured name.
      WeightsError: the weights, or the files next to them, cannot be used.
    """
    config, bands = choose_start(config), bands_of(config.archive)
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
    config = choose_start(config)
    backbone = prepared_backbone(config, inputs)
    image_size = config.image_size or backbone.default_image_size
    if config.pretrained == "none":
        variables = backbone.init(device_key(config.seed, 0, Use.WEIGHTS), image_size)
        return Network(
            backbone, variables, f"random, seed {config.seed}, jax {jax.__version__}", image_size
        )
    with progress_bar(1, "loading weights", "file"):
        variables = load_pretrained(backbone, config.pretrained)
    return Network(backbone, variables, weights_digest(config.pretrained), image_size)
