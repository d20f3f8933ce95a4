"""The report page of a run: one self-contained HTML file, without scripts or network access."""

import base64
import html
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anneal_jax.evaluation.metrics import Denominator
from anneal_jax.experiments.registry import METHODS
from anneal_jax.files import atomic
from anneal_jax.reporting.page_css import CSS

_NONE = "–"


class _Column(NamedTuple):
    """A column of the table of rounds."""

    heading: str
    unit: str
    template: str  # formatted with the fields of a row


_COLUMNS = (
    _Column("round", "", "{round_index}"),
    _Column("questions", "bits", "{bits_spent:,}"),
    _Column("yes", "of answers", "{yes_share:.1%}"),
    _Column("answered", "pairs", "{num_labelled_pairs:,}"),
    _Column("derived", "pairs", "{num_derived_pairs:,}"),
    _Column("contra\u00addictory", "pairs", "{num_contradictory_pairs:,}"),
    _Column("mAP@5", "", "{mean_average_precision_at_5:.3f}"),
    _Column("preci\u00adsion@5", "", "{precision_at_5:.3f}"),
    _Column("mAP@5", "features", "{mean_average_precision_at_5_features:.3f}"),
    _Column("threshold", "cosine", "{threshold:.3f}"),
    _Column("interval", "cosine", "{threshold_lower:.2f} … {threshold_upper:.2f}"),
    _Column("training", "s", "{train_s:,.2f}"),
    _Column("selection", "s", "{select_s:,.2f}"),
)

_FILES = {
    "config.json": "every setting of the run",
    "rounds.jsonl": "the table above, one line of JSON per round",
    "answers.sqlite": "every question and its answer",
    "checkpoints": "the trained model of each round",
    "curve.png": "the learning curve",
    "gallery.png": "queries with their nearest neighbours",
    "map.png": "the places of one query's nearest tiles",
}

_DENOMINATORS: Mapping[Denominator, str] = {
    "min(k,R)": "the largest possible number",
    "retrieved": "the number found",
    "R": "the number of all of them",
}


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    sentence: str,
    config: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    images: Mapping[str, str | os.PathLike[str]],
    notes: Sequence[str],
    denominator: Denominator = "min(k,R)",
) -> None:
    """Write a run's report as one HTML file with all text escaped and all images embedded.

    Args:
      path: the page to create or replace; it lists the files of the run in the same folder.
      title: name of the run.
      sentence: the result, in one sentence.
      config: settings of the run by name; `rounds` is used to explain how to continue.
      rows: the rounds, from `round_log.read_rounds`. Empty columns are left out.
      images: maps captions to PNG files; the first one is above the table of rounds, the others below.
      notes: notes for the reader, such as tiles that were left out and why.
      denominator: divisor of mAP@5.

    Raises:
      FileNotFoundError: an image does not exist.
      WorkdirError: the folder of `path` does not exist.
    """
    figures = [figure(caption, png) for caption, png in images.items()]
    body = [
        f'<h1>{escaped(title)}</h1>\n<p class="result">{escaped(sentence)}</p>',
        *figures[:1],
        section("Round by round", _rounds(rows)),
        *figures[1:],
        section("Notes", _list(map(escaped, notes))) if notes else "",
        section("What the numbers mean", _glossary(denominator)),
        section("How to continue", _how_to_go_on(config)),
        section("Settings", settings_list(config)),
        section("Files next to this page", _list(_files(Path(path).parent))),
    ]
    atomic.write_text(path, document(title, "\n".join(body)))


def document(title: str, body: str, css: str = CSS) -> str:
    """Return a whole HTML page; `body` is markup, the title a text."""
    # The policy forbids a browser to run or fetch anything, whatever a text might contain.
    return f"""<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escaped(title)}</title>
<style>{css}</style>
</head>
<body>
<main>
{body}
</main>
</body>
</html>
"""


def escaped(value: object) -> str:
    """Escape text for HTML; file names that are not UTF-8 show their bytes."""
    return html.escape(str(value).encode("utf-8", "backslashreplace").decode("utf-8"))


def section(heading: str, content: str) -> str:
    """Return a section with a heading."""
    return f"<section>\n<h2>{heading}</h2>\n{content}\n</section>"


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"\n<li>{item}</li>" for item in items) + "\n</ul>"


def figure(caption: str, png: str | os.PathLike[str]) -> str:
    """Return markup with a PNG file embedded."""
    data = base64.b64encode(Path(png).read_bytes()).decode("ascii")
    text = escaped(caption)
    return (
        f'<figure>\n<div class="scroll" tabindex="0" role="region" aria-label="{text}">'
        f'<img alt="{text}" src="data:image/png;base64,{data}"></div>\n'
        f"<figcaption>{text}</figcaption>\n</figure>"
    )


def _rounds(rows: Sequence[Mapping[str, Any]]) -> str:
    table = {column: [_cell(column, row) for row in rows] for column in _COLUMNS}
    shown = {column: cells for column, cells in table.items() if set(cells) - {_NONE}}
    if not shown:
        return "<p>No round has ended yet.</p>"
    head = "".join(map(_heading, shown))
    lines = "\n".join(_line(cells) for cells in zip(*shown.values(), strict=True))
    return f"""<p class="aside">Counts are totals up to a round; the share of yes and the times are
the round's own.</p>
<div class="scroll" tabindex="0" role="region" aria-label="Table of rounds">
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{lines}
</tbody>
</table>
</div>"""


def _line(cells: Sequence[str]) -> str:
    figures = "".join(f"<td>{cell}</td>" for cell in cells[1:])
    return f'<tr><th scope="row">{cells[0]}</th>{figures}</tr>'


def _cell(column: _Column, row: Mapping[str, Any]) -> str:
    try:
        return escaped(column.template.format_map(row))
    except (KeyError, TypeError):  # a round without this value has None, or lacks the field
        return _NONE


def _heading(column: _Column) -> str:
    return f'<th scope="col">{column.heading} <small>{column.unit}</small></th>'


def _glossary(denominator: Denominator) -> str:
    entries = {
        "bits": "The cost: each question asked is one bit, whatever the answer. "
        "Derived pairs cost nothing; a class label costs log2 C bits, with C classes.",
        "mAP@5": "The quality of retrieval, from 0 to 1. For each query, the precisions at those "
        "of the first k = 5 ranks with a similar image are summed and divided by "
        f"{denominator}, {_DENOMINATORS[denominator]}; R is the number of similar images in the "
        "archive searched. "
        "The figure is the mean over all queries. A query never counts as its own neighbour.",
        "precision@5": "The share of similar images among the five nearest, mean over all queries.",
        "mAP@5, features": "The same with the backbone's features alone. With a frozen backbone, "
        "these need no questions: a run below that line is not yet worth its questions.",
        "threshold": "The cosine similarity above which two images count as similar, and its "
        "interval according to the answers. The questions are about pairs near it.",
        "derived, contradictory": "Pairs whose answer follows from two answered pairs that share "
        "an image; a pair with both answers implied is contradictory and left out.",
    }
    items = (f"\n<dt>{name}</dt>\n<dd>{escaped(text)}</dd>" for name, text in entries.items())
    return "<dl>" + "".join(items) + "\n</dl>"


def _how_to_go_on(config: Mapping[str, Any]) -> str:
    if not METHODS[config.get("supervision", "pairs")].asks:
        return "<p>A baseline for active learning on pairs, with a fixed end.</p>"
    now = f" (this run: {escaped(config['rounds'])})" if "rounds" in config else ""
    return (
        f"<p>Run the same command again with a larger <code>--config.rounds</code>{now}. "
        "Every answer is kept, no question is asked twice, and the new rounds extend the curve.</p>"
    )


def settings_list(config: Mapping[str, Any]) -> str:
    """Return settings by name as markup."""
    items = (
        f"\n<div><dt><code>{escaped(name)}</code></dt><dd><code>{_setting(value)}</code></dd></div>"
        for name, value in config.items()
    )
    return '<dl class="pairs">' + "".join(items) + "\n</dl>"


def _setting(value: object) -> str:
    """Format a setting as in `config.json` and on the command line, text without quotes."""
    return escaped(value if isinstance(value, str) else json.dumps(value, default=str)) or "(empty)"


def _files(folder: Path) -> list[str]:
    present = [name for name in _FILES if (folder / name).exists()]
    return [f"<code>{name}</code>, {_FILES[name]}" for name in present]
