"""Learn to search image archives by example from yes/no answers, in JAX.

Names are imported on first use, so that importing the package, or the `--help` of an app, is fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

from anneal_jax._version import __version__

if TYPE_CHECKING:
    from anneal_jax.acquisition.scan.all_pairs import scan_pairs
    from anneal_jax.acquisition.scan.scorers import threshold_scorer
    from anneal_jax.acquisition.scan.similarity import pairwise_cosine_similarity
    from anneal_jax.annotation.web.notebook import open_annotation
    from anneal_jax.config import ExperimentConfig
    from anneal_jax.data.archives import open_archive
    from anneal_jax.errors import AnnealError
    from anneal_jax.experiments.outcome import Outcome
    from anneal_jax.experiments.run import run_experiment
    from anneal_jax.retrieval.embedder import load_embedder
    from anneal_jax.types import Answer

_HOMES = {
    "AnnealError": "anneal_jax.errors",
    "Answer": "anneal_jax.types",
    "ExperimentConfig": "anneal_jax.config",
    "Outcome": "anneal_jax.experiments.outcome",
    "load_embedder": "anneal_jax.retrieval.embedder",
    "open_annotation": "anneal_jax.annotation.web.notebook",
    "open_archive": "anneal_jax.data.archives",
    "pairwise_cosine_similarity": "anneal_jax.acquisition.scan.similarity",
    "run_experiment": "anneal_jax.experiments.run",
    "scan_pairs": "anneal_jax.acquisition.scan.all_pairs",
    "threshold_scorer": "anneal_jax.acquisition.scan.scorers",
}

__all__ = [
    "AnnealError",
    "Answer",
    "ExperimentConfig",
    "Outcome",
    "__version__",
    "load_embedder",
    "open_annotation",
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
