"""Logs rounds to a tracker as scalars, with the bits spent as the step. Both trackers are extras.

TensorBoard files are written by tensorboardX, which needs neither TensorFlow nor TensorBoard. Weights &
Biases stays offline unless the user has set it up: without `WANDB_MODE`, an API key or a login it does not
use the network, and `wandb sync` uploads the files later.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.util
import netrc
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager

from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError, how_to_install, unknown_name
from anneal_jax.experiments.grid import Cell, cell_folder
from anneal_jax.experiments.round_log import Row, read_rounds
from anneal_jax.experiments.systems import configure
from anneal_jax.files import atomic

_LogRow = Callable[[Row], None]

_PROJECT = "anneal-jax"
_NUM_LOGGED_FILE = "rounds_told"


@contextlib.contextmanager
def tracking(
    tracker: str | None,
    config: ExperimentConfig,
    workdir: str | pathlib.Path,
    *,
    name: str,
    group: str = "",
) -> Iterator[Callable[[], None]]:
    """Keep a tracker in step with the `rounds.jsonl` of a run.

    The number of logged rounds is stored with the tracker's files, in a folder of its name in the workdir:
    no round is logged twice, and a tracker that is added later also gets the earlier rounds.

    Args:
      tracker: `tensorboard`, `wandb`, or None.
      config: settings of the run.
      workdir: folder of the run.
      name: name of the run.
      group: name of the group of runs.

    Yields:
      A function to call after each round. It is called once more when the context ends without an error.

    Raises:
      ConfigError: there is no such tracker, or its package is not installed.
    """
    if not tracker:
        yield lambda: None
        return
    open_tracker = _opener(tracker)
    folder = pathlib.Path(workdir) / tracker
    with contextlib.ExitStack() as stack:

        @functools.cache  # opened at the first round, because a workdir must be empty at first
        def log_row() -> _LogRow:
            return stack.enter_context(open_tracker(config, folder, name, group))

        def log_new_rounds() -> None:
            rows = read_rounds(folder.parent / "rounds.jsonl")
            for row in rows[_num_logged(folder) :]:
                log_row()(row)
                atomic.write_text(folder / _NUM_LOGGED_FILE, str(row["round_index"] + 1))

        yield log_new_rounds
        log_new_rounds()


def track_cell(
    tracker: str | None, config: ExperimentConfig, cell: Cell, workdir: str | pathlib.Path
) -> None:
    """Send the rounds of a grid's cell that a tracker lacks.

    Args:
      tracker: see `tracking`.
      config: the recipe of the grid.
      cell: a finished run.
      workdir: folder of the grid.

    Raises:
      ConfigError: as in `tracking`.
    """
    settings = configure(config, cell.system, cell.seed)
    folder = cell_folder(workdir, cell.system, cell.seed)
    with tracking(tracker, settings, folder, name=f"{cell.system}, seed {cell.seed}", group=cell.system):
        pass  # all rounds exist


def require_tracker(tracker: str | None) -> None:
    """Raise an error if the tracker's package is missing, before any work begins.

    Raises:
      ConfigError: as in `tracking`.
    """
    if tracker:
        _opener(tracker)


def scalars(row: Row) -> dict[str, float]:
    """Return the numbers of a row that a tracker can plot.

    >>> scalars({"round_index": 1, "bits_spent": 112, "threshold": None, "selection_certified": True})
    {'round_index': 1.0, 'selection_certified': 1.0}
    """
    return {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and name != "bits_spent"
    }


def _opener(tracker: str) -> "_Open":
    if tracker not in _TRACKERS:
        raise unknown_name("tracker", tracker, _TRACKERS)
    package, open_tracker = _TRACKERS[tracker]
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"--tracker={tracker} needs {package}, which is not installed; "
            f"install it with {how_to_install(tracker)}."
        )
    return open_tracker


def _num_logged(folder: pathlib.Path) -> int:
    path = folder / _NUM_LOGGED_FILE
    return int(path.read_text(encoding="utf-8")) if path.exists() else 0


@contextlib.contextmanager
def _tensorboard(
    config: ExperimentConfig, folder: pathlib.Path, name: str, group: str
) -> Iterator[_LogRow]:
    import tensorboardX

    del name, group  # TensorBoard names runs after their folders
    # File names contain seconds; two files opened within one second would be the same file.
    suffix = f".from_round_{_num_logged(folder)}"
    with tensorboardX.SummaryWriter(str(folder), filename_suffix=suffix) as writer:
        settings = (f"    {key}: {value}" for key, value in dataclasses.asdict(config).items())
        writer.add_text("settings", "\n".join(settings))

        def log(row: Row) -> None:
            for field, value in scalars(row).items():
                writer.add_scalar(field, value, row["bits_spent"])
            writer.flush()

        yield log


@contextlib.contextmanager
def _wandb(config: ExperimentConfig, folder: pathlib.Path, name: str, group: str) -> Iterator[_LogRow]:
    mode = _wandb_mode()
    import wandb  # it reads the environment now

    folder.mkdir(parents=True, exist_ok=True)
    run = wandb.init(
        project=_PROJECT,
        dir=str(folder.parent),  # it creates its own folder `wandb` there
        name=name,
        group=group or None,
        # Identifies the same run after a kill, by its folder.
        id=hashlib.sha256(str(folder.absolute()).encode()).hexdigest()[:16],
        config=dataclasses.asdict(config),
        **mode,
    )
    try:
        yield lambda row: run.log(scalars(row), step=row["bits_spent"])
    finally:
        run.finish()


def _wandb_mode() -> dict[str, str]:
    """Leave the mode to users who have set up W&B; for others, choose offline and no telemetry."""
    if "WANDB_MODE" in os.environ or "WANDB_API_KEY" in os.environ or _has_login():
        return {"resume": "allow"}
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # it would contact its server, even offline
    return {"mode": "offline"}


def _has_login() -> bool:
    try:
        path = os.environ.get("NETRC", pathlib.Path("~/.netrc").expanduser())
        return netrc.netrc(path).authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


_Open = Callable[[ExperimentConfig, pathlib.Path, str, str], AbstractContextManager[_LogRow]]

_TRACKERS: Mapping[str, tuple[str, _Open]] = {
    "tensorboard": ("tensorboardX", _tensorboard),
    "wandb": ("wandb", _wandb),
}
"""Each tracker's package, and the function that opens it."""
