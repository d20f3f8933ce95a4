"""Train a backbone on tiles without answers, for sensors that ImageNet's weights do not suit.

  python launch/warmstart.py --config=launch/configs/ucm_warmstart.py --output=warm.safetensors
  python launch/run.py --config=RECIPE --config.pretrained=warm.safetensors --workdir=runs/mine

It uses archive, labels, backbone, pretrained (where to start), image_size, batch_size, learning_rate, the
split and seed of the recipe. It only trains on tiles of the training split, so that an experiment with the
same seed and shares stays valid; --all_tiles includes the others.
"""

import installed  # noqa: F401

import pathlib
from collections.abc import Sequence
from typing import cast

from absl import flags
from ml_collections import config_flags

from anneal_jax.cli.apps import config_of, run_app
from anneal_jax.files import atomic

_CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe, a file in launch/configs.")
_OUTPUT = flags.DEFINE_string("output", None, "File for the weights, .safetensors.", required=True)
_METHOD = flags.DEFINE_enum("method", "vicreg", ["simsiam", "vicreg"], "Loss for two views of a tile.")
_EPOCHS = flags.DEFINE_integer("epochs", 100, "Number of passes over the tiles.", lower_bound=1)
_ALL_TILES = flags.DEFINE_bool("all_tiles", False, "Whether to train on query and searched tiles too.")
_TURNS = flags.DEFINE_bool("turns", True, "Whether tiles may be rotated, as when seen from above.")


def main(argv: Sequence[str]) -> None:
    """Train, write the weights, and print the result."""
    del argv
    config = config_of(_CONFIG.value)
    atomic.require_writable(_OUTPUT.value)
    from anneal_jax.experiments.pretrain import pretrain
    from anneal_jax.training.warmstart import Method

    done = pretrain(
        config,
        pathlib.Path(_OUTPUT.value),
        method=cast(Method, _METHOD.value),
        epochs=_EPOCHS.value,
        with_all_tiles=_ALL_TILES.value,
        turns=_TURNS.value,
    )
    print(done)


if __name__ == "__main__":
    run_app(main)
