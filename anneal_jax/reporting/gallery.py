"""Draws queries with their nearest neighbours, marked right or wrong by colour and sign."""

import os
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Rectangle

from anneal_jax.reporting import style

_SIDE_PX = 192  # about the size of a tile on a page, for dense screens
_GAP_PX, _QUERY_GAP_PX, _MARGIN_PX = 12, 40, 24
_CAPTION_PX, _ROW_GAP_PX, _HEADER_PX = 38, 28, 52
_TALLY_PX, _LETTER_PX = 180, 15  # widths of `5 of 5 right` and of a wide letter
_TEXT_POINTS = 17  # for a picture that a page shows at two thirds of its size
_NOTE_POINTS, _NOTE_LETTER_PX = 14, 12
_TICK = ((-0.48, 0.04), (-0.12, 0.42), (0.52, -0.38))
_CROSS = ((-0.4, -0.4), (0.4, 0.4), (0.0, 0.0), (-0.4, 0.4), (0.4, -0.4))


def plot_gallery(
    query_tiles: npt.NDArray[np.uint8],
    neighbour_tiles: npt.NDArray[np.uint8],
    relevant: npt.NDArray[np.bool_] | None,
    captions: Sequence[str],
    path: str | os.PathLike[str],
    *,
    notes: Sequence[Sequence[str]] | None = None,
) -> None:
    """Draw each query and its nearest neighbours, nearest first, in a row of a PNG.

    Tiles of up to 96 pixels are enlarged by a whole factor without smoothing; larger ones are
    scaled to 192 pixels. A right neighbour has a green frame and a tick, a wrong one a red frame
    and a cross.

    Args:
      query_tiles: uint8[Q, H, W, 3].
      neighbour_tiles: uint8[Q, K, H, W, 3], nearest first.
      relevant: bool[Q, K], whether a neighbour is similar to its query; None if unknown.
      captions: Q captions, one above each row.
      path: the PNG to create or replace.
      notes: Q times K lines, one below each neighbour.

    Raises:
      ValueError: there is no query or no neighbour, or the shapes do not match.
      WorkdirError: the folder of `path` does not exist.
    """
    _check(query_tiles, neighbour_tiles, relevant, captions)
    num_queries, num_neighbours = neighbour_tiles.shape[:2]
    side = _side(query_tiles.shape[1])
    lefts = _lefts(num_neighbours, side)
    row_height = _CAPTION_PX + side + _ROW_GAP_PX + (_CAPTION_PX if notes else 0)
    width = lefts[-1] + side + _MARGIN_PX
    caption_letters = (width - 2 * _MARGIN_PX - _TALLY_PX) // _LETTER_PX
    canvas = _Canvas(width, _MARGIN_PX + _HEADER_PX + num_queries * row_height)
    canvas.write(lefts[0], _MARGIN_PX, "query", style.MUTED)
    canvas.write(lefts[1], _MARGIN_PX, "nearest first", style.MUTED)
    for row in range(num_queries):
        top = _MARGIN_PX + _HEADER_PX + row * row_height
        canvas.write(lefts[0], top, style.legible(captions[row], caption_letters), style.INK)
        if relevant is not None:
            tally = f"{int(relevant[row].sum())} of {num_neighbours} right"
            canvas.write(lefts[-1] + side, top, tally, style.INK, horizontalalignment="right")
        for column, tile in enumerate([query_tiles[row], *neighbour_tiles[row]]):
            axes = canvas.show(lefts[column], top + _CAPTION_PX, side, tile)
            if column and relevant is not None:
                _mark(axes, bool(relevant[row, column - 1]), side)
            if column and notes:
                bottom = top + _CAPTION_PX + side + _GAP_PX // 2
                note = style.legible(notes[row][column - 1], side // _NOTE_LETTER_PX)
                canvas.write(lefts[column], bottom, note, style.MUTED, fontsize=_NOTE_POINTS)
    style.save_png(canvas.figure, path)


class _Canvas:
    """A figure addressed in pixels from its top left, so that tiles stay sharp."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self.figure: Figure = style.new_figure(width, height)

    def write(
        self,
        left: int,
        top: int,
        text: str,
        colour: str,
        *,
        fontsize: float = _TEXT_POINTS,
        horizontalalignment: Literal["left", "right"] = "left",
    ) -> None:
        self.figure.text(
            left / self.width,
            1 - top / self.height,
            text,
            verticalalignment="top",
            horizontalalignment=horizontalalignment,
            fontfamily=style.FONT,
            fontsize=fontsize,
            color=colour,
            parse_math=False,
        )

    def show(self, left: int, top: int, side: int, tile: npt.NDArray[np.uint8]) -> Axes:
        """Draw a tile into a square of `side` pixels; return axes that count in those pixels."""
        bottom = self.height - top - side
        box = (left / self.width, bottom / self.height, side / self.width, side / self.height)
        axes = self.figure.add_axes(box)
        # "antialiased" only smooths if the factor is not whole: small tiles stay crisp.
        axes.imshow(tile, extent=(0, side, side, 0), interpolation="antialiased", aspect="auto")
        axes.set_axis_off()
        return axes


def _check(
    queries: npt.NDArray[np.uint8],
    neighbours: npt.NDArray[np.uint8],
    relevant: npt.NDArray[np.bool_] | None,
    captions: Sequence[str],
) -> None:
    if queries.ndim != 4 or 0 in queries.shape or queries.shape[3] != 3:
        raise ValueError(f"query_tiles has shape {queries.shape}; give uint8[Q, H, W, 3], Q > 0")
    expected = (len(queries), *neighbours.shape[1:2], *queries.shape[1:])
    if neighbours.shape != expected or 0 in expected:
        raise ValueError(
            f"neighbour_tiles has shape {neighbours.shape}, but query_tiles {queries.shape}; "
            "give uint8[Q, K, H, W, 3], K > 0"
        )
    if relevant is not None and relevant.shape != neighbours.shape[:2]:
        raise ValueError(f"relevant has shape {relevant.shape}; give {neighbours.shape[:2]}")
    if len(captions) != len(queries):
        raise ValueError(f"{len(captions)} captions for {len(queries)} queries; give one for each")


def _side(tile_side: int) -> int:
    """Return the side in pixels at which a tile is drawn."""
    return tile_side * round(_SIDE_PX / tile_side) if tile_side <= _SIDE_PX // 2 else _SIDE_PX


def _lefts(num_neighbours: int, side: int) -> list[int]:
    """Return the left edges of the query and, after a gap, of its neighbours."""
    first = _MARGIN_PX + side + _QUERY_GAP_PX
    return [_MARGIN_PX, *(first + rank * (side + _GAP_PX) for rank in range(num_neighbours))]


def _mark(axes: Axes, right: bool, side: int) -> None:
    """Frame a tile and put a tick or a cross on its corner; axes count in pixels."""
    colour = style.RIGHT if right else style.WRONG
    points = 72 / axes.figure.dpi  # lines are measured in points
    frame = Rectangle((3, 3), side - 6, side - 6, fill=False, color=colour, linewidth=6 * points)
    radius = 17
    centre = side - radius - 9
    axes.add_patch(frame)
    axes.add_patch(Circle((centre, centre), radius, facecolor=colour, edgecolor="white"))
    sign = centre + radius * np.array(_TICK if right else _CROSS)
    axes.plot(*sign.T, color="white", linewidth=4 * points, solid_capstyle="round")
