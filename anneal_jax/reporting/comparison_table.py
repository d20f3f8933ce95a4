"""Tables of a comparison: quality at equal cost, cost of equal quality, and differences paired by seed."""

import csv
import io
from collections.abc import Sequence

import numpy as np

from anneal_jax.acquisition.beliefs.seconds import GlanceSeconds
from anneal_jax.evaluation.intervals import paired_difference_interval
from anneal_jax.evaluation.learning_curves import cost_to_reach, mean_quality
from anneal_jax.evaluation.retrieval_quality import DENOMINATOR
from anneal_jax.experiments.grid import Cell
from anneal_jax.experiments.round_log import Row
from anneal_jax.reporting.comparison_curves import (
    BITS,
    FIGURE,
    Cost,
    Runs,
    Values,
    bits_of,
    common_costs,
    costs_of,
    figures_of,
    is_level,
    last_figures,
    levels_of,
    mean_interval,
    read_at,
    runs_of,
)

TARGETS = (0.95, 0.99)
"""Shares of the upper bound for which to report the cost."""


def comparison_csv(cells: Sequence[Cell]) -> str:
    """Return every row of every cell as CSV: system, seed, and every field of any row."""
    fields = dict.fromkeys(field for cell in cells for row in cell.rows for field in row)
    text = io.StringIO()
    writer = csv.DictWriter(text, ["system", "seed", *fields], lineterminator="\n")
    writer.writeheader()
    for system, seed, rows in cells:
        writer.writerows({"system": system, "seed": seed, **row} for row in rows)
    return text.getvalue()


def comparison_markdown(cells: Sequence[Cell], *, reference: str = "random") -> str:
    """Return the tables of a comparison as Markdown.

    Args:
      cells: finished runs, the same seeds for every system.
      reference: system whose costs define the columns, and with which the others are compared seed by seed;
        if it is not among them, the first one with a curve.
    """
    runs = runs_of(cells)
    curves = {name: of_seeds for name, of_seeds in runs.items() if not is_level(name)}
    bounds = levels_of(runs)
    frozen = np.array([rows[0][f"{FIGURE}_features"] for rows in next(iter(runs.values()))])
    lines = [
        f"mAP@5, denominator {DENOMINATOR}, mean ± half the 95% t interval over "
        f"{len(cells) // len(runs)} seeds. Between rounds a curve is linear; after the last one it "
        "is constant.",
        "",
        f"Features alone, 0 bits: {_with_interval(frozen)}.",
        "",
    ]
    if bounds:
        lines += _bound_table(runs, bounds)
    if curves:
        reference = reference if reference in curves else next(iter(curves))
        bound = last_figures(runs[bounds[0]]) if bounds else None
        for cost in costs_of(curves):
            lines += [] if cost is BITS else _about_minutes(curves, cost)
            lines += _curve_table(curves, reference, cost)
            lines += _summary_table(curves, reference, bound, cost)
            lines += _difference_table(curves, reference, cost)
    return "\n".join(lines)


def _bound_table(runs: Runs, bounds: Sequence[str]) -> list[str]:
    rows = [
        [name, f"{bits_of(runs[name][0])[-1]:,.0f}", _with_interval(last_figures(runs[name]))]
        for name in bounds
    ]
    return _table(["everything known", "bits", "mAP@5"], rows)


def _about_minutes(curves: Runs, cost: Cost) -> list[str]:
    """Say whose minutes they are, and when each curve ends, as curves of equal bits differ in minutes."""
    ends = (
        f"{name} at {np.mean([cost.of(rows)[-1] for rows in runs]):{cost.form}}"
        for name, runs in curves.items()
    )
    pair_s = GlanceSeconds().pair
    text = f"By minutes of an average person, who takes {pair_s} s for a pair. The curves end:"
    return [f"{text} {', '.join(ends)}.", ""]


def _curve_table(curves: Runs, reference: str, cost: Cost) -> list[str]:
    at = common_costs(curves[reference], cost)
    rows = [[name, *map(_with_interval, read_at(curves[name], at, cost).T)] for name in curves]
    return _table([cost.unit, *(f"{value:{cost.form}}" for value in at.mean(axis=0))], rows)


def _summary_table(curves: Runs, reference: str, bound: Values | None, cost: Cost) -> list[str]:
    """Summarise each curve by its mean, and by the cost of good retrieval."""
    at = common_costs(curves[reference], cost)
    low, high = (f"{at[:, place].mean():{cost.form}}" for place in (0, -1))
    titles = ["system", f"mean mAP@5, {low} to {high} {cost.unit}"]
    rows = [[name, _with_interval(_heights(runs, at, cost))] for name, runs in curves.items()]
    for share in TARGETS if bound is not None else ():
        titles.append(f"{cost.unit} to {share:.0%} of the upper bound")
        for row in rows:
            own = curves[row[0]]
            first = np.array([cost.of(rows)[0] for rows in own])
            row.append(_spent(_costs(own, share * np.asarray(bound), cost), first, cost))
    return _table(titles, rows)


def _difference_table(curves: Runs, reference: str, cost: Cost) -> list[str]:
    """Compare each system with the reference: at the last column, and over all costs of the reference."""
    at = common_costs(curves[reference], cost)
    others = [name for name in curves if name != reference]
    if not others or len(at) < 2:
        return []
    ends, heights = (
        {name: measured(curves[name], at, cost) for name in curves}
        for measured in (lambda *of: read_at(*of)[:, -1], _heights)
    )
    rows = [[name, *(_difference(of[name], of[reference]) for of in (ends, heights))] for name in others]
    titles = [
        f"minus {reference}, paired by seed",
        f"at {at[:, -1].mean():{cost.form}} {cost.unit}",
        "mean mAP@5",
    ]
    return _table(titles, rows)


def _heights(runs: Sequence[Sequence[Row]], at: Values, cost: Cost) -> Values:
    """Return the mean quality of each run over the costs of the reference's run."""
    if at.shape[1] < 2:
        return read_at(runs, at, cost)[:, 0]
    return np.array(
        [
            mean_quality(cost.of(rows), figures_of(rows), own[0], own[-1])
            for rows, own in zip(runs, at, strict=True)
        ]
    )


def _costs(runs: Sequence[Sequence[Row]], targets: Values, cost: Cost) -> Values:
    return np.array(
        [
            cost_to_reach(cost.of(rows), figures_of(rows), target)
            for rows, target in zip(runs, targets, strict=True)
        ]
    )


def _with_interval(values: Values) -> str:
    if np.isnan(values).any():
        return "–"
    if len(values) < 2:
        return f"{values[0]:.3f}"
    found = mean_interval(values)
    return f"{found.mean:.3f} ± {found.half_width:.3f}"


def _spent(values: Values, first: Values, cost: Cost) -> str:
    """Format a mean cost with its interval, or the number of seeds that reached it if some did not.

    A seed that is there at the first number of bits may have arrived earlier, so the mean is then a bound.
    """
    num_there = np.count_nonzero(~np.isnan(values))
    if num_there < len(values):
        return f"reached by {num_there} of {len(values)} seeds"
    sign = "≤ " if (values <= first).any() else ""
    if len(values) < 2 or np.ptp(values) == 0:
        return f"{sign}{values.mean():{cost.form}}"
    found = mean_interval(values)
    return f"{sign}{found.mean:{cost.form}} ± {found.half_width:{cost.form}}"


def _difference(values: Values, reference: Values) -> str:
    if np.isnan(values).any():
        return "–"
    found = paired_difference_interval(values, reference)
    return f"{found.mean:+.3f}, {found.lower:+.3f} to {found.upper:+.3f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [titles, ["---"] * len(titles), *rows]
    return [*(f"| {' | '.join(line)} |" for line in lines), ""]
