"""The command `anneal-jax`, and `python -m anneal_jax`; `--version` prints the installed versions."""

import platform
import sys
from importlib.metadata import version

from anneal_jax._version import __version__


def main() -> None:
    """Print the versions for `--version`, the first thing that a bug report needs, or open the page."""
    if sys.argv[1:] == ["--version"]:
        print(_versions())
        return
    from anneal_jax.annotation.web.command import main as open_page  # which declares flags

    open_page()


def _versions() -> str:
    beneath = ", ".join(f"{name} {version(name)}" for name in ("jax", "flax", "numpy"))
    return f"anneal-jax {__version__} ({beneath}, Python {platform.python_version()})"


if __name__ == "__main__":
    main()
