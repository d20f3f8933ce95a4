"""The files that a comparison leaves beside its runs."""

import pathlib
from collections.abc import Sequence

from anneal_jax import atomic
from anneal_jax.comparison import Cell
from anneal_jax.reporting.comparison_plot import plot_comparison
from anneal_jax.reporting.comparison_table import comparison_csv, comparison_markdown


def report_comparison(
    cells: Sequence[Cell], workdir: str | pathlib.Path, *, title: str, reference: str = "random"
) -> str:
    """Write `compare.csv`, `compare.md` and `compare.png`.

    Args:
      cells: finished runs, the same seeds for every system.
      workdir: folder of the comparison.
      title: one line above the picture.
      reference: see `comparison_markdown`.

    Returns:
      The tables, as in `compare.md`.
    """
    workdir = pathlib.Path(workdir)
    tables = comparison_markdown(cells, reference=reference)
    atomic.write_text(workdir / "compare.csv", comparison_csv(cells))
    atomic.write_text(workdir / "compare.md", tables)
    plot_comparison(cells, workdir / "compare.png", title=title)
    return tables
