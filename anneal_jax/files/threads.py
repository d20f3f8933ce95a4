"""Work that releases the interpreter's lock, over several threads."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_TASKS_AT_ONCE = 1_024  # bounds the queue: a million waiting tasks would take gigabytes

_T = TypeVar("_T")
_R = TypeVar("_R")


def threaded(function: Callable[[_T], _R], items: Sequence[_T], *, most_threads: int = 8) -> Iterator[_R]:
    """Map in threads, in order.

    Args:
      function: called once with each item, from any thread; Pillow, hashing, reading and NumPy's large
        operations let others run meanwhile.
      items: what it is called with.
      most_threads: at most so many at a time, and no more than there are cores.

    Yields:
      The results; where a call raised, its error is raised here.

    >>> list(threaded(len, ["two", "tiles"]))
    [3, 5]
    """
    with ThreadPoolExecutor(min(most_threads, os.cpu_count() or 1)) as pool:
        for start in range(0, len(items), _TASKS_AT_ONCE):
            yield from pool.map(function, items[start : start + _TASKS_AT_ONCE])
