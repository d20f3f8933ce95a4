"""Finished cells of a comparison in one file, to archive or to continue with on another machine.

One line of JSON per cell: its settings, fingerprints of its inputs, and the row of each round.
"""

import dataclasses
import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from anneal_jax.config import ExperimentConfig, config_from_mapping
from anneal_jax.errors import AnnealError, WorkdirError, reason_of
from anneal_jax.experiments.grid import FINISHED, Cell, cell_folder
from anneal_jax.experiments.round_log import append_round
from anneal_jax.experiments.systems import canonical_systems, configure
from anneal_jax.files import atomic
from anneal_jax.files.workdir import read_config, read_inputs, settle_config
from anneal_jax.models import packaged
from anneal_jax.training.start import settle_start

CELLS_FILE = "cells.jsonl"

PLACES = ("archive", "labels", "pretrained", "cache_dir")
"""Settings that name a path; they may differ if the fingerprints of the inputs agree."""


def write_cells(cells: Iterable[Cell], workdir: str | pathlib.Path) -> None:
    """Write finished cells of a comparison to `cells.jsonl` in its folder."""
    lines = []
    for system, seed, rows in cells:
        folder = cell_folder(workdir, system, seed)
        record = {
            "system": system,
            "seed": seed,
            "config": dataclasses.asdict(read_config(folder)),
            "inputs": read_inputs(folder),
            "rows": rows,
        }
        lines.append(json.dumps(record) + "\n")
    atomic.write_text(pathlib.Path(workdir) / CELLS_FILE, "".join(lines))


def unpack_cells(
    paths: Sequence[str | pathlib.Path], config: ExperimentConfig, workdir: str | pathlib.Path
) -> int:
    """Unpack the cells of such files as finished cells of a comparison; existing cells are kept.

    Only their rows are restored; the results of their queries were not stored.

    Args:
      paths: paths of the files.
      config: the recipe of the comparison.
      workdir: its folder.

    Returns:
      Number of cells unpacked.

    Raises:
      WorkdirError: a file cannot be read, or a cell was run with other settings, tiles, labels or weights.
    """
    num_laid = 0
    for path in map(pathlib.Path, paths):
        try:
            lines = path.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            raise WorkdirError(f"cannot read the cells in {path} ({reason_of(error)}).") from error
        for number, line in enumerate(lines, 1):
            try:
                num_laid += _unpack(json.loads(line), config, pathlib.Path(workdir))
            except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
                raise WorkdirError(f"line {number} of {path} is not a cell ({error!r}).") from error
            except AnnealError as error:
                raise WorkdirError(f"line {number} of {path} does not belong here: {error}") from error
    return num_laid


def _unpack(record: dict[str, Any], config: ExperimentConfig, workdir: pathlib.Path) -> bool:
    (system,) = canonical_systems(config, [record["system"]])
    folder = cell_folder(workdir, system, record["seed"])
    wanted = settle_start(configure(config, system, record["seed"]), folder)
    places = {name: getattr(wanted, name) for name in PLACES}
    found = dataclasses.replace(config_from_mapping(record["config"]), **places)
    if wanted.pretrained == packaged.SOURCE and not wanted.image_size:
        wanted = dataclasses.replace(wanted, image_size=found.image_size)  # derived from the tiles
    differing = [name for name in record["config"] if getattr(found, name) != getattr(wanted, name)]
    if differing:
        raise WorkdirError(f"{system} seed {record['seed']} was run with another {', '.join(differing)}.")
    for other in workdir.glob("*/seed_*/inputs.json"):  # one is enough, because all agree
        if read_inputs(other.parent) != record["inputs"]:
            raise WorkdirError(f"{system} was run on other tiles, labels or weights than {other.parent}.")
        break
    if folder.exists():
        return False
    folder.mkdir(parents=True)
    (folder / "lock").touch()
    settle_config(folder, wanted, record["inputs"])
    for row in record["rows"]:
        append_round(folder / "rounds.jsonl", row)
    atomic.write_text(folder / FINISHED, "")
    return True
