"""AID (10,000 tiles, 30 classes) as in TGRS 2024: MGUE with clustering, 20% of training images per round.

command   python launch/run.py --config=launch/configs/aid_paper.py --workdir=runs/aid_paper
hardware  one GPU
duration  untested: data absent
expected  untested: data absent
note      the default threshold trains five more networks of epochs_first epochs, once, before round 1
weights   random, as none of ImageNet were available: untested with real ones. For those of ImageNet add
          --config.pretrained=hf:timm/resnet18.tv_in1k (docs/weights.md)
data      ../shared/data/aid, a folder per class
"""

from anneal_jax.cli.apps import recipe
from anneal_jax.config import ExperimentConfig


def get_config():
    return recipe(
        ExperimentConfig(
            archive="folder:../shared/data/aid",
            backbone="resnet18",
            pretrained="none",
            image_size=128,
            regime="finetune",
            acquisition="mgue",
            diversity=True,
            candidate_factor=4,
            rounds=6,
            initial_draw="class_balanced",
            epochs_first=40,
            epochs=15,
            heads_first=False,
            batch_size=128,
            learning_rate=1e-4,
        )
    )
