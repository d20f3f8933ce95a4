"""`python -m anneal_jax --version` says what is installed: the first thing a bug report needs."""

import argparse
import platform
from importlib.metadata import version

from anneal_jax._version import __version__


def main() -> None:
    """Answer `--version`, and point to the apps."""
    parser = argparse.ArgumentParser(
        prog="python -m anneal_jax",
        description="The library has no commands of its own; run the apps in launch/.",
    )
    parser.add_argument("--version", action="version", version=_versions())
    parser.parse_args()
    parser.print_help()


def _versions() -> str:
    beneath = ", ".join(f"{name} {version(name)}" for name in ("jax", "flax", "numpy"))
    return f"anneal-jax {__version__} ({beneath}, Python {platform.python_version()})"


if __name__ == "__main__":
    main()
