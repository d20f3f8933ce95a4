"""Several systems on one archive with shared seeds: the grid of runs behind a fair comparison."""

import dataclasses
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from anneal_jax import atomic
from anneal_jax.acquisition.registry import ACQUISITIONS
from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import unknown_name
from anneal_jax.experiment import run_experiment
from anneal_jax.run_log import Row, read_rounds
from anneal_jax.workdir import read_config

CLUSTERING = "+clustering"

RIVALS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "all_pairs": {"supervision": "all_pairs"},
        "class_labels": {"supervision": "class_labels"},
        "group_ask": {"supervision": "group_ask"},
        "random_labels": {"supervision": "random_labels"},
        "srl_all": {"supervision": "class_labels", "group_loss": "srl"},
        "srl_groups": {"supervision": "group_ask", "group_loss": "srl"},
        "srl_labels": {"supervision": "random_labels", "group_loss": "srl"},
        "tcal": {"supervision": "tcal"},
        "tcal_igarss": {"supervision": "tcal_igarss"},
        "tcal_random": {"supervision": "tcal_random"},
    }
)
"""Systems that pay for something other than pairs, and the settings that make them."""

TRAINED_ONCE = ("class_labels", "srl_all", "all_pairs")
"""Systems with everything known: a level to reach, not a curve; the first there is the upper bound."""


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
    return sorted([*plain, *(name + CLUSTERING for name in plain), *RIVALS])


def configure(config: ExperimentConfig, system: str, seed: int) -> ExperimentConfig:
    """Return the settings of one cell: the recipe, with only system and seed changed.

    Args:
      config: the recipe.
      system: an acquisition, `ACQUISITION+clustering`, or one of `RIVALS`.
      seed: of the run.

    Raises:
      ConfigError: there is no such system; the nearest is named.

    >>> configure(ExperimentConfig(), "mgue+clustering", 3).diversity
    True
    >>> configure(ExperimentConfig(), "srl_all", 3).group_loss
    'srl'
    """
    if system not in system_names():
        raise unknown_name("system", system, system_names())
    if system in RIVALS:
        return dataclasses.replace(config, **RIVALS[system], seed=seed)
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

    Each cell has its own workdir, `workdir/SYSTEM/seed_N`, and goes on as `run_experiment` does.

    Args:
      config: the recipe; its own acquisition, supervision and seed are not looked at.
      systems: names, see `configure`.
      seeds: run for every system, so that differences between systems are paired.
      workdir: folder of the grid.

    Yields:
      The cells, seed by seed.
    """
    cells = [(system, seed, configure(config, system, seed)) for seed in seeds for system in systems]
    for system, seed, settings in cells:
        yield Cell(system, seed, _run_cell(settings, pathlib.Path(workdir) / system / f"seed_{seed}"))


def _run_cell(config: ExperimentConfig, folder: pathlib.Path) -> list[Row]:
    marker = folder / "finished"
    if marker.exists() and read_config(folder) == config:
        return read_rounds(folder / "rounds.jsonl")
    rows = run_experiment(config, folder).rows
    atomic.write_text(marker, "")
    return rows
