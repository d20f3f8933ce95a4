"""What pages say is what the kept rows give: the tables are made again, nothing is trained."""

import json
import re
from collections import defaultdict

import numpy as np

from anneal_jax.experiments.grid import Cell
from anneal_jax.reporting.comparison_claims import claims_markdown
from anneal_jax.reporting.comparison_curves import bits_of, last_figures, runs_of
from anneal_jax.reporting.comparison_table import comparison_markdown
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "lab" / "results.md").read_text("utf-8")
SHORT = (ROOT / "docs" / "results.md").read_text("utf-8")
KEPT = re.findall(r"--merge=(docs/measured/\S+)", PAGE)


def cells_of(name):
    """Return the kept cells, with the systems in the order of the page's command."""
    records = map(json.loads, (ROOT / name).read_text("utf-8").splitlines())
    kept = [Cell(record["system"], record["seed"], record["rows"]) for record in records]
    command = PAGE.replace("\\\n", " ").partition(f"--merge={name}")[2]
    order = re.search(r"--acquisitions=(\S+)", command)[1].split(",")
    assert set(order) == {cell.system for cell in kept}
    return sorted(kept, key=lambda cell: order.index(cell.system))


def tables_of(text):
    """Return the rows of all tables with the same titles, by these."""
    found = defaultdict(set)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        titles, _, *rows = (
            tuple(map(str.strip, line.strip("|").split("|"))) for line in table.splitlines()
        )
        found[titles] |= set(rows)
    return found


def test_the_page_of_results_has_the_tables_of_the_kept_rows():
    kept = [cells_of(name) for name in KEPT]
    made = tables_of(
        "\n".join(f"{comparison_markdown(cells)}\n{claims_markdown(cells)}\n" for cells in kept)
    )
    shown = tables_of(PAGE)
    both = shown.keys() & made.keys()
    assert {titles[0] for titles in both} >= {"bits", "system", "claim"}
    for titles in both:
        assert shown[titles] == made[titles]


def test_the_short_page_repeats_figures_of_the_long_one():
    curves = re.compile(r"\| bits \|.*\n\|[- |]+\n((?:\|.*\n)+)")
    figure = re.compile(r"\d\.\d{3} ± \d\.\d{3}")
    known = [figure.findall(row) for row in "".join(curves.findall(PAGE)).splitlines()]
    shown = [figure.findall(row) for row in "".join(curves.findall(SHORT)).splitlines()]
    assert len(shown) == 14
    for row in shown:
        assert len(row) == 5 and any(set(row) <= set(curve) for curve in known)


def test_the_recipe_expects_what_was_measured():
    cells = cells_of("docs/measured/ucm_frozen.jsonl")
    recipe = (ROOT / "launch" / "configs" / "ucm_frozen.py").read_text("utf-8")
    runs = runs_of(cells)["mgue+clustering"]
    figures = last_figures(runs)
    bits = np.mean([bits_of(rows)[-1] for rows in runs])
    expected = (
        f"mAP@5 {figures.mean():.3f} at {bits:,.0f} bits, {figures.min():.3f} to {figures.max():.3f} over"
    )
    assert expected in recipe
