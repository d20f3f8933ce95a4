"""Several systems on one archive with shared seeds: the grid of runs behind a fair comparison."""

import contextlib
import io
import os
import pathlib
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
from tqdm import tqdm

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import AnnealError, WorkdirError
from anneal_jax.experiments.dataset import load_dataset
from anneal_jax.experiments.query_results import (
    QueryResults,
    name_results,
    read_results,
    write_results,
)
from anneal_jax.experiments.registry import check_method
from anneal_jax.experiments.round_log import Row, read_rounds
from anneal_jax.experiments.run import run_experiment
from anneal_jax.experiments.systems import canonical_systems, configure
from anneal_jax.experiments.workers import Died, run_in_processes
from anneal_jax.files import atomic
from anneal_jax.files.workdir import check_config, read_config
from anneal_jax.training.factory import make_learner
from anneal_jax.training.start import settle_side, settle_start

FINISHED = "finished"
"""A file that only the folders of finished cells contain."""

_RESULTS_FILE = "queries.json"
_MAX_WORKERS = 16  # each takes up to a GB of memory


class Cell(NamedTuple):
    """One finished run of the grid.

    Attributes:
      system: its name, see `systems.parse_system`.
      seed: determines split, first questions and weights, identically for every system.
      rows: one per round, as in `rounds.jsonl`.
    """

    system: str
    seed: int
    rows: list[Row]


class FailedCell(NamedTuple):
    """A run of the grid that failed; the same command tries it again.

    Attributes:
      system: its name.
      seed: seed of the run.
      reason: one sentence, or the traceback of a bug.
    """

    system: str
    seed: int
    reason: str


class _Attempt(NamedTuple):
    """A worker's result for a cell: its rows, or why there are none."""

    rows: list[Row]
    reason: str = ""


def run_grid(
    config: ExperimentConfig,
    systems: Sequence[str],
    seeds: Sequence[int],
    workdir: str | pathlib.Path,
    *,
    num_workers: int = 1,
    cpus_each: int = 0,
) -> Iterator[Cell | FailedCell]:
    """Run every system with every seed; finished cells are only read.

    Each cell has its own workdir, `workdir/SYSTEM/seed_N`, and resumes like `run_experiment`. If a cell
    fails, the others continue.

    Args:
      config: the recipe; its own acquisition, supervision and seed are ignored.
      systems: names, see `systems.parse_system`.
      seeds: seeds run for every system, so that differences between systems are paired.
      workdir: folder of the grid.
      num_workers: number of cells at a time, each in its own process; 1 runs them in this process, 0 uses
        `choose_workers`.
      cpus_each: number of CPUs that each worker is bound to; 0 lets every cell use all, as without workers,
        so that its rows are the same to the last digit. See docs/operations.md.

    Yields:
      The cells: finished ones first, the others as they finish.

    Raises:
      AnnealError: a name or a setting is wrong, or the archive, the weights or an old workdir cannot be
        used; raised before anything runs.
    """
    names = canonical_systems(config, systems)
    folders = {(name, seed): cell_folder(workdir, name, seed) for seed in seeds for name in names}
    settings = {key: settle_start(configure(config, *key), folder) for key, folder in folders.items()}
    for key, folder in folders.items():
        check_method(settings[key])
        check_config(folder, settings[key])
    finished = [key for key, folder in folders.items() if _is_finished(folder, settings[key])]
    for key in finished:
        yield Cell(*key, read_rounds(folders[key] / "rounds.jsonl"))
    open_keys = [key for key in settings if key not in finished]
    if open_keys:
        _fill_cache(settings[open_keys[0]])
    tasks = [(settings[key], folders[key]) for key in open_keys]
    num_workers = num_workers or choose_workers(cpus_each)
    for index, attempt in _attempts(tasks, num_workers, cpus_each):
        key = open_keys[index]
        yield FailedCell(*key, attempt.reason) if attempt.reason else Cell(*key, attempt.rows)


def choose_workers(cpus_each: int = 0) -> int:
    """Return how many cells to run at a time on this machine.

    One cell keeps almost two CPUs busy, and an accelerator serves only one cell. Workers bound to a few
    CPUs use all of them.

    Args:
      cpus_each: as in `run_grid`.
    """
    if jax.default_backend() != "cpu":
        return 1
    return max(1, min(_MAX_WORKERS, (os.cpu_count() or 1) // (cpus_each or 2)))


def cell_folder(workdir: str | pathlib.Path, system: str, seed: int) -> pathlib.Path:
    """Return the folder of a cell."""
    return pathlib.Path(workdir) / system / f"seed_{seed}"


def query_results(
    config: ExperimentConfig, system: str, seed: int, workdir: str | pathlib.Path
) -> QueryResults:
    """Return the results of each query in a finished cell, after its last round.

    They are read from the cell's file; if a cell of an older version has none, its last checkpoint is
    restored and the file is written.

    Raises:
      AnnealError: the file, the checkpoint or the archive cannot be used, or the cell was run elsewhere.
    """
    folder, settings = cell_folder(workdir, system, seed), configure(config, system, seed)
    if not (folder / _RESULTS_FILE).exists():
        if not (folder / "checkpoints").exists():  # as after `grid_files.unpack_cells`
            raise WorkdirError(f"{folder} was run elsewhere, without storing the results of its queries.")
        outcome = run_experiment(settings, folder)
        write_results(folder / _RESULTS_FILE, name_results(outcome.dataset, outcome.retrieval))
    return read_results(folder / _RESULTS_FILE)


def _is_finished(folder: pathlib.Path, config: ExperimentConfig) -> bool:
    return (folder / FINISHED).exists() and read_config(folder) == config


def _fill_cache(config: ExperimentConfig) -> None:
    """Open the shared inputs once, so that errors are reported once and features are computed once."""
    dataset = load_dataset(config)
    if config.regime == "frozen":
        make_learner(
            settle_side(config, dataset.archive),
            dataset.archive,
            dataset.split.train,
            with_classifier=False,
        )


def _attempts(
    tasks: Sequence[tuple[ExperimentConfig, pathlib.Path]], num_workers: int, cpus_each: int
) -> Iterator[tuple[int, _Attempt]]:
    if num_workers == 1 and not cpus_each:
        yield from ((index, _run_cell(*task)) for index, task in enumerate(tasks))
        return
    for index, result in run_in_processes(
        _run_cell_quietly, tasks, min(num_workers, len(tasks)), cpus_each=cpus_each
    ):
        yield index, _attempt_of(result) if isinstance(result, Died) else result


def _run_cell(config: ExperimentConfig, folder: pathlib.Path) -> _Attempt:
    """Run a cell; any error becomes the reason of its failure."""
    try:
        (folder / FINISHED).unlink(missing_ok=True)  # it may be from a run with fewer rounds
        outcome = run_experiment(config, folder)
        write_results(folder / _RESULTS_FILE, name_results(outcome.dataset, outcome.retrieval))
        atomic.write_text(folder / FINISHED, "")
        return _Attempt(outcome.rows)
    except AnnealError as error:
        return _Attempt([], str(error))
    except Exception:  # in one cell: the other cells continue
        return _Attempt([], traceback.format_exc())


def _run_cell_quietly(config: ExperimentConfig, folder: pathlib.Path) -> _Attempt:
    """Run a cell and print its output at the end; several progress bars would overwrite each other."""
    tqdm.set_lock(threading.RLock())  # its own lock between processes would outlive a terminated worker
    with contextlib.redirect_stderr(io.StringIO()) as said:
        attempt = _run_cell(config, folder)
    sys.stderr.write(said.getvalue())
    return attempt


def _attempt_of(death: Died) -> _Attempt:
    code = death.exit_code or 0
    how = f"by {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
    advice = "if memory ran out, give fewer --workers"
    return _Attempt([], f"its process was ended {how}; {advice}. Its committed results are kept.")
