"""UC Merced from zero labels, frozen ImageNet features: the fewest answers.

command   python launch/run.py --config=launch/configs/ucm.py --workdir=runs/ucm
hardware  2 CPU cores
duration  50 s with cached features; computing them takes about 20 s more, once
expected  mAP@5 0.913 at 504 bits, 0.942 at 1,008 over seeds 0 to 9 (docs/lab/label_efficiency.md)
data      ../shared/data/ucm and ../shared/weights next to the project; --config.archive=folder:PATH and
          --config.pretrained=FILE name others
"""

from anneal_jax.cli.apps import recipe
from anneal_jax.config import ExperimentConfig


def get_config():
    return recipe(
        ExperimentConfig(
            archive="folder:../shared/data/ucm",
            backbone="mobilenet_v2",
            pretrained="../shared/weights/mobilenet_v2_1.0_224_imagenet.npz",
            regime="frozen",
            supervision="belief_ask",
            initial_draw="random",
            initial_fraction=0.0125,
            pairs_per_round=168,
            rounds=8,
        )
    )
