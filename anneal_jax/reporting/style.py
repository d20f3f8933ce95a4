"""Shared style of the pictures: colours, one font, and how to create and save a figure.

Figures are made with matplotlib's object interface: nothing here touches pyplot's global state.
"""

import functools
import os

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font

from anneal_jax.files import atomic

FONT = "DejaVu Sans"
"""Font that ships with matplotlib, so that a picture is the same on every machine."""

INK, MUTED, FAINT = "#1b1f24", "#57606a", "#d8dee4"

RIGHT, WRONG = "#007a5a", "#c44601"
"""Green and vermilion that differ in every common colour blindness; each also has a sign."""

SERIES_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#a8508a", "#e69f00", "#56b4e9", "#1b1f24")
"""Okabe and Ito's colours in an order with distinct neighbours; the purple is darkened."""

SERIES_MARKERS = ("o", "s", "^", "D", "v", "P", "X")

_MISSING = "\N{WHITE SQUARE}"


def new_figure(width_px: int, height_px: int, dpi: int = 100) -> Figure:
    """Return an empty white figure of that many pixels, ready to be saved as PNG."""
    figure = Figure(figsize=(width_px / dpi, height_px / dpi), dpi=dpi, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def save_png(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Atomically write a figure as PNG, without the date or any program's version."""
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def legible(text: str, limit: int = 60) -> str:
    """Return text that the font can draw on one line, cut in the middle to `limit` characters.

    File names can contain anything: line ends become spaces, and letters that the font lacks become
    squares.

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
