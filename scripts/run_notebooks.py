"""Run the notebooks, or write them from the text they are paired with; scripts/notebooks calls this."""

import argparse
import os
import pathlib
import resource
import sys
import tempfile
import time

import jupytext
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError

FOLDER = pathlib.Path(__file__).parents[1] / "notebooks"
START_TIMEOUT_S, CELL_TIMEOUT_S = 300, 1800


def main() -> None:
    """Run the notebooks that are named, or pair all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="how the names begin; none: all")
    parser.add_argument(
        "--pair", action="store_true", help="write each .ipynb from its .py, without outputs"
    )
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the notebooks with their outputs")
    parser.add_argument("--folder", type=pathlib.Path, default=FOLDER, help=argparse.SUPPRESS)
    given = parser.parse_args()
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # no kernel of the user's comes before this environment's
    if given.pair:
        for text in sorted(given.folder.glob("*.py")):
            nbformat.write(paired(text), text.with_suffix(".ipynb"))
        return
    paths = [
        p for p in sorted(given.folder.glob("*.ipynb")) if p.name.startswith(tuple(given.names or [""]))
    ]
    if not paths:
        sys.exit(f"error: no notebook in {given.folder} is named so.")
    if failed := [path.name for path in paths if not run(path, given.keep)]:
        sys.exit(f"error: these notebooks failed: {', '.join(failed)}.")


def paired(text: pathlib.Path) -> nbformat.NotebookNode:
    """Return the notebook of a text in py:percent, the same to the last byte each time."""
    notebook = jupytext.read(text)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
    return notebook


def run(path: pathlib.Path, keep: pathlib.Path | None) -> bool:
    """Run a notebook in an empty folder; say how long it took, or what failed in which cell."""
    notebook = nbformat.read(path, as_version=4)
    start, cpu = time.monotonic(), children_cpu_s()
    with tempfile.TemporaryDirectory(prefix="notebook-") as folder:
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            timeout=CELL_TIMEOUT_S,
            resources={"metadata": {"path": folder}},
            startup_timeout=START_TIMEOUT_S,
            extra_arguments=["--log-level=ERROR"],
        )
        try:
            client.execute()
        except (CellExecutionError, CellTimeoutError) as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            return False
        finally:
            if keep:
                keep.mkdir(parents=True, exist_ok=True)
                nbformat.write(notebook, keep / path.name)
    print(
        f"{path.name}: {time.monotonic() - start:.0f} s, {children_cpu_s() - cpu:.0f} s of CPU", flush=True
    )
    return True


def children_cpu_s() -> float:
    """Return the CPU time of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
