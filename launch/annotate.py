"""Search an archive by example, like `anneal-jax`; `anneal_jax.annotation.web.command` has its flags."""

import installed  # noqa: F401

from anneal_jax.annotation.web.command import main

if __name__ == "__main__":
    main()
