"""Processes of Python that start as forks of one that has loaded what they import, in a tenth of the time.

Nothing else differs from `python COMMAND`: arguments, environment, streams, exit code and kills are those
of a process. What is read when Python starts or JAX loads, such as PYTHONUTF8, needs a real start.
"""

import atexit
import functools
import gc
import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Mapping
from typing import Any

ROOT = pathlib.Path(__file__).resolve().parent.parent


class Forked:
    """A process that runs `python COMMAND`; COMMAND is a script or -c and a program, and its arguments.

    Attributes:
      pid: its number.
    """

    def __init__(
        self,
        *command: object,
        stdout: str | os.PathLike = os.devnull,
        stderr: str | os.PathLike = os.devnull,
        cwd: str | os.PathLike = ROOT,
        environment: Mapping[str, str] = {},
    ):
        """Start it in `cwd`; its streams go to files, and `environment` is added to that of the tests."""
        request = {"command": [str(word) for word in command], "cwd": str(cwd)}
        request |= {"streams": [str(pathlib.Path(path).absolute()) for path in (stdout, stderr)]}
        self._code = None
        self.pid = _ask({**request, "environment": {**os.environ, **environment}})

    def wait(self) -> int:
        """Wait for its end, ten minutes at most; return its exit code, or minus its signal."""
        deadline = time.monotonic() + 600
        while (code := self.poll()) is None:
            assert time.monotonic() < deadline, f"process {self.pid} does not end"
            time.sleep(0.005)
        return code

    def poll(self) -> int | None:
        """Return what `wait` does if it has ended, else nothing."""
        if self._code is None:
            self._code = _ask({"pid": self.pid})
        return self._code

    def kill(self) -> None:
        """Send it SIGKILL, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


def run_python(
    *command: object, stdout: str | os.PathLike | None = None, **settings
) -> subprocess.CompletedProcess[str]:
    """Run a `Forked` to its end; return what it printed too, unless that went to a file `stdout`."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = pathlib.Path(folder, "stdout"), pathlib.Path(folder, "stderr")
        code = Forked(*command, stdout=stdout or out, stderr=err, **settings).wait()
        printed = out.read_text("utf-8") if out.exists() else ""
        return subprocess.CompletedProcess(command, code, printed, err.read_text("utf-8"))


def run_script(name: str, *arguments: object, **settings) -> subprocess.CompletedProcess[str]:
    """Run `launch/NAME.py`; see `run_python`."""
    return run_python(f"launch/{name}.py", *arguments, **settings)


_lock = threading.Lock()


def _ask(request: dict) -> Any:
    server = _server()
    assert server.stdin and server.stdout
    with _lock:
        server.stdin.write(json.dumps(request) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())


@functools.cache
def _server() -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = subprocess.Popen([sys.executable, __file__], cwd=ROOT, text=True, **pipes)
    atexit.register(server.communicate)  # it ends with its input
    return server


def _serve() -> None:
    """Fork for each command on stdin; the child runs it, and the parent prints its number."""
    import anneal_jax.annotation.workdir_index
    import anneal_jax.experiments.run
    import anneal_jax.exporting.result_files
    import anneal_jax.reporting.run_report
    import anneal_jax.reporting.search_results  # noqa: F401

    gc.freeze()  # else each child would copy all memory when it collects garbage
    for line in sys.stdin:
        request = json.loads(line)
        if "pid" in request:
            pid, status = os.waitpid(request["pid"], os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of threads of libraries, all of which are idle
            child = os.fork()
        if child == 0:
            return _become(**request)
        print(child, flush=True)


def _become(command: list[str], streams: list[str], cwd: str, environment: dict[str, str]) -> None:
    for number, path in enumerate([os.devnull, *streams]):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path[1:1] = environment.get("PYTHONPATH", "").split(os.pathsep)
    if command[0] == "-c":
        sys.argv, sys.path[0] = ["-c", *command[2:]], ""
        exec(compile(command[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv, sys.path[0] = command, str(pathlib.Path(command[0]).resolve().parent)
        runpy.run_path(command[0], run_name="__main__")


if __name__ == "__main__":
    _serve()
