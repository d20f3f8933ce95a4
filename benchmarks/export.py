"""Measure the time from a click on Export to the files, for the best tiles of an archive.

  python benchmarks/export.py --archive=folder:../shared/data/ucm --workdir=runs/export --k=100

The page runs as usual, with pixels as features, which take no time to compute. For each format the request
of the button is sent `--repeats` times. Printed are the median and the longest time until the last byte,
and the size. The command line is timed too, from its start to its end.
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request

import numpy as np

from anneal_jax.annotation.search_by_example import nearest
from anneal_jax.annotation.web.access import make_access
from anneal_jax.annotation.web.server import opened
from anneal_jax.config import ExperimentConfig

FORMATS = ("results.zip", "results.csv", "results.geojson", "results.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--archive", required=True)
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="a new folder")
    parser.add_argument("--k", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=7)
    given = parser.parse_args()
    config = ExperimentConfig(archive=given.archive, backbone="pixels", pretrained="none")
    with opened(config, given.workdir, sentence="Same land use", learns=True) as context:
        embeddings = context.session.plan.embeddings
        found = nearest(embeddings, embeddings[0], given.k, own=0)
        has_places = context.tiles.column("box") is not None
        rows = [{"tile": tile, "similarity": similarity} for tile, similarity in found]
        print(f"{len(rows)} of {len(embeddings):,} tiles")
        with serving(context) as url:
            for name in FORMATS if has_places else FORMATS[:2]:
                times, num_bytes = measure(f"{url}export/{name}", {"tile": 0, "rows": rows}, given.repeats)
                report(name, times, num_bytes)
        query = context.names[0]
    times = [copy_by_command(given.workdir, query, given.k) for _ in range(3)]
    report("launch/search.py --copy_to", times)


def measure(url: str, body: dict, repeats: int) -> tuple[list[float], int]:
    """Return the seconds of each request, and the bytes of the last."""
    origin = "/".join(url.split("/")[:3])
    headers = {"Content-Type": "application/octet-stream", "Origin": origin}
    times, num_bytes = [], 0
    for _ in range(repeats):
        begun = time.perf_counter()
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310
        with urllib.request.urlopen(request) as response:  # noqa: S310
            num_bytes = len(response.read())
        times.append(time.perf_counter() - begun)
    return times, num_bytes


def copy_by_command(workdir: pathlib.Path, query: str, k: int) -> float:
    """Return the seconds of a whole command, including its start."""
    folder = workdir / "copied"
    shutil.rmtree(folder, ignore_errors=True)
    command = [sys.executable, "launch/search.py", f"--index={workdir}", f"--query=id:{query}"]
    begun = time.perf_counter()
    subprocess.run(  # noqa: S603
        [*command, f"--k={k}", f"--copy_to={folder}"], check=True, stdout=subprocess.DEVNULL
    )
    return time.perf_counter() - begun


def serving(context):
    """Serve an open workdir in a thread during the context; yield the page's address."""
    import contextlib
    import socket
    import threading

    import uvicorn

    from anneal_jax.annotation.web.app import create_app

    @contextlib.contextmanager
    def served():
        access = make_access("127.0.0.1")
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(context, access), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/{access.token}/"
        server.should_exit = True
        thread.join()

    return served()


def report(name: str, times: list[float], num_bytes: int | None = None) -> None:
    size = "" if num_bytes is None else f"  {num_bytes / 1e6:.2f} MB"
    print(f"{name:28s} median {statistics.median(times):.2f} s, slowest {np.max(times):.2f} s{size}")


if __name__ == "__main__":
    main()
