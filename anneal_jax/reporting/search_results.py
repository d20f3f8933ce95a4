"""The output of a search: a table, JSON, and a picture of each query with its nearest tiles."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from anneal_jax.data.bands import rgb_tiles
from anneal_jax.data.tiles import squash_tile
from anneal_jax.errors import ConfigError
from anneal_jax.reporting.gallery import plot_gallery
from anneal_jax.retrieval.boxes import as_rfc7946
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.originals import opened_source, path_of
from anneal_jax.retrieval.queries import Query, read_image
from anneal_jax.retrieval.results import Results, result_rows

MAX_SHOWN_QUERIES, MAX_SHOWN_RESULTS = 20, 10
_SIDE_PX = 192
_LABEL_LETTERS = 11  # letters that fit next to a similarity, below a tile


def results_table(results: Sequence[Results]) -> str:
    """Return the results as text, with a block of lines per query.

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


def results_text(index: TileIndex, results: Sequence[Results], *, as_json: bool) -> str:
    """Return the results as JSON, or as a table after the notes of the index."""
    return results_json(index, results) if as_json else "\n".join([*index.notes, results_table(results)])


def results_json(index: TileIndex, results: Sequence[Results]) -> str:
    """Return the results as one strict JSON array, with date and bounds if known."""
    return json.dumps([_as_json(index, found) for found in results], ensure_ascii=False, allow_nan=False)


def draw_results(index: TileIndex, results: Sequence[Results], path: str | os.PathLike[str]) -> None:
    """Draw the first 20 queries with their first 10 tiles, marked right or wrong if known.

    Args:
      index: the index that was searched.
      results: results of all queries.
      path: the PNG to create or replace.

    Raises:
      ConfigError: nothing was found, or the tiles are vectors, which have no pictures.
      ArchiveError: a tile is no longer at its indexed path.
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
    results = []
    for row in result_rows(index, found):
        known = {
            "rank": row.rank,
            "id": row.id,
            "similarity": row.similarity,
            "class": row.class_name,
            "date": row.date,
            "box": row.box and as_rfc7946(row.box),
            "archive": row.archive,
        }
        results.append({name: value for name, value in known.items() if value is not None})
    return {"query": found.query.name, "results": results}


def _relevance(shown: Sequence[Results], num_columns: int) -> npt.NDArray[np.bool_] | None:
    """Return whether each tile has its query's class; None unless all classes are known."""
    if not all(found.query_label and all(found.labels[:num_columns]) for found in shown):
        return None
    return np.array(
        [[label == found.query_label for label in found.labels[:num_columns]] for found in shown]
    )


def _query_tile(index: TileIndex, query: Query) -> npt.NDArray[np.uint8]:
    if query.row >= 0:
        return _tile(index, query.row)
    assert query.path is not None  # a query is either a row or a file
    if query.path.suffix == ".npy":
        raise _no_picture(query.name)
    return _tile_of_file(query.path)


def _tile(index: TileIndex, row: int) -> npt.NDArray[np.uint8]:
    """Return a tile uint8[192, 192, 3] of an archive, which is only opened if it is not a folder."""
    if path := path_of(index, row):
        return _tile_of_file(path)
    source, (tile_id,) = index.source(row), index.ids([row])
    archive = opened_source(source)
    if archive.kind != "image":
        raise _no_picture(source)
    resampling = "box" if source == "digits" else "bilinear"  # digits are 8 x 8
    return rgb_tiles(archive, [archive.ids.index(tile_id)], _SIDE_PX, resampling)[0]


def _tile_of_file(path: Path) -> npt.NDArray[np.uint8]:
    """Return a file as a tile to display; small ones keep sharp pixels, as in a gallery."""
    pixels = read_image(path)
    return squash_tile(pixels, _SIDE_PX, "box" if max(pixels.shape) <= _SIDE_PX // 2 else "bilinear")


def _no_picture(name: str) -> ConfigError:
    return ConfigError(f"{name} holds vectors, which have no pictures; search without --picture.")
