"""Counts of what JAX compiles, for tests that look for needless compilations."""

import collections
import contextlib

import jax


@contextlib.contextmanager
def count_compilations():
    """Count how often JAX compiles each function inside the block.

    The process forgets first what it has compiled, so that the tests before do not matter. JAX lowers
    a function whether it then compiles it or reads it from the disk; this counts how often it does.
    A function that another jitted one calls is compiled with that one, and not counted.

    Yields:
      A counter by the functions' names, which grows inside the block.

    >>> with count_compilations() as compiled:
    ...     double = jax.jit(lambda number: 2 * number)
    ...     assert double(3) == 6 and double(4) == 8
    ...     assert compiled["<lambda>"] == 1
    ...     assert double(0.5) == 1
    >>> compiled["<lambda>"]
    2
    """
    compiled = collections.Counter()

    def count(event, duration, fun_name="", **others):
        del duration, others
        if event == "/jax/core/compile/jaxpr_to_mlir_module_duration":
            compiled[fun_name.removeprefix("jit(").removesuffix(")")] += 1

    jax.clear_caches()
    jax.monitoring.register_event_duration_secs_listener(count)
    try:
        yield compiled
    finally:
        jax.monitoring.unregister_event_duration_listener(count)
