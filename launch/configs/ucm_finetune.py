r"""UC Merced, the whole network trained from ImageNet weights, each round continuing from the last.

command   python launch/compare.py --config=launch/configs/ucm_finetune.py --seeds=1 --first_seed=100 \
              --workers=1 --workdir=runs/ucm_finetune
          random, BCGUE and MGUE with clustering, one after another; the same command continues after a
          kill. One system alone: launch/run.py with --config.acquisition=mgue and --config.seed=100
hardware  2 CPU cores
duration  about 45 CPU minutes a system and seed: 7 fits of at most 250 steps of 48 tiles
expected  mAP@5 at 671 and 2,687 bits, seed 101 (docs/measured/ucm_finetune.jsonl): BCGUE with clustering
          0.653 and 0.871; frozen heads at 96 px with all class labels 0.840 (docs/lab/results.md).
          With feature_share=0.2 and seed 100, before embeddings had the main directions of the learnt
          features: BCGUE 0.652 and 0.846, MGUE 0.618 and 0.762, random pairs 0.618 and 0.658
shortened 3.2 CPU minutes, MGUE, seed 100, likewise with 0.2: mAP@5 0.475 at 672 bits and 0.489 at 1,008,
          by the features alone 0.461 and 0.470, and 0.366 before training
          (docs/measured/ucm_finetune_short.jsonl):
          launch/run.py with --config.image_size=64 --config.rounds=1 --config.epochs_first=3
          --config.epochs=1 --config.max_steps=100 --config.batch_size=64 --config.seed=100
"""

from anneal_jax.cli.apps import recipe
from anneal_jax.config import ExperimentConfig


def get_config():
    return recipe(
        ExperimentConfig(
            archive="folder:../shared/data/ucm",
            backbone="mobilenet_v2",
            pretrained="../shared/weights/mobilenet_v2_1.0_224_imagenet.npz",
            image_size=96,
            regime="finetune",
            acquisition="mgue",
            rounds=6,
            epochs_first=40,
            epochs=15,
            feature_share=0.5,
            max_steps=250,
            batch_size=64,
            learning_rate=1e-3,
            schedule="cosine",
            backbone_rate=0.1,
        )
    )
