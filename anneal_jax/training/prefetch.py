"""Work done ahead, on threads of the host or on a device, handed out in order."""

import collections
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def one_behind(results: Iterable[_Result]) -> Iterator[_Result]:
    """Yield each result after the next one is requested.

    JAX returns arrays before the device has computed them. If a result is read only after the next one is
    started, the device always has work, and at most two results are in its memory.

    >>> list(one_behind([1, 2, 3]))
    [1, 2, 3]
    """
    waiting = collections.deque[_Result]()
    for result in results:
        waiting.append(result)
        if len(waiting) > 1:
            yield waiting.popleft()
    yield from waiting


def done_ahead(
    function: Callable[[_Item], _Result], items: Iterable[_Item], *, num_threads: int, depth: int
) -> Iterator[_Result]:
    """Yield `function(item)` of each item, in order, while the next ones are worked on.

    Results do not depend on the threads, as long as those of `function` do not. At most `depth` items are
    taken beyond the one that is yielded, so memory is bounded. An error of `function` is raised when its
    result is due. Later items are dropped after an error, and if the caller stops early.

    Args:
      function: pure, called from several threads at a time.
      items: taken by the caller's thread alone.
      num_threads: number of items worked on at a time, at least 1.
      depth: maximum number of items taken ahead, at least 1 to have any effect.

    >>> list(done_ahead(abs, [-3, 2, -1], num_threads=2, depth=2))
    [3, 2, 1]
    """
    pending = collections.deque()
    executor = ThreadPoolExecutor(num_threads, thread_name_prefix="ahead")
    try:
        for item in items:
            pending.append(executor.submit(function, item))
            if len(pending) > depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        executor.shutdown(cancel_futures=True)
