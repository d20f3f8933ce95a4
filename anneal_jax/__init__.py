"""Learn to search image archives by example from yes/no answers, in JAX.

Names load when first used, so that importing the package, or asking an app for `--help`, is quick.
"""

import importlib
from typing import Any

from anneal_jax._version import __version__

_HOMES = {
    "ExperimentConfig": "anneal_jax.config",
}

__all__ = ["ExperimentConfig", "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anneal_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
