"""Search an archive by example, as `anneal-jax` does: anneal_jax/command.py has its flags."""

import installed  # noqa: F401

from anneal_jax.command import main

if __name__ == "__main__":
    main()
