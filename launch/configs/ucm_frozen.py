"""UC Merced, frozen ImageNet features, the paper's first questions and accounting.

command   python launch/run.py --config=launch/configs/ucm_frozen.py --workdir=runs/ucm_frozen
hardware  2 CPU cores
duration  58 s with cached features; computing them takes about 20 s more, once
expected  mAP@5 0.911 at 2,687 bits, 0.864 to 0.941 over seeds 0 to 4 (docs/results.md)
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
            acquisition="mgue",
            rounds=6,
        )
    )
