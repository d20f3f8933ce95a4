"""Learn to search image archives by example from yes/no answers, in JAX.

Names load when first used, so that importing the package, or asking an app for `--help`, is quick.
"""

import importlib
from typing import Any

from anneal_jax._version import __version__

_HOMES = {
    "AnnealError": "anneal_jax.errors",
    "Answer": "anneal_jax.types",
    "ExperimentConfig": "anneal_jax.config",
    "Outcome": "anneal_jax.experiment",
    "open_archive": "anneal_jax.data.archives",
    "pairwise_cosine_similarity": "anneal_jax.acquisition.similarity",
    "run_experiment": "anneal_jax.experiment",
    "scan_pairs": "anneal_jax.acquisition.scan",
    "threshold_scorer": "anneal_jax.acquisition.scorers",
}

__all__ = [
    "AnnealError",
    "Answer",
    "ExperimentConfig",
    "Outcome",
    "__version__",
    "open_archive",
    "pairwise_cosine_similarity",
    "run_experiment",
    "scan_pairs",
    "threshold_scorer",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anneal_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
