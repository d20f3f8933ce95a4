"""The picture of a comparison: each system's mean and interval over seeds, against its cost."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from anneal_jax.evaluation.retrieval_quality import DENOMINATOR
from anneal_jax.experiments.grid import Cell
from anneal_jax.experiments.round_log import Row
from anneal_jax.reporting import style
from anneal_jax.reporting.comparison_curves import (
    BITS,
    FIGURE,
    Cost,
    costs_of,
    is_level,
    levels_of,
    mean_interval,
    runs_of,
)
from anneal_jax.reporting.curve import DASHES, Curve, frame_axes, label_ends, limit_axes

_WIDTH_PX, _HEIGHT_PX, _DPI = 1800, 1300, 240
_LABEL_PX, _FRAME_PX = 58, 260  # height of a label, and of the space above and below the axes
_NAME_LETTERS = 26
_BAND_OPACITY, _SEED_OPACITY = 0.15, 0.45

_MIN_SEEDS_WITH_BAND = 3
"""Minimum seeds for an interval: the t interval of two seeds is 12.7 standard errors wide and hides the
curves."""


def plot_comparison(cells: Sequence[Cell], path: str | os.PathLike[str], *, title: str) -> None:
    """Draw mAP@5 against bits spent, a line with its 95% t interval for each system, as a PNG.

    A second panel has minutes of an average person instead of bits, if they say other than bits.
    With two seeds, each seed is a thin line instead of the interval. Systems trained once on everything,
    and frozen features, are dashed levels, because their cost is outside the picture, or zero. The picture
    grows with the number of systems, so that each has a line for its name.

    Args:
      cells: finished runs, the same seeds for every system.
      path: the PNG to create or replace.
      title: one line above the plot.
    """
    runs = runs_of(cells)
    levels = [_level(name, runs[name]) for name in levels_of(runs)]
    frozen = float(np.mean([cell.rows[0][f"{FIGURE}_features"] for cell in cells]))
    levels.append(Curve(f"{frozen:.3f} frozen, 0 bits", [0.0], [frozen], style.MUTED))
    curves = {name: of_seeds for name, of_seeds in runs.items() if not is_level(name)}
    costs = costs_of(curves) if curves else [BITS]
    height_px = max(_HEIGHT_PX, _FRAME_PX + _LABEL_PX * (len(curves) + len(levels)))
    figure = style.new_figure(_WIDTH_PX, height_px * len(costs), _DPI)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    for axes, cost in zip(figure.subplots(len(costs), squeeze=False).flat, costs, strict=True):
        frame_axes(axes, title if cost is BITS else "", DENOMINATOR)
        axes.xaxis.label.set_text(f"annotation cost ({cost.unit})")
        drawn = [_draw(axes, order, *named, cost) for order, named in enumerate(curves.items())]
        limit_axes(axes, [*drawn, *levels])
        label_ends(axes, [*drawn, *levels], gap=_LABEL_PX / (height_px - _FRAME_PX))
    style.save_png(figure, path)


def _draw(axes: Axes, order: int, name: str, runs: Sequence[Sequence[Row]], cost: Cost) -> Curve:
    """Draw one system up to its longest run; a shorter run stays at its last value."""
    rounds = [[rows[min(i, len(rows) - 1)] for rows in runs] for i in range(max(map(len, runs)))]
    spent = [float(np.mean(cost.of(rows))) for rows in rounds]
    values = [np.array([row[FIGURE] for row in rows]) for rows in rounds]
    means = [float(np.mean(of_seeds)) for of_seeds in values]
    colour = style.SERIES_COLOURS[order % len(style.SERIES_COLOURS)]
    if len(runs) >= _MIN_SEEDS_WITH_BAND:
        intervals = [mean_interval(of_seeds) for of_seeds in values]
        lower, upper = [each.lower for each in intervals], [each.upper for each in intervals]
        axes.fill_between(spent, lower, upper, color=colour, alpha=_BAND_OPACITY, linewidth=0, zorder=2)
    elif len(runs) > 1:
        axes.plot(spent, values, color=colour, alpha=_SEED_OPACITY, linewidth=0.8, zorder=2)
    line: dict[str, Any] = {"linewidth": 1.8, "markersize": 5, "zorder": 3, "color": colour}
    axes.plot(
        spent,
        means,
        marker=style.SERIES_MARKERS[order % len(style.SERIES_MARKERS)],
        linestyle=DASHES[order // len(style.SERIES_COLOURS) % len(DASHES)],
        clip_on=False,
        **line,
    )
    return Curve(f"{means[-1]:.3f} {style.legible(name, limit=_NAME_LETTERS)}", spent, means, colour)


def _level(name: str, runs: Sequence[Sequence[Row]]) -> Curve:
    mean = float(np.mean([rows[-1][FIGURE] for rows in runs]))
    name = style.legible(name, limit=_NAME_LETTERS)
    return Curve(f"{mean:.3f} {name}, {runs[0][-1]['bits_spent']:,} bits", [0.0], [mean], style.INK)
