"""Draw docs/images/efficiency.png from kept rows: what answers, and what minutes, buy on UC Merced.

  python scripts/efficiency_figure.py

Above, mAP@5 of held-out queries by answers: ucm_belief_ask.jsonl and ucm_from_zero.jsonl (seeds 10 to 14),
ucm_frozen.jsonl (the papers' methods, seeds 0 to 4) and rivals.jsonl (seeds 100 to 102), MobileNetV2.
Below, the share of training tiles in a group of their own class against a person's minutes: rivals.jsonl
(MobileNetV2) at 1.6 s an answer, and the page's mix from ucm_glances.jsonl (EfficientNet-Lite0). Curves
are means over the seeds; bands, of belief_ask, are 95% t intervals. Nothing is asked or trained here.
"""

import argparse
import json
import pathlib

import numpy as np

from anneal_jax.reporting.comparison_curves import FIGURE, bits_of, figures_of, mean_interval
from anneal_jax.reporting.style import FAINT, INK, MUTED, SERIES_COLOURS, new_figure, save_png

MEASURED = pathlib.Path("docs/measured")
UCM = "folder:../shared/data/ucm"
ANSWER_S = 1.6
"""Seconds for one answer about a pair, as the simulated person of benchmarks/glances.py takes."""

BLUE, VERMILION, GREEN, PURPLE, ORANGE, _, BLACK = SERIES_COLOURS

BY_ANSWERS = {
    "belief_ask": ("ucm_belief_ask", BLUE, "-"),
    "group_ask": ("ucm_from_zero", GREEN, "-"),
    "random_labels": ("ucm_from_zero", PURPLE, ":"),
    "bcgue+clustering": ("ucm_frozen", VERMILION, "--"),
    "mgue+clustering": ("ucm_frozen", ORANGE, "--"),
}
"""System: file, colour, line."""

OURS = {"belief_ask": (BLUE, "--"), "group_ask": (GREEN, "-")}
RIVALS = {"cobras": (BLACK, "-."), "minmax": (MUTED, (0, (1, 1)))}
"""Methods of rivals.jsonl: colour, line."""

LABELS_ABOVE = {
    "belief_ask (this project)": (172, 0.942, BLUE),
    "group_ask": (335, 0.853, GREEN),
    "class labels,\nrandom tiles": (370, 0.612, PURPLE),
    "papers' BCGUE": (1450, 0.818, VERMILION),
    "papers' MGUE": (1450, 0.788, ORANGE),
    "COBRAS": (172, 0.664, BLACK),
}
LABELS_BELOW = {
    "belief_ask, the page's mix of\npairs, choices and grids": (4.0, 1.073, BLUE),
    "belief_ask, pairs": (7.4, 0.878, BLUE),
    "group_ask": (14.5, 0.935, GREEN),
    "COBRAS": (14.5, 0.848, BLACK),
    "MinMax, given 21 classes": (11.4, 0.745, MUTED),
}
"""Text: place in the units of the axes, colour. They are in empty areas; check them after new rows."""


def main() -> None:
    """Draw and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("docs/images/efficiency.png"))
    path = parser.parse_args().out
    figure = new_figure(1200, 1700, dpi=150)
    above, below = figure.subplots(2, 1, gridspec_kw={"hspace": 0.32})
    figure.subplots_adjust(left=0.115, right=0.97, top=0.945, bottom=0.065)
    draw_answers(above)
    draw_minutes(below)
    save_png(figure, path)


def draw_answers(axes):
    """Draw mAP@5 against answers."""
    for system, (file, colour, style) in BY_ANSWERS.items():
        curve(axes, *means_of(kept(file, system=system)), colour, style)
    for method, (colour, style) in RIVALS.items():
        runs = [row for row in rival_rows(method) if row["train_at"]]
        if runs:
            curve(axes, *figures_at(runs, "map_at_5"), colour, style)
    bound = np.mean([figures_of(row["rows"])[-1] for row in kept("ucm_from_zero", system="class_labels")])
    none = np.mean(
        [row["rows"][0][f"{FIGURE}_features"] for row in kept("ucm_from_zero", system="belief_ask")]
    )
    for level, at, text in (
        (bound, 163, "all class labels, worth 7,379 answers"),
        (none, 1170, "features alone, no answer"),
    ):
        axes.axhline(level, color=MUTED, linewidth=1)
        axes.annotate(text, (at, level), (0, 3), textcoords="offset points", fontsize=11, color=MUTED)
    axes.set_xscale("log")
    ticks = (200, 300, 500, 1000, 2000)
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.set(xlim=(158, 2800), ylim=(0.48, 1.0))
    decorate(axes, "Search quality by answers", "answers (1 bit each, log scale)", "mAP@5", LABELS_ABOVE)


def draw_minutes(axes):
    """Draw the share of tiles told rightly against minutes."""
    rows = kept("ucm_glances", plan="mixed", person="truthful", trained=False)
    length = min(len(row["right"]) for row in rows)
    values = np.array([row["right"][:length] for row in rows])
    curve(axes, rows[0]["step_s"] * np.arange(length) / 60, values, BLUE, "-")
    for method, (colour, style) in (OURS | RIVALS).items():
        bits, values = figures_at([row for row in rival_rows(method) if not row["train_at"]], "right")
        curve(axes, bits * ANSWER_S / 60, values, colour, style)
    axes.set(xlim=(0, 18), ylim=(0.3, 1.08))
    decorate(
        axes,
        "Tiles in the right group by minutes",
        "minutes of one person",
        "share of tiles right",
        LABELS_BELOW,
    )


def curve(axes, across, values, colour, style):
    """Draw the mean of float[seeds, M], and the interval of this project's method."""
    axes.plot(across, np.mean(values, axis=0), color=colour, linestyle=style, linewidth=2.6)
    if colour == BLUE:
        half = np.array([mean_interval(column).half_width for column in np.asarray(values).T])
        low, high = np.mean(values, axis=0) - half, np.mean(values, axis=0) + half
        axes.fill_between(across, low, high, color=colour, alpha=0.13, linewidth=0)


def decorate(axes, title, across, upward, labels):
    """Write what the axes are, and the names of the curves."""
    axes.set_title(title, fontsize=16, color=INK, loc="left", weight="bold")
    axes.set_xlabel(across, fontsize=14, color=INK)
    axes.set_ylabel(upward, fontsize=14, color=INK)
    axes.tick_params(labelsize=13, colors=INK)
    axes.grid(visible=True, color=FAINT, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    for text, (*place, colour) in labels.items():
        axes.text(*place, text, fontsize=13, color=colour, weight="bold", va="top")


def kept(file, **name):
    """Return the rows of a file that have these values."""
    texts = (MEASURED / f"{file}.jsonl").read_text("utf-8").splitlines()
    return [row for row in map(json.loads, texts) if name.items() <= row.items()]


def rival_rows(method):
    """Return the finished rows of a method on UC Merced, truthful, MobileNetV2."""
    rows = kept("rivals", archive=UCM, backbone="mobilenet_v2", method=method, person="truthful")
    return [row for row in rows if "failed" not in row]


def means_of(cells):
    """Return mean costs float[M] and values float[seeds, M] of the rounds that all seeds reached."""
    num_rounds = min(len(cell["rows"]) for cell in cells)
    bits = np.array([bits_of(cell["rows"])[:num_rounds] for cell in cells])
    return bits.mean(axis=0), np.array([figures_of(cell["rows"])[:num_rounds] for cell in cells])


def figures_at(rows, name):
    """Return answers float[M] and values float[seeds, M] of a figure in rows of rivals.jsonl."""
    lists = [[one for one in row["figures"] if name in one] for row in rows]
    bits = np.mean([[one["asked"] for one in figures] for figures in lists], axis=0)
    return bits, np.array([[one[name] for one in figures] for figures in lists])


if __name__ == "__main__":
    main()
