"""UC Merced, the whole network trained from ImageNet weights, each round going on from the last.

command   python launch/run.py --config=launch/configs/ucm_finetune.py --workdir=runs/ucm_finetune
hardware  one GPU; on 2 CPU cores only shortened, see below
duration  untested at full length: no GPU at hand
expected  untested at full length
shortened 3.4 CPU minutes, seed 100, one round: mAP@5 0.386 at 672 bits, where ucm_frozen.py with the
          same seed and size has 0.418 in 0.9; by the features alone 0.476, and 0.366 before training:
          --config.image_size=64 --config.rounds=0 --config.epochs_first=6 --config.freeze_epochs=3
          --config.batch_size=64 --config.seed=100
note      the default threshold trains five more networks of epochs_first epochs, once, before round 1
"""

from anneal_jax.cli.apps import recipe
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
            freeze_epochs=10,
            batch_size=128,
            learning_rate=1e-3,
            schedule="cosine",
            backbone_rate=0.1,
        )
    )
