"""Train a backbone on tiles without any answer, for sensors that ImageNet's weights do not fit.

  python launch/warmstart.py --config=launch/configs/ucm_warmstart.py --output=warm.safetensors
  python launch/run.py --config=RECIPE --config.pretrained=warm.safetensors --workdir=runs/mine

Of the recipe, archive, labels, backbone, pretrained (where to start), image_size, batch_size,
learning_rate, the split and seed are looked at. Only the tiles of its training split take part, so that an
experiment with the same seed and shares stays honest; --all_tiles takes the others too.
"""

import pathlib
from collections.abc import Sequence
from typing import cast

from absl import flags
from ml_collections import config_flags

from anneal_jax.cli.apps import config_of, run_app

_CONFIG = config_flags.DEFINE_config_file("config", None, "Recipe, a file in launch/configs.")
_OUTPUT = flags.DEFINE_string("output", None, "File for the weights, .safetensors.", required=True)
_METHOD = flags.DEFINE_enum(
    "method", "vicreg", ["simsiam", "vicreg"], "What two pictures of a tile learn by."
)
_EPOCHS = flags.DEFINE_integer("epochs", 100, "How often each tile is seen.", lower_bound=1)
_ALL_TILES = flags.DEFINE_bool("all_tiles", False, "Whether query and searched tiles take part too.")
_TURNS = flags.DEFINE_bool("turns", True, "Whether tiles have no upright, as seen from above.")


def main(argv: Sequence[str]) -> None:
    """Train, write the weights, and say what came out."""
    del argv
    config = config_of(_CONFIG.value)
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
