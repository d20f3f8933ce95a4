"""Digits from zero labels, asked as the papers do: MGUE with clustering.

command   python launch/run.py --config=launch/configs/digits_paper.py --workdir=runs/digits_paper
hardware  2 CPU cores
duration  20 s
expected  mAP@5 0.951 at 912 bits, 0.911 to 0.974 on seeds 0 to 4; random pairs 0.908 (docs/lab/results.md)
"""

from anneal_jax.cli.apps import recipe
from anneal_jax.config import ExperimentConfig


def get_config():
    return recipe(
        ExperimentConfig(
            archive="digits",
            backbone="pixels",
            acquisition="mgue",
            initial_draw="random",
            initial_fraction=0.01,
            pairs_per_round=100,
            rounds=8,
            steps=300,
        )
    )
