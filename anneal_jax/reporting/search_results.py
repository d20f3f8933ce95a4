"""What a search shows: a table, JSON, and a picture of each query with its nearest tiles."""

import functools
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.archives import open_archive
from anneal_jax.data.bands import rgb_tiles
from anneal_jax.data.tiles import squash_tile
from anneal_jax.errors import ConfigError
from anneal_jax.reporting.gallery import plot_gallery
from anneal_jax.retrieval.boxes import as_rfc7946
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.queries import Query, read_image
from anneal_jax.retrieval.search import Hits
from anneal_jax.types import Archive

MAX_SHOWN_QUERIES, MAX_SHOWN_RESULTS = 20, 10
_SIDE_PX = 192
_LABEL_LETTERS = 11  # what fits beside a similarity, below a tile
_FOLDER = "folder:"


class Results(NamedTuple):
    """The tiles found for one query, best first; lists of one length.

    Attributes:
      query: what was searched by.
      query_label: its class, where the index knows it; else "".
      rows: of the index.
      ids: of the tiles.
      similarities: cosines.
      labels: classes, "" without one.
    """

    query: Query
    query_label: str
    rows: list[int]
    ids: list[str]
    similarities: list[float]
    labels: list[str]


def name_hits(index: TileIndex, queries: Sequence[Query], hits: Hits) -> list[Results]:
    """Look up what the rows of a search are."""
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


def results_table(results: Sequence[Results]) -> str:
    """Return the results as text, a block of lines for each query.

    >>> query = Query("a.tif", -1, None)
    >>> print(results_table([Results(query, "", [7], ["river/3.tif"], [0.98765], ["river"])]))
    a.tif
      rank  similarity  class  id
         1      0.9877  river  river/3.tif
    """
    blocks = []
    for found in results:
        width = max([len("class"), *map(len, found.labels)])
        lines = [found.query.name, f"  rank  similarity  {'class':<{width}}  id"]
        for rank, (tile_id, similarity, label) in enumerate(
            zip(found.ids, found.similarities, found.labels, strict=True), start=1
        ):
            lines.append(f"  {rank:>4}  {similarity:>10.4f}  {label:<{width}}  {tile_id}")
        blocks.append("\n".join(lines if found.ids else [*lines, "  nothing was found"]))
    return "\n\n".join(blocks)


def results_json(index: TileIndex, results: Sequence[Results]) -> str:
    """Return the results as one strict JSON array, with date and bounds where they are known."""
    return json.dumps([_as_json(index, found) for found in results], ensure_ascii=False, allow_nan=False)


def draw_results(index: TileIndex, results: Sequence[Results], path: str | os.PathLike[str]) -> None:
    """Draw the first 20 queries with their first 10 tiles; right and wrong are marked where known.

    Args:
      index: that was searched.
      results: of all queries.
      path: the PNG to create or replace.

    Raises:
      ConfigError: nothing was found, or the tiles are vectors, of which there is no picture.
      ArchiveError: a tile is no longer where it was indexed.
    """
    shown = [found for found in results if found.ids][:MAX_SHOWN_QUERIES]
    if not shown:
        raise ConfigError("no tile was found, so there is no picture to draw.")
    num_columns = min(MAX_SHOWN_RESULTS, *(len(found.ids) for found in shown))
    tiles = [[_tile(index, row) for row in found.rows[:num_columns]] for found in shown]
    queries = [_query_tile(index, found.query) for found in shown]
    plot_gallery(
        np.stack(queries),
        np.stack([np.stack(row) for row in tiles]),
        _relevance(shown, num_columns),
        [found.query.name for found in shown],
        path,
        notes=[
            [f"{similarity:.2f} {_short(label)}" for similarity, label in zip(*columns, strict=True)]
            for columns in ((f.similarities[:num_columns], f.labels[:num_columns]) for f in shown)
        ],
    )


def _short(label: str) -> str:
    return label if len(label) <= _LABEL_LETTERS else f"{label[: _LABEL_LETTERS - 1]}…"


def _as_json(index: TileIndex, found: Results) -> dict[str, Any]:
    dates, boxes = (index.take(column, found.rows) for column in ("date", "box"))
    results = []
    for place, (tile_id, similarity, label) in enumerate(
        zip(found.ids, found.similarities, found.labels, strict=True)
    ):
        result: dict[str, Any] = {"rank": place + 1, "id": tile_id, "similarity": similarity}
        if label:
            result["class"] = label
        if dates is not None and not np.isnat(dates[place]):
            result["date"] = f"{dates[place]}Z"
        if boxes is not None and not math.isnan(boxes[place][0]):
            result["box"] = as_rfc7946(boxes[place].tolist())
        results.append({**result, "archive": index.source(found.rows[place])})
    return {"query": found.query.name, "results": results}


def _relevance(shown: Sequence[Results], num_columns: int) -> npt.NDArray[np.bool_] | None:
    """Return which tiles have their query's class; None unless the class of all is known."""
    if not all(found.query_label and all(found.labels[:num_columns]) for found in shown):
        return None
    return np.array(
        [[label == found.query_label for label in found.labels[:num_columns]] for found in shown]
    )


def _query_tile(index: TileIndex, query: Query) -> npt.NDArray[np.uint8]:
    if query.row >= 0:
        return _tile(index, query.row)
    assert query.path is not None  # a query is one or the other
    if query.path.suffix == ".npy":
        raise _no_picture(query.name)
    return _tile_of_file(query.path)


@functools.lru_cache(maxsize=1)
def _opened(source: str) -> Archive:
    """Open an archive once for all tiles of a picture: that reads the whole of it."""
    return open_archive(source)


def _tile(index: TileIndex, row: int) -> npt.NDArray[np.uint8]:
    """Return a tile uint8[192, 192, 3] of an archive, which is opened only where it is no folder."""
    source, (tile_id,) = index.source(row), index.ids([row])
    if source.startswith(_FOLDER):
        return _tile_of_file(Path(source.removeprefix(_FOLDER)).expanduser() / tile_id)
    archive = _opened(source)
    if archive.kind != "image":
        raise _no_picture(source)
    resampling = "box" if source == "digits" else "bilinear"  # its tiles are 8 x 8
    return rgb_tiles(archive, [archive.ids.index(tile_id)], _SIDE_PX, resampling)[0]


def _tile_of_file(path: Path) -> npt.NDArray[np.uint8]:
    """Return a file as a tile to look at; the pixels of small ones stay sharp, as in a gallery."""
    pixels = read_image(path)
    return squash_tile(pixels, _SIDE_PX, "box" if max(pixels.shape) <= _SIDE_PX // 2 else "bilinear")


def _no_picture(name: str) -> ConfigError:
    return ConfigError(f"{name} holds vectors, of which there is no picture; search without --picture.")
