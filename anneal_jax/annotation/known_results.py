"""Adds to search results what answers say about them: a mark and a group for each."""

from collections.abc import Sequence

from anneal_jax.annotation.standing_answers import StandingAnswers
from anneal_jax.retrieval.results import Results
from anneal_jax.types import Answer

MARKS = {Answer.SIMILAR: "right", Answer.DISSIMILAR: "wrong", Answer.UNSURE: "unsure"}
"""Name of the mark for each answer about a query and a result."""


def with_answers(
    results: Results, standing: StandingAnswers, names: Sequence[str], marks: Sequence[str] | None = None
) -> Results:
    """Return results with marks and groups; rows of their index are tiles of the archive.

    A group is named after its first tile, and contains every tile that answers join to it, directly or
    through others.

    Args:
      results: results of one query.
      standing: the answers that stand.
      names: names of the archive's tiles.
      marks: marks of the results; None derives them from the answers, if the query is a tile.
    """
    groups = standing.first_of_group()
    if marks is None:
        marks = [mark_of(standing, results.query.row, tile) for tile in results.rows]
    found = [f"like {names[groups[tile]]}" if tile in groups else "" for tile in results.rows]
    return results._replace(groups=found, marks=marks)


def mark_of(standing: StandingAnswers, query: int, tile: int) -> str:
    """Return the mark of a tile as a result for another one; "" if nothing is known."""
    if query < 0 or query == tile:
        return ""
    label = standing.label(min(query, tile), max(query, tile))
    return "" if label is None else MARKS[Answer(label)]
