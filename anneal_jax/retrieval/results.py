"""Search results: tiles with their similarities and everything that an index knows about each."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.queries import Query
from anneal_jax.retrieval.search import Hits


class Results(NamedTuple):
    """The tiles found for one query, best first; all lists have the same length.

    Attributes:
      query: the query.
      query_label: its class, if the index knows it, else "".
      rows: rows of the index.
      ids: ids of the tiles.
      similarities: cosines; NaN without a query.
      labels: classes, "" without one.
      groups: names of the groups that answers put the tiles into, "" without one; an empty list if unknown.
      marks: a person's mark of each result, "right", "wrong" or "unsure", "" without one; an empty list if
        unknown.
    """

    query: Query
    query_label: str
    rows: list[int]
    ids: list[str]
    similarities: list[float]
    labels: list[str]
    groups: Sequence[str] = ()
    marks: Sequence[str] = ()


class ResultRow(NamedTuple):
    """One result with everything known about the tile; None for unknown values.

    Attributes:
      query: the query.
      rank: rank, from 1.
      id: id of the tile.
      similarity: cosine with the query.
      class_name: its class.
      group: its group according to answers.
      mark: a person's mark.
      date: date in ISO 8601, UTC.
      box: west, south, east, north, as in the index.
      archive: spec of its archive.
    """

    query: str
    rank: int
    id: str
    similarity: float | None
    class_name: str | None
    group: str | None
    mark: str | None
    date: str | None
    box: list[float] | None
    archive: str


def name_hits(index: TileIndex, queries: Sequence[Query], hits: Hits) -> list[Results]:
    """Add names and classes to the rows of a search."""
    results = []
    for query, all_rows, similarities in zip(queries, hits.rows, hits.similarities, strict=True):
        is_hit = all_rows >= 0
        rows = all_rows[is_hit]
        results.append(
            Results(
                query,
                (index.labels([query.row]) or [""])[0] if query.row >= 0 else "",
                rows.tolist(),
                index.ids(rows),
                similarities[is_hit].tolist(),
                index.labels(rows) or [""] * len(rows),
            )
        )
    return results


def result_rows(index: TileIndex, found: Results) -> Iterator[ResultRow]:
    """Yield the results of a query with everything that the index knows about them, best first."""
    dates, boxes = (index.take(column, found.rows) for column in ("date", "box"))
    nothing = [""] * len(found.rows)
    known = (found.ids, found.similarities, found.labels, found.groups or nothing, found.marks or nothing)
    for place, (tile_id, similarity, label, group, mark) in enumerate(zip(*known, strict=True)):
        date = np.datetime64("NaT") if dates is None else dates[place]
        box: list[Any] | None = None if boxes is None else boxes[place].tolist()
        yield ResultRow(
            query=found.query.name,
            rank=place + 1,
            id=tile_id,
            similarity=None if math.isnan(similarity) else similarity,
            class_name=label or None,
            group=group or None,
            mark=mark or None,
            date=None if np.isnat(date) else f"{date}Z",
            box=None if box is None or math.isnan(box[0]) else box,
            archive=index.source(found.rows[place]),
        )
