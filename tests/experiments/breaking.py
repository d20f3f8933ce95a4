"""Runs that are broken off: by an exception at any commit, or by SIGKILL in a process of their own."""

import dataclasses
import json
import signal

from anneal_jax.answers.store import AnswerStore
from anneal_jax.experiments import method
from anneal_jax.experiments import run as run_module
from anneal_jax.training.checkpoints import RoundCheckpoints
from tests.launching import run_python

COMMITS = [
    (AnswerStore, "record_all"),
    (AnswerStore, "give"),
    (AnswerStore, "add_round"),
    (AnswerStore, "set_similarities"),
    (RoundCheckpoints, "save"),
    (run_module, "append_round"),
]


class Killed(BaseException):
    """Stands for a kill: nothing in the package catches it."""


def damage_checkpoint(workdir, round_index):
    """Flip a bit in each large file of a round's checkpoint."""
    step = workdir / "checkpoints" / str(round_index) / "default"
    for path in (path for path in step.rglob("*") if path.is_file() and path.stat().st_size > 1_000):
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)


def run_with_breaks(monkeypatch, run, *, first, per_commit=1):
    """Break a run off at its commits, before one or after it, until it comes to its end.

    Args:
      monkeypatch: of the test.
      run: goes on where it was, when called again.
      first: begins and ends of commits until the first break; each later run gets two more.
      per_commit: answers of the oracle in one commit.

    Returns:
      What `run` returned, and the number of breaks.
    """
    calls_left = 0

    def count_down():
        nonlocal calls_left
        calls_left -= 1
        if calls_left == 0:
            raise Killed

    def breaking(function):
        def wrapped(*arguments, **named):
            count_down()
            result = function(*arguments, **named)
            count_down()
            return result

        return wrapped

    monkeypatch.setattr(method, "ORACLE_ANSWERS_PER_COMMIT", per_commit)
    for owner, name in COMMITS:
        monkeypatch.setattr(owner, name, breaking(getattr(owner, name)))
    num_breaks = 0
    while True:
        calls_left = first + 2 * num_breaks
        try:
            return run(), num_breaks
        except Killed:
            num_breaks += 1


_KILLED_RUN = """
import json, os, signal, sys
from anneal_jax.experiments import method, run
from anneal_jax.config import config_from_mapping
from anneal_jax.answers.store import AnswerStore
from anneal_jax.training.checkpoints import RoundCheckpoints
moment, settings, workdir = json.loads(sys.argv[1])
def killing(owner, name):
    function = getattr(owner, name)
    def wrapped(*arguments, **named):
        result = function(*arguments, **named)
        if moment and moment[0] == name:
            moment[1] -= 1
            if moment[1] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return result
    setattr(owner, name, wrapped)
method.ORACLE_ANSWERS_PER_COMMIT = 1
for name in ("record_all", "give", "add_round"):
    killing(AnswerStore, name)
killing(RoundCheckpoints, "save")
for name in ("append_round", "measure"):
    killing(run, name)
run.run_experiment(config_from_mapping(settings), workdir)
"""


def run_in_process(config, workdir, *, killed_at=None):
    """Run in a process of its own; with `killed_at` (function, its call) it must die there by SIGKILL."""
    arguments = json.dumps([killed_at, dataclasses.asdict(config), str(workdir)])
    done = run_python("-c", _KILLED_RUN, arguments, environment={"XLA_FLAGS": ""})
    assert done.returncode == (0 if killed_at is None else -signal.SIGKILL), done.stderr
