"""Several systems on one archive with shared seeds: the grid of runs behind a fair comparison."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from anneal_jax.acquisition.registry import ACQUISITIONS
from anneal_jax.config import ExperimentConfig, nearest_hint
from anneal_jax.errors import ConfigError
from anneal_jax.experiment import run_experiment
from anneal_jax.run_log import Row

CLUSTERING = "+clustering"
CLASS_LABELS = "class_labels"


class Cell(NamedTuple):
    """One finished run of the grid.

    Attributes:
      system: as given to `run_grid`.
      seed: fixes split, first questions and weights, alike for every system.
      rows: one per round, as in `rounds.jsonl`.
    """

    system: str
    seed: int
    rows: list[Row]


def system_names() -> list[str]:
    """Return every system that can be compared, sorted."""
    plain = list(ACQUISITIONS)
    return sorted([*plain, *(name + CLUSTERING for name in plain), CLASS_LABELS])


def configure(config: ExperimentConfig, system: str, seed: int) -> ExperimentConfig:
    """Return the settings of one cell: the recipe, with only system and seed changed.

    Args:
      config: the recipe.
      system: an acquisition, `ACQUISITION+clustering`, or `class_labels`.
      seed: of the run.

    Raises:
      ConfigError: there is no such system; the nearest is named.

    >>> configure(ExperimentConfig(), "mgue+clustering", 3).diversity
    True
    """
    if system not in system_names():
        raise ConfigError(
            f"there is no system {system!r}{nearest_hint(system, system_names())}; choose from "
            f"{', '.join(system_names())}."
        )
    if system == CLASS_LABELS:
        return dataclasses.replace(config, supervision=CLASS_LABELS, seed=seed)
    return dataclasses.replace(
        config,
        supervision="pairs",
        acquisition=system.removesuffix(CLUSTERING),
        diversity=system.endswith(CLUSTERING),
        seed=seed,
    )


def run_grid(
    config: ExperimentConfig, systems: Sequence[str], seeds: Sequence[int], workdir: str | pathlib.Path
) -> Iterator[Cell]:
    """Run every system with every seed; a cell that is finished is only read.

    Each cell has its own workdir, `workdir/SYSTEM/seed_N`, and resumes as `run_experiment` does.

    Args:
      config: the recipe; its own acquisition and seed are not looked at.
      systems: names, see `configure`.
      seeds: run for every system, so that differences between systems are paired.
      workdir: folder of the grid.

    Yields:
      The cells, seed by seed.
    """
    cells = [configure(config, system, seed) for seed in seeds for system in systems]
    names = [(system, seed) for seed in seeds for system in systems]
    for cell, (system, seed) in zip(cells, names, strict=True):
        outcome = run_experiment(cell, pathlib.Path(workdir) / system / f"seed_{seed}")
        yield Cell(system, seed, outcome.rows)
