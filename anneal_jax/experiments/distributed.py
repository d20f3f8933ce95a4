"""Runs on several processes of `jax.distributed`: all processes compute, and the first one writes."""

import pathlib
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import jax
import numpy as np
from jax.experimental import multihost_utils

from anneal_jax.errors import ConfigError, WorkdirError
from anneal_jax.files.workdir import locked


def join(place: str) -> bool:
    """Join the processes of a run; call it before any other use of JAX.

    Args:
      place: `HOST:PORT,COUNT,NUMBER`: the address of the first process, the number of processes, and the
        number of this one, from 0; or `auto` if JAX can find these out, as under Slurm or Open MPI.

    Returns:
      Whether this process is the first.

    Raises:
      ConfigError: `place` is neither.
    """
    if place == "auto":
        jax.distributed.initialize()
        return is_first()
    address, *numbers = place.split(",")
    if ":" not in address or len(numbers) != 2 or not all(number.isdecimal() for number in numbers):
        raise ConfigError(f"--distributed={place} cannot be used; give HOST:PORT,COUNT,NUMBER or auto.")
    count, number = map(int, numbers)
    if number >= count:
        raise ConfigError(f"--distributed={place}: of {count} processes the last is number {count - 1}.")
    jax.distributed.initialize(address, num_processes=count, process_id=number)
    return is_first()


def is_first() -> bool:
    """Return whether this process is the one that writes; a single process is."""
    return jax.process_index() == 0


@contextmanager
def held(workdir: pathlib.Path) -> Iterator[pathlib.Path]:
    """Lock a workdir for all processes of a run, and yield the folder in which this process works.

    The first, or only, process works in the workdir. The others compute the same rounds from the same past:
    each has a copy, which is deleted at the end.

    Raises:
      WorkdirError: as for `locked`, in all processes; or they do not see the same workdir.
    """
    if jax.process_count() == 1:
        with locked(workdir):
            yield workdir
        return
    with ExitStack() as stack:
        refused = None
        if is_first():
            try:
                stack.enter_context(locked(workdir))
            except WorkdirError as error:
                refused = error
        if multihost_utils.broadcast_one_to_all(np.int32(refused is not None)):
            raise refused or WorkdirError(f"the first process cannot use {workdir}; see its message.")
        here = workdir if is_first() else stack.enter_context(_copied(workdir))
        _require_same_past(here)  # wait until every process has its copy
        yield here


@contextmanager
def _copied(workdir: pathlib.Path) -> Iterator[pathlib.Path]:
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder, workdir.name)
        if workdir.is_dir():
            shutil.copytree(workdir, here)
        with locked(here):
            yield here


def _require_same_past(here: pathlib.Path) -> None:
    log = here / "rounds.jsonl"
    past = np.uint32(zlib.crc32(log.read_bytes()) if log.exists() else 0)
    if len(np.unique(multihost_utils.process_allgather(past))) > 1:
        raise WorkdirError(
            "the processes do not see the same rounds; give a --workdir on a disk that all share."
        )
