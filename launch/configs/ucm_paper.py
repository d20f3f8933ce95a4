"""UC Merced as in IGARSS 2023: ResNet18, Adam 1e-4, BCGUE with clustering, 6 rounds of 336 questions.

command   python launch/run.py --config=launch/configs/ucm_paper.py --workdir=runs/ucm_paper
hardware  one GPU
duration  untested: no GPU available
expected  untested. The paper's curve (its Fig. 3) is read by eye and its mAP@5 has no stated denominator
open      the paper names no initial weights, tile size, batch size or number of epochs: the values here
          are this project's
weights   random, as none of ImageNet were available: untested with real ones. For those of ImageNet add
          --config.pretrained=hf:timm/resnet18.tv_in1k (docs/weights.md)
"""

from anneal_jax.cli.apps import recipe
from anneal_jax.config import ExperimentConfig


def get_config():
    return recipe(
        ExperimentConfig(
            archive="folder:../shared/data/ucm",
            backbone="resnet18",
            pretrained="none",
            image_size=128,
            regime="finetune",
            acquisition="bcgue",
            diversity=True,
            candidate_factor=4,
            pairs_per_round=336,
            rounds=6,
            initial_draw="class_balanced",
            initial_fraction=0.05,
            initial_partners=4,
            epochs_first=40,
            epochs=15,
            heads_first=False,
            batch_size=128,
            learning_rate=1e-4,
            margin=0.1,
            beta=0.1,
        )
    )
