"""The tiny archive: 8 x 8 digits that come with scikit-learn, from zero labels.

command   python launch/run.py --config=launch/configs/digits.py --workdir=runs/digits
hardware  2 CPU cores
duration  20 s
expected  mAP@5 0.97 at 356 bits (docs/lab/label_efficiency.md); digits_paper.py asks as the papers do
"""

from anneal_jax.cli.apps import recipe
from anneal_jax.config import ExperimentConfig


def get_config():
    return recipe(
        ExperimentConfig(
            archive="digits",
            backbone="pixels",
            supervision="belief_ask",
            initial_draw="random",
            initial_fraction=0.005,
            pairs_per_round=50,
            rounds=6,
            steps=300,
        )
    )
