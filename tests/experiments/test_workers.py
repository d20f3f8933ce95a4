import contextlib
import operator
import os
import pathlib
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from anneal_jax.errors import ConfigError
from anneal_jax.experiments.workers import Died, run_in_processes
from tests.conftest import ROOT

TIMEOUT_S = 30


def results(tasks, num_workers, **options):
    return dict(run_in_processes(operator.call, tasks, num_workers, **options))


def is_running(pid):
    with contextlib.suppress(FileNotFoundError):
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_until_gone(pid):
    end = time.monotonic() + TIMEOUT_S
    while is_running(pid):
        assert time.monotonic() < end, f"process {pid} is still there after {TIMEOUT_S} s"
        time.sleep(0.05)


def test_every_task_has_its_result_and_workers_are_used_again():
    assert results([(pow, 2, n) for n in range(5)], 2) == {n: 2**n for n in range(5)}
    pids = set(results([(os.getpid,)] * 5, 2).values())
    assert len(pids) <= 2 and os.getpid() not in pids


def test_no_task_starts_no_worker():
    assert results([], 2) == {}


@pytest.mark.parametrize(
    ("death", "exit_code"), [((os._exit, 3), 3), ((signal.raise_signal, signal.SIGKILL), -9)]
)
def test_a_worker_that_dies_takes_only_its_own_task_with_it(death, exit_code):
    assert results([death, (abs, -1), death, (abs, -2)], 2) == {
        0: Died(exit_code),
        1: 1,
        2: Died(exit_code),
        3: 2,
    }


def test_closing_the_generator_ends_busy_workers_and_idle_ones():
    running = run_in_processes(operator.call, [(os.getpid,), (time.sleep, 600), (os.getpid,)], 2)
    pids = [next(running)[1], next(running)[1]]
    start = time.monotonic()
    running.close()
    assert time.monotonic() - start < TIMEOUT_S
    for pid in pids:
        wait_until_gone(pid)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system binds no process")
def test_workers_are_bound_before_they_import_anything():
    cpus = os.sched_getaffinity(0)
    (bound,) = results([(os.sched_getaffinity, 0)], 1, cpus_each=1).values()
    assert len(bound) == 1 and bound < cpus | {-1}
    with pytest.raises(ConfigError, match=f"exceed the {len(cpus)} available"):
        results([(abs, 1)], 1, cpus_each=len(cpus) + 1)
    assert os.sched_getaffinity(0) == cpus


PARENT = """
    import operator, os, signal, time
    from anneal_jax.experiments.workers import run_in_processes

    if __name__ == "__main__":
        signal.signal(signal.SIGINT, signal.default_int_handler)  # as at a terminal, also under nohup
        try:
            for _, pid in run_in_processes(operator.call, [(os.getpid,), (time.sleep, 600)], 1):
                print(pid, flush=True)
        except KeyboardInterrupt:
            print("stopped", flush=True)
"""


@pytest.fixture
def parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(textwrap.dedent(PARENT))
    with subprocess.Popen(
        [sys.executable, script],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        yield process
        process.kill()


def test_workers_leave_with_a_parent_that_is_killed(parent):
    pid = int(parent.stdout.readline())
    parent.kill()
    wait_until_gone(pid)


def test_ctrl_c_at_a_terminal_ends_all_without_a_word_from_the_workers(parent):
    pid = int(parent.stdout.readline())
    os.killpg(parent.pid, signal.SIGINT)
    out, err = parent.communicate(timeout=TIMEOUT_S)
    assert (out, err) == ("stopped\n", "")
    wait_until_gone(pid)
