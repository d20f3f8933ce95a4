"""What the pictures share: colours, one font, and how a figure is opened and saved.

Figures are made with matplotlib's object interface: nothing here touches pyplot's global state.
"""

import functools
import os

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from anneal_jax.files import atomic

FONT = "DejaVu Sans"
"""Ships with matplotlib, so that a picture is the same on every machine."""

INK, MUTED, FAINT = "#1b1f24", "#57606a", "#d8dee4"

RIGHT, WRONG = "#007a5a", "#c44601"
"""Green and vermilion that differ in every common colour blindness; a sign goes with each."""

SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a8508a", "#e69f00", "#56b4e9", "#1b1f24")
"""Okabe and Ito's colours in an order that keeps neighbours apart; the purple is darkened."""

SERIES_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_MISSING = "\N{WHITE SQUARE}"


def new_figure(width_px: int, height_px: int, dpi: int = 100) -> Figure:
    """Return an empty white figure of that many pixels, ready to be saved as PNG."""
    figure = Figure(figsize=(width_px / dpi, height_px / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, atomically and without the date or the version of any program."""
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def legible(text: str, limit: int = 60) -> str:
    """Return text that the font can draw on one line, cut in the middle to `limit` characters.

    Names of files hold anything: line ends become spaces, what the font lacks becomes a square.

    Example:
      >>> legible("tile_of_a_very_long_archive_2019.tif", limit=16)
      'tile_of…2019.tif'
    """
    glyphs = _glyphs()
    spaced = "".join(" " if character.isspace() else character for character in text)
    drawn = "".join(c if ord(c) in glyphs else _MISSING for c in spaced)
    if len(drawn) <= limit:
        return drawn
    tail = limit // 2
    return f"{drawn[: limit - tail - 1]}…{drawn[-tail:]}"


@functools.cache
def _glyphs() -> frozenset[int]:
    return frozenset(get_font(findfont(FONT)).get_charmap())
