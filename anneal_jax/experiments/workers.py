"""Runs independent tasks in separate processes, so that a crash affects only one task."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from anneal_jax.errors import ConfigError


class Died(NamedTuple):
    """Replaces the result of a task whose process ended early.

    Attributes:
      exit_code: exit code of the process; negative if a signal with that number killed it.
    """

    exit_code: int | None


class _Worker(NamedTuple):
    process: BaseProcess
    connection: Connection
    cpus: frozenset[int]


def run_in_processes(
    function: Callable[..., Any], tasks: Iterable[tuple], num_workers: int, *, cpus_each: int = 0
) -> Iterator[tuple[int, Any | Died]]:
    """Call a function with each task's arguments, in a few spawned processes that are reused.

    A worker takes the next task when it is free. When the generator is closed, or an exception such
    as Ctrl-C passes through it, the workers are terminated; they also end when this process does.

    Args:
      function: a module's function, imported by name in the worker; an exception ends the worker.
      tasks: its arguments, one tuple per task.
      num_workers: number of processes at a time, at least 1.
      cpus_each: number of CPUs that a worker is bound to, before any library counts them; 0 does not bind.

    Yields:
      (index of the task, its result or `Died`), as tasks finish.

    Raises:
      ConfigError: `cpus_each` exceeds the available CPUs, or this system cannot bind processes.

    >>> sorted(run_in_processes(pow, [(2, 3), (5, 2)], 2))
    [(0, 8), (1, 25)]
    """
    free = _cpu_shares(num_workers, cpus_each)
    waiting = deque(enumerate(tasks))
    idle: list[_Worker] = []
    busy: dict[Any, tuple[int, _Worker]] = {}
    try:
        while waiting or busy:
            while waiting and len(busy) < num_workers:
                worker = idle.pop() if idle else _start(free.pop())
                index, arguments = waiting.popleft()
                busy[worker.connection] = (index, worker)
                with contextlib.suppress(BrokenPipeError):  # it died while idle, which is reported below
                    worker.connection.send((function, arguments))
            for connection in wait(list(busy)):
                index, worker = busy.pop(connection)
                result = _receive(worker)
                if isinstance(result, Died):
                    free.append(worker.cpus)
                else:
                    idle.append(worker)
                yield index, result
    finally:
        for _, worker in busy.values():
            worker.process.terminate()
        for worker in [*idle, *(worker for _, worker in busy.values())]:
            worker.connection.close()  # this ends an idle worker
            worker.process.join()


def _cpu_shares(num_workers: int, cpus_each: int) -> list[frozenset[int]]:
    """Distribute this process's CPUs among the workers, reusing them if there are too few."""
    if not cpus_each:
        return [frozenset()] * num_workers
    if not hasattr(os, "sched_setaffinity"):
        raise ConfigError("this operating system cannot bind a process to CPUs; leave out that setting.")
    cpus = sorted(os.sched_getaffinity(0))
    if cpus_each > len(cpus):
        raise ConfigError(f"{cpus_each} CPUs for each worker exceed the {len(cpus)} available.")
    starts = (slot * cpus_each for slot in range(num_workers))
    return [frozenset(cpus[(start + i) % len(cpus)] for i in range(cpus_each)) for start in starts]


def _start(cpus: frozenset[int]) -> _Worker:
    context = multiprocessing.get_context("spawn")  # a fork would copy the locks of jax's threads
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(theirs, cpus), daemon=True)
    process.start()
    theirs.close()  # otherwise the worker's death would not close the pipe
    return _Worker(process, ours, cpus)


def _receive(worker: _Worker) -> Any | Died:
    try:
        return worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        return Died(worker.process.exitcode)


def _work(connection: Connection, cpus: frozenset[int]) -> None:
    """Run tasks until the pipe closes. The function is unpickled, and so imported, after the binding."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends Ctrl-C to all; the parent decides
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    if cpus:
        os.sched_setaffinity(0, cpus)
    with contextlib.suppress(EOFError):
        while True:
            function, arguments = connection.recv()
            connection.send(function(*arguments))


def _leave_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # immediately, because a killed run resumes from its commits
