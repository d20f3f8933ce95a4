"""Writes the report files of a comparison."""

import pathlib
from collections.abc import Sequence

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.grid import Cell
from anneal_jax.files import atomic
from anneal_jax.reporting.comparison_claims import claims_markdown
from anneal_jax.reporting.comparison_plot import plot_comparison
from anneal_jax.reporting.comparison_queries import write_queries_page
from anneal_jax.reporting.comparison_table import comparison_csv, comparison_markdown

FILES = ("compare.md", "claims.md", "compare.csv", "compare.png", "queries.html")
"""Files that `report_comparison` writes."""


def report_comparison(
    config: ExperimentConfig,
    cells: Sequence[Cell],
    workdir: str | pathlib.Path,
    *,
    reference: str = "random",
) -> str:
    """Write the files of a comparison, `FILES`.

    Args:
      config: the recipe of the grid.
      cells: finished runs, the same seeds for every system.
      workdir: folder of the comparison.
      reference: see `comparison_markdown`.

    Returns:
      The tables, as in `compare.md`.

    Raises:
      AnnealError: the archive cannot be used.
    """
    workdir = pathlib.Path(workdir)
    tables = comparison_markdown(cells, reference=reference)
    title = f"{config.archive}, {len({cell.seed for cell in cells})} seeds"
    atomic.write_text(workdir / "compare.csv", comparison_csv(cells))
    atomic.write_text(workdir / "compare.md", tables)
    atomic.write_text(workdir / "claims.md", claims_markdown(cells))
    plot_comparison(cells, workdir / "compare.png", title=title)
    write_queries_page(config, cells, workdir, title=title)
    return tables
