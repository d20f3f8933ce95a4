"""UC Merced, the whole network trained from ImageNet weights, each round going on from the last.

command   python launch/run.py --config=launch/configs/ucm_finetune.py --workdir=runs/ucm_finetune
hardware  one GPU; on 2 CPU cores only shortened, see below
duration  untested at full length: no GPU at hand
expected  untested at full length
shortened SHORTENED
"""

from anneal_jax.cli import recipe
from anneal_jax.config import ExperimentConfig


def get_config():
    return recipe(
        ExperimentConfig(
            archive="folder:../shared/data/ucm",
            backbone="mobilenet_v2",
            pretrained="../shared/weights/mobilenet_v2_1.0_224_imagenet.npz",
            image_size=128,
            regime="finetune",
            acquisition="mgue",
            rounds=6,
            epochs_first=40,
            epochs=15,
            batch_size=128,
            learning_rate=1e-4,
        )
    )
