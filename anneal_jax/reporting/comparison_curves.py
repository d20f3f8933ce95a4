"""The curves of a comparison as arrays, the basis of its tables, picture and claims."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.evaluation.intervals import PairedDifference, paired_difference_interval
from anneal_jax.evaluation.learning_curves import quality_at
from anneal_jax.experiments.grid import Cell
from anneal_jax.experiments.round_log import Row
from anneal_jax.experiments.systems import TRAINED_ONCE, base_of

FIGURE = "mean_average_precision_at_5"

Values = npt.NDArray[np.float64]
Runs = Mapping[str, Sequence[Sequence[Row]]]
"""The rows of each system's runs, the same seeds in the same order for every system."""


def runs_of(cells: Sequence[Cell]) -> Runs:
    """Group finished cells by system, in order of first appearance."""
    systems = dict.fromkeys(cell.system for cell in cells)
    in_order = sorted(cells, key=lambda cell: cell.seed)
    return {name: [cell.rows for cell in in_order if cell.system == name] for name in systems}


def is_level(system: str) -> bool:
    """Return whether a system is trained once on everything: a level, not a curve."""
    return base_of(system) in TRAINED_ONCE


def levels_of(runs: Runs) -> list[str]:
    """Return the systems that are levels, the upper bound first, each before its variants."""
    levels = [name for name in runs if is_level(name)]
    return sorted(levels, key=lambda name: (TRAINED_ONCE.index(base_of(name)), base_of(name) != name))


def bits_of(rows: Sequence[Row]) -> Values:
    """Return the bits spent after each round, float64[R]."""
    return np.array([row["bits_spent"] for row in rows], np.float64)


def minutes_of(rows: Sequence[Row]) -> Values:
    """Return the minutes of an average person after each round, float64[R]; NaN if nobody is asked."""
    return np.array([row.get("seconds_spent") for row in rows], np.float64) / 60


class Cost(NamedTuple):
    """A cost by which curves are drawn and compared.

    Attributes:
      unit: its name.
      of: returns the cost after each round of a run, float64[R].
      form: how a value is written.
    """

    unit: str
    of: Callable[[Sequence[Row]], Values]
    form: str


BITS = Cost("bits", bits_of, ",.0f")
MINUTES = Cost("minutes", minutes_of, ",.1f")


def costs_of(runs: Runs) -> list[Cost]:
    """Return the costs to compare these runs by: bits, and minutes if they differ by more than their unit.

    Rows from before `seconds_spent` was written, and of methods that ask nobody, have bits alone. If every
    bit took as long, as with pairs alone, minutes would show the same curves again.
    """
    curves = [rows for of_seeds in runs.values() for rows in of_seeds]
    bits, minutes = (np.concatenate([of(rows) for rows in curves]) for of in (bits_of, minutes_of))
    differ = np.isfinite(minutes).all() and not np.allclose(minutes * bits.sum(), bits * minutes.sum())
    return [BITS, MINUTES] if differ else [BITS]


def figures_of(rows: Sequence[Row]) -> Values:
    """Return mAP@5 after each round, float64[R]."""
    return np.array([row[FIGURE] for row in rows], np.float64)


def last_figures(runs: Sequence[Sequence[Row]]) -> Values:
    """Return mAP@5 after the last round of each run, float64[seeds]."""
    return np.array([rows[-1][FIGURE] for rows in runs])


def common_costs(runs: Sequence[Sequence[Row]], cost: Cost = BITS) -> Values:
    """Return float64[seeds, rounds], the costs of the rounds that all runs reached."""
    num_rounds = min(map(len, runs))
    return np.array([cost.of(rows)[:num_rounds] for rows in runs])


def read_at(runs: Sequence[Sequence[Row]], costs: Values, cost: Cost = BITS) -> Values:
    """Evaluate each run's curve at its own costs, float64[seeds, M]; NaN before its first round."""
    return np.array(
        [quality_at(cost.of(rows), figures_of(rows), at) for rows, at in zip(runs, costs, strict=True)]
    )


def mean_interval(values: Values) -> PairedDifference:
    """Return the mean over seeds, at least two, with its 95% t interval."""
    return paired_difference_interval(values, np.zeros_like(values))
