"""A map of one query's nearest tiles: plate carrée, including across the 180th meridian."""

import os
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from anneal_jax.data.earth_maps import MOSAIC_PIXELS_PER_DEGREE, is_mosaic_installed, read_mosaic
from anneal_jax.reporting import style

_WIDTH_PX, _DPI = 1600, 200  # twice the size on a page, for dense screens
_MAP_SHARE = 0.925  # share of the width
_MIN_HEIGHT_PX, _MAX_HEIGHT_PX, _TEXT_PX = 600, 1400, 190  # heights of the map, and of title and legend
_WHOLE_TURN_DEG = 360.0
_TURNS_DEG = (-_WHOLE_TURN_DEG, 0.0, _WHOLE_TURN_DEG)  # all is drawn in each, and clipped to the view
_WORLD_FROM_DEG = 180.0  # a view wider than this shows the whole Earth
_MARGIN = 0.06  # around the tiles, as a share of their extent
_MIN_SPAN_DEG = 1e-3
_MOSAIC_FROM_PX = 200  # a narrower part of the mosaic would be a blur
_PALE = 0.45  # share of white mixed into the mosaic, so that marks are visible
_SEA = "#f3f5f7"


class _Look(NamedTuple):
    """The marker of a kind of tile; the area is in square points."""

    marker: str
    colour: str
    area: float


_QUERY, _RIGHT, _WRONG = (
    _Look("*", style.INK, 120),
    _Look("s", style.RIGHT, 22),
    _Look("X", style.WRONG, 38),
)


class View(NamedTuple):
    """The part of the Earth that a map shows, in degrees; `east` may be above 180."""

    west: float
    south: float
    east: float
    north: float


def plot_result_map(
    boxes: npt.NDArray[np.float64],
    query: int,
    hits: npt.NDArray[np.integer],
    relevant: npt.NDArray[np.bool_],
    path: str | os.PathLike[str],
    *,
    title: str,
) -> None:
    """Draw a query and its nearest tiles as a PNG 1600 pixels wide.

    The query is a star, a right tile a green square, a wrong one a brown cross. NASA's mosaic is the
    background if its package is installed and the view is wide enough; otherwise the outlines of all tiles
    are.

    Args:
      boxes: float64[N, 4], west, south, east, north of every tile in degrees; NaN if unknown.
      query: its row of `boxes`, with a known place.
      hits: int[K], rows of its nearest tiles, with known places.
      relevant: bool[K], whether each is right.
      path: the PNG to create or replace.
      title: one line above the map.

    Raises:
      WorkdirError: the folder of `path` does not exist.
    """
    known = boxes[~np.isnan(boxes).any(axis=1)]
    view = view_of(known)
    stretch = 1 / max(np.cos(np.radians((view.south + view.north) / 2)), 0.1)
    height = int(_MAP_SHARE * _WIDTH_PX * stretch * (view.north - view.south) / (view.east - view.west))
    height = _TEXT_PX + min(max(height, _MIN_HEIGHT_PX), _MAX_HEIGHT_PX)
    figure = style.new_figure(_WIDTH_PX, height, _DPI)
    axes = figure.add_axes((0.05, 105 / height, _MAP_SHARE, 1 - _TEXT_PX / height))
    _frame(axes, view, stretch, title)
    if not _draw_mosaic(axes, view):
        _draw_boxes(axes, known, facecolor="white", edgecolor=style.FAINT)
    looks = zip((_RIGHT, _WRONG), (boxes[hits[relevant]], boxes[hits[~relevant]]), strict=True)
    for look, found in looks:  # mark the centres, because a box may be smaller than a pixel
        _draw_boxes(axes, found, facecolor="none", edgecolor=look.colour, zorder=2)
        _mark(axes, look, _centres(found, view))
    _mark(axes, _QUERY, _centres(boxes[[query]], view))
    _draw_legend(axes, int(relevant.sum()), int((~relevant).sum()))
    style.save_png(figure, path)


def view_of(boxes: npt.NDArray[np.float64]) -> View:
    """Return the view that contains all boxes: the shorter way around the Earth, or the whole Earth.

    Args:
      boxes: float64[N, 4], N > 0, west, south, east, north in degrees; east of a box across the 180th
        meridian is above 180.

    >>> view_of(np.array([[178.0, -20.0, 180.0, -18.0], [-180.0, -20.0, -178.0, -18.0]])).west > 177
    True
    >>> view_of(np.array([[-70.0, 0.0, -67.0, 3.0], [60.0, 0.0, 63.0, 3.0], [150.0, 0.0, 153.0, 3.0]]))
    View(west=-180.0, south=-90.0, east=180.0, north=90.0)
    """
    west, span = _shortest_arc(boxes[:, 0], boxes[:, 2])
    if span > _WORLD_FROM_DEG:
        return View(-180.0, -90.0, 180.0, 90.0)
    south, north = float(boxes[:, 1].min()), float(boxes[:, 3].max())
    margin = _MARGIN * max(span, north - south, _MIN_SPAN_DEG)
    return View(west - margin, max(south - margin, -90.0), west + span + margin, min(north + margin, 90.0))


def _shortest_arc(west: npt.NDArray[np.float64], east: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Return the start and the length, in degrees, of the shortest arc that contains all [west, east].

    It starts after the widest gap between them.
    """
    starts = np.mod(west, _WHOLE_TURN_DEG)
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], (starts + (east - west))[order]
    reached = np.maximum.accumulate(np.concatenate([[ends.max() - _WHOLE_TURN_DEG], ends[:-1]]))
    gaps = starts - reached
    first = int(gaps.argmax())
    begin = float(starts[first])
    return begin - _WHOLE_TURN_DEG * (begin >= 180.0), _WHOLE_TURN_DEG - max(float(gaps[first]), 0.0)


def _centres(boxes: npt.NDArray[np.float64], view: View) -> npt.NDArray[np.float64]:
    """Return float64[N, 2], x and y of the centre of each box, in the view's turn of the Earth."""
    middle = (boxes[:, 0] + boxes[:, 2]) / 2
    x = view.west + np.mod(middle - view.west, _WHOLE_TURN_DEG)
    return np.stack([x, (boxes[:, 1] + boxes[:, 3]) / 2], axis=1)


def _frame(axes: Axes, view: View, stretch: float, title: str) -> None:
    axes.set_xlim(view.west, view.east)
    axes.set_ylim(view.south, view.north)
    axes.set_aspect(stretch)
    axes.set_facecolor(_SEA)
    axes.set_autoscale_on(False)
    text = style.legible(title, limit=84)
    axes.set_title(
        text, loc="left", pad=9, fontsize=9.5, fontfamily=style.FONT, color=style.INK, parse_math=False
    )
    axes.tick_params(length=0, labelsize=7, labelcolor=style.MUTED, labelfontfamily=style.FONT)
    steps = [1, 1.5, 2, 3, 5, 6, 10]
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=steps))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=steps))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _degrees((x + 180) % 360 - 180, "WE")))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: _degrees(y, "SN")))
    axes.spines[:].set_color(style.FAINT)


def _degrees(value: float, letters: str) -> str:
    side = letters[int(value > 0)] if value % 180 else ""
    return f"{abs(round(value, 6)):g}°{side}"


def _draw_mosaic(axes: Axes, view: View) -> bool:
    """Draw the pale mosaic; return False if there is none, or too little of it in view."""
    width_px = (view.east - view.west) * MOSAIC_PIXELS_PER_DEGREE
    if width_px < _MOSAIC_FROM_PX or not is_mosaic_installed():
        return False
    mosaic = np.asarray(Image.fromarray(read_mosaic()).reduce(max(1, int(width_px / _WIDTH_PX))))
    axes.set_facecolor("white")
    for turn in _TURNS_DEG:
        if turn - 180 < view.east and turn + 180 > view.west:
            extent = (turn - 180, turn + 180, -90, 90)
            axes.imshow(mosaic, extent=extent, alpha=1 - _PALE, aspect=axes.get_aspect(), zorder=0)
    axes.set_xlim(view.west, view.east)
    axes.set_ylim(view.south, view.north)
    return True


def _draw_boxes(axes: Axes, boxes: npt.NDArray[np.float64], **look: Any) -> None:
    """Draw boxes float64[N, 4] in any turn of the Earth."""
    west, south, east, north = boxes.T
    corners = np.stack([west, south, east, south, east, north, west, north], axis=1).reshape(-1, 4, 2)
    turns = np.concatenate([corners + np.array([turn, 0.0]) for turn in _TURNS_DEG])
    axes.add_collection(PolyCollection(list(turns), linewidth=0.6, **look), autolim=False)


def _mark(axes: Axes, look: _Look, places: npt.NDArray[np.float64]) -> PathCollection:
    return axes.scatter(
        *places.T,
        s=look.area,
        marker=look.marker,
        color=look.colour,
        edgecolors="white",
        linewidths=0.5,
        zorder=3,
    )


def _draw_legend(axes: Axes, num_right: int, num_wrong: int) -> None:
    nowhere = np.full((1, 2), np.nan)
    axes.legend(
        [_mark(axes, look, nowhere) for look in (_QUERY, _RIGHT, _WRONG)],
        ["query", f"{num_right} of its class", f"{num_wrong} of other classes"],
        loc="upper left",
        bbox_to_anchor=(0, -0.05),
        ncols=3,
        frameon=False,
        borderaxespad=0,
        prop={"family": style.FONT, "size": 8},
        labelcolor=style.INK,
    )
