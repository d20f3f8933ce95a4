"""Tables of a comparison: mean and interval per round, and differences paired by seed."""

from collections.abc import Sequence

import numpy as np

from anneal_jax.comparison import CLASS_LABELS, Cell
from anneal_jax.evaluation import DENOMINATOR
from anneal_jax.statistics import paired_difference_interval

FIGURE = "mean_average_precision_at_5"


def curve_of(cells: Sequence[Cell], system: str) -> np.ndarray:
    """Return mAP@5 of a system, float64[seeds, rounds], over the rounds that every seed reached."""
    rows = [cell.rows for cell in cells if cell.system == system]
    num_rounds = min(map(len, rows))
    return np.array([[row[FIGURE] for row in run[:num_rounds]] for run in rows])


def comparison_markdown(cells: Sequence[Cell], *, reference: str = "random") -> str:
    """Return the tables of a comparison as Markdown.

    Args:
      cells: finished runs, the same seeds for every system.
      reference: system that the others are compared to, seed by seed, where it is among them.
    """
    systems = list(dict.fromkeys(cell.system for cell in cells))
    curves = {name: curve_of(cells, name) for name in systems if name != CLASS_LABELS}
    num_seeds = len({cell.seed for cell in cells})
    lines = [f"mAP@5, denominator {DENOMINATOR}, mean ± half the 95% t interval over {num_seeds} seeds.", ""]
    if curves:
        lines += _curve_table(cells, curves)
    for name in systems:
        if name == CLASS_LABELS:
            lines += [_upper_bound_line(cells), ""]
    if reference in curves and len(curves) > 1:
        lines += _difference_table(curves, reference)
    return "\n".join(lines)


def _curve_table(cells: Sequence[Cell], curves: dict[str, np.ndarray]) -> list[str]:
    num_rounds = min(curve.shape[1] for curve in curves.values())
    bits = [
        round(np.mean([cell.rows[index]["bits_spent"] for cell in cells if cell.system in curves]))
        for index in range(num_rounds)
    ]
    frozen = np.array([cell.rows[0][f"{FIGURE}_features"] for cell in cells if cell.system in curves])
    lines = ["| bits | " + " | ".join(f"{value:,}" for value in bits) + " |", "|---" * (num_rounds + 1) + "|"]
    for name, curve in curves.items():
        figures = (_with_interval(curve[:, index]) for index in range(num_rounds))
        lines.append(f"| {name} | " + " | ".join(figures) + " |")
    return [*lines, "", f"Features alone, 0 bits: {frozen.mean():.3f}.", ""]


def _upper_bound_line(cells: Sequence[Cell]) -> str:
    values = curve_of(cells, CLASS_LABELS)[:, 0]
    bits = next(cell.rows[0]["bits_spent"] for cell in cells if cell.system == CLASS_LABELS)
    return f"All class labels with the group loss, {bits:,} bits: {_with_interval(values)}."


def _difference_table(curves: dict[str, np.ndarray], reference: str) -> list[str]:
    lines = [
        f"Difference to {reference} at the last round, paired by seed:",
        "",
        "| system | mean difference | 95% t interval |",
        "|---|---|---|",
    ]
    for name, curve in curves.items():
        if name == reference:
            continue
        found = paired_difference_interval(curve[:, -1], curves[reference][:, -1])
        lines.append(f"| {name} | {found.mean:+.3f} | {found.lower:+.3f} to {found.upper:+.3f} |")
    return [*lines, ""]


def _with_interval(values: np.ndarray) -> str:
    if len(values) < 2:
        return f"{values[0]:.3f}"
    found = paired_difference_interval(values, np.zeros_like(values))
    return f"{found.mean:.3f} ± {(found.upper - found.lower) / 2:.3f}"
