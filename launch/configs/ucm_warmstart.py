"""A small network on UC Merced's training tiles, from random weights, for launch/warmstart.py.

command   python launch/warmstart.py --config=launch/configs/ucm_warmstart.py --output=warm.safetensors
hardware  2 CPU cores
duration  two minutes for ten epochs (--epochs=10) on one CPU core
expected  mAP@5 of frozen features 0.195, of random weights 0.173 (docs/training.md); ImageNet is far better
use       for other bands: --config.archive='geotiff:PATH?bands=...' and a resnet on a GPU
"""

from anneal_jax.cli.apps import recipe
from anneal_jax.config import ExperimentConfig


def get_config():
    return recipe(
        ExperimentConfig(
            archive="folder:../shared/data/ucm",
            backbone="tiny_cnn",
            image_size=32,
            batch_size=256,
            learning_rate=1e-3,
        )
    )
