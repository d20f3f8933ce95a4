"""The learning curve: retrieval quality against its cost in answers."""

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from anneal_jax.evaluation.metrics import Denominator
from anneal_jax.reporting import style

_METRIC = "mean_average_precision_at_5"
_WIDTH_PX, _HEIGHT_PX, _DPI = 1600, 1000, 240  # twice the size on a page, for dense screens
_LABEL_GAP = 0.058  # height of a label, as a share of the height of the axes
DASHES = ("-", "--", ":", "-.")


class Curve(NamedTuple):
    """A run to be drawn.

    Attributes:
      label: label at its end.
      costs: cost of each point, such as bits.
      values: mAP@5 of each point.
      colour: a matplotlib colour.
    """

    label: str
    costs: list[float]
    values: list[float]
    colour: str


def plot_curve(
    runs: Mapping[str, Sequence[Mapping[str, Any]]],
    path: str | os.PathLike[str],
    *,
    title: str,
    denominator: Denominator = "min(k,R)",
    baseline: float | None = None,
) -> None:
    """Draw mAP@5 against bits spent, a line for each run, as a PNG of 1600 x 1000 pixels.

    Args:
      runs: name of a run to the rows of its log; a round without mAP@5 (None) is left out.
      path: the PNG to create or replace.
      title: one line above the plot.
      denominator: divisor of mAP@5, shown on its axis.
      baseline: mAP@5 in [0, 1] of frozen features, at 0 bits; a dashed line.

    Raises:
      ValueError: there is no run, or one has no round with mAP@5.
      WorkdirError: the folder of `path` does not exist.
    """
    if not runs:
        raise ValueError("there is no run to draw: give at least one")
    curves = [_curve(order, *run) for order, run in enumerate(runs.items())]
    if len(curves) == 1:  # the title names the run
        curves = [curves[0]._replace(label=f"{curves[0].values[-1]:.3f}")]
    figure = style.new_figure(_WIDTH_PX, _HEIGHT_PX, _DPI)
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.1)
    axes = figure.add_subplot()
    frame_axes(axes, title, denominator)
    for order, curve in enumerate(curves):
        _draw(axes, order, curve)
    if baseline is not None:
        curves.append(Curve(f"{baseline:.3f} frozen, 0 bits", [0.0], [baseline], style.MUTED))
    limit_axes(axes, curves)
    label_ends(axes, curves)
    style.save_png(figure, path)


def spread(heights: Sequence[float], gap: float) -> list[float]:
    """Move heights in [0, 1] apart by at least `gap`, upwards first, then down from 1.

    Example:
      >>> spread([0.5, 0.5, 0.1], gap=0.25)
      [0.5, 0.75, 0.1]
      >>> spread([1.0, 0.875], gap=0.25)
      [1.0, 0.75]
    """
    order = sorted(range(len(heights)), key=heights.__getitem__)
    moved = list(heights)
    for below, above in itertools.pairwise(order):
        moved[above] = max(moved[above], moved[below] + gap)
    ceiling = 1.0
    for index in reversed(order):
        moved[index] = min(moved[index], ceiling)
        ceiling = moved[index] - gap
    return moved


def _curve(order: int, name: str, rows: Sequence[Mapping[str, Any]]) -> Curve:
    measured = [row for row in rows if row[_METRIC] is not None]
    if not measured:
        raise ValueError(f"run {name!r} has no round with {_METRIC}: there is no curve to draw")
    values = [row[_METRIC] for row in measured]
    label = f"{values[-1]:.3f} {style.legible(name, limit=26)}"
    colour = style.SERIES_COLOURS[order % len(style.SERIES_COLOURS)]
    return Curve(label, [row["bits_spent"] for row in measured], values, colour)


def frame_axes(axes: Axes, title: str, denominator: Denominator) -> None:
    """Set title, axis names with units, and remove lines without information."""
    text: dict[str, Any] = {"fontfamily": style.FONT, "color": style.INK, "parse_math": False}
    quality = f"mAP@5, divided by {denominator}"
    axes.set_title(style.legible(title, limit=54), loc="left", pad=12, fontsize=12, **text)
    axes.set_xlabel("questions asked (bits)", labelpad=8, fontsize=11, **text)
    axes.set_ylabel(quality, labelpad=8, fontsize=11, **text)
    axes.tick_params(length=0, labelsize=10, labelcolor=style.MUTED, labelfontfamily=style.FONT)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    # Steps of 1, 2 or 5 hundredths: two decimals name every line exactly.
    axes.yaxis.set_major_locator(MaxNLocator(7, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:.2f}"))
    axes.grid(axis="y", color=style.FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color(style.MUTED)


def _draw(axes: Axes, order: int, curve: Curve) -> None:
    axes.plot(
        curve.costs,
        curve.values,
        color=curve.colour,
        marker=style.SERIES_MARKERS[order % len(style.SERIES_MARKERS)],
        linestyle=DASHES[order // len(style.SERIES_COLOURS) % len(DASHES)],
        linewidth=2,
        markersize=6,
        clip_on=False,
        zorder=3,
    )


def limit_axes(axes: Axes, curves: Sequence[Curve]) -> None:
    """Show costs from 0, and quality from below the lowest value to 1, the best possible."""
    lowest = min(min(curve.values) for curve in curves)
    most = max(max(curve.costs) for curve in curves)
    axes.set_xlim(0, 1.03 * max(most, 1))
    axes.set_ylim(max(0.0, math.floor(10 * lowest - 0.25) / 10), 1.0)


def label_ends(axes: Axes, curves: Sequence[Curve], *, gap: float = _LABEL_GAP) -> None:
    """Name each curve where it ends, so that no legend has to be matched by colour.

    Args:
      axes: axes with limits set.
      curves: curves drawn in them.
      gap: height of a label, as a share of the height of the axes.
    """
    end, floor = axes.get_xlim()[1], axes.get_ylim()[0]
    heights = [(curve.values[-1] - floor) / (1 - floor) for curve in curves]
    line: dict[str, Any] = {"linewidth": 1.2, "zorder": 1}
    outside: dict[str, Any] = {"transform": axes.transAxes, "clip_on": False}
    for curve, start, height in zip(curves, heights, spread(heights, gap), strict=True):
        level = [curve.values[-1]] * 2
        axes.plot([curve.costs[-1], end], level, color=curve.colour, linestyle=(0, (5, 4)), **line)
        axes.plot([1.0, 1.03], [start, height], color=curve.colour, **line, **outside)
        text = axes.text(1.04, height, curve.label, fontsize=10, color=style.INK, **outside)
        text.set(fontfamily=style.FONT, verticalalignment="center", parse_math=False)
