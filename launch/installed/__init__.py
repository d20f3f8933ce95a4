"""Imported first by every app: without the package it prints a one-line error instead of a traceback."""

import importlib.util
import pathlib
import sys

_NEEDED = ("anneal_jax", "absl", "ml_collections", "jax", "flax", "optax", "numpy")

_missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
if _missing:
    _python = pathlib.Path(__file__).parents[2] / ".venv" / "bin" / "python"
    _made = "" if _python.exists() else ", which `make page` creates"
    sys.exit(
        f"error: {sys.executable} has no {_missing[0]}; use .venv/bin/python{_made}, as in: "
        f".venv/bin/python {' '.join(sys.argv)}"
    )
