"""What a person's answers say of search results: a mark of each, and its group."""

from collections.abc import Sequence

from anneal_jax.annotation.standing_answers import StandingAnswers
from anneal_jax.retrieval.results import Results
from anneal_jax.types import Answer

MARKS = {Answer.SIMILAR: "right", Answer.DISSIMILAR: "wrong", Answer.UNSURE: "unsure"}
"""What an answer about a query and a result is called."""


def with_answers(
    results: Results, standing: StandingAnswers, names: Sequence[str], marks: Sequence[str] | None = None
) -> Results:
    """Return results with marks and groups; rows of their index are tiles of the archive.

    A group is named after its first tile: all that answers join to it, be it through others.

    Args:
      results: of one query.
      standing: the answers that stand.
      names: of the archive's tiles.
      marks: of the results; None: what is known of each beside the query, if that is a tile.
    """
    groups = standing.first_of_group()
    if marks is None:
        marks = [mark_of(standing, results.query.row, tile) for tile in results.rows]
    found = [f"like {names[groups[tile]]}" if tile in groups else "" for tile in results.rows]
    return results._replace(groups=found, marks=marks)


def mark_of(standing: StandingAnswers, query: int, tile: int) -> str:
    """Return what is known of a tile as a result for another one; "" for nothing, or without a query."""
    if query < 0 or query == tile:
        return ""
    label = standing.label(min(query, tile), max(query, tile))
    return "" if label is None else MARKS[Answer(label)]
