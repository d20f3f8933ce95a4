"""Runs work that releases the interpreter's lock in several threads."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_TASKS_AT_ONCE = 1_024  # bounds the queue: a million waiting tasks would take gigabytes

_T = TypeVar("_T")
_R = TypeVar("_R")


def threaded(function: Callable[[_T], _R], items: Sequence[_T], *, most_threads: int = 8) -> Iterator[_R]:
    """Map a function over items in threads, in order.

    Args:
      function: called once with each item, from any thread; Pillow, hashing, reading and NumPy's large
        operations let other threads run meanwhile.
      items: the arguments of the calls.
      most_threads: maximum number of threads; never more than there are cores.

    Yields:
      The results; an error of a call is raised here.

    >>> list(threaded(len, ["two", "tiles"]))
    [3, 5]
    """
    with ThreadPoolExecutor(min(most_threads, os.cpu_count() or 1)) as pool:
        for start in range(0, len(items), _TASKS_AT_ONCE):
            yield from pool.map(function, items[start : start + _TASKS_AT_ONCE])
