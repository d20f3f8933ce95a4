"""Search results as GeoJSON, which QGIS and other maps open."""

import json
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from anneal_jax.errors import ConfigError
from anneal_jax.files import atomic
from anneal_jax.reporting.search_results import Results
from anneal_jax.retrieval.boxes import as_rfc7946
from anneal_jax.retrieval.index_reader import TileIndex


def write_geojson(index: TileIndex, results: Sequence[Results], path: str | os.PathLike[str]) -> None:
    """Write results as one collection of polygons in longitude and latitude (WGS 84).

    Each result is a feature with the properties `query`, `rank`, `id`, `similarity`, `class`, `date` and
    `archive`; its polygon is the box that the index has of the tile, in two parts where it lies across the
    180th meridian. A tile of unknown place has none.

    Args:
      index: that was searched.
      results: of all queries.
      path: the file to create or replace.

    Raises:
      ConfigError: the index knows no box of its tiles, or one is not in degrees.

    Source: RFC 7946.
    """
    features = [feature for found in results for feature in _features(index, found)]
    text = json.dumps(
        {"type": "FeatureCollection", "features": features}, ensure_ascii=False, allow_nan=False
    )
    atomic.write_text(path, text)


def _features(index: TileIndex, found: Results) -> Iterator[dict[str, Any]]:
    boxes, dates = (index.take(column, found.rows) for column in ("box", "date"))
    if boxes is None:
        raise ConfigError(
            f"{index.folder} knows no place of its tiles; write a new index, of a geotiff: or with "
            "launch/embed.py --metadata=FILE.csv and the columns west,south,east,north."
        )
    for place, (row, tile_id, similarity, label) in enumerate(
        zip(found.rows, found.ids, found.similarities, found.labels, strict=True)
    ):
        date = np.datetime64("NaT") if dates is None else dates[place]
        properties = {
            "query": found.query.name,
            "rank": place + 1,
            "id": tile_id,
            "similarity": similarity,
            "class": label or None,
            "date": None if np.isnat(date) else f"{date}Z",
            "archive": index.source(row),
        }
        yield {"type": "Feature", **_place(boxes[place].tolist(), tile_id), "properties": properties}


def _place(box: list[float], tile_id: str) -> dict[str, Any]:
    """Return a feature's box and geometry: one polygon, or two that meet at the 180th meridian.

    Source: RFC 7946, sections 3.1.9 and 5.2.
    """
    if math.isnan(box[0]):
        return {"geometry": None}
    west, south, east, north = short = as_rfc7946(box)
    if not (max(map(abs, (west, east))) <= 180.0 and -90.0 <= south <= north <= 90.0):
        raise ConfigError(
            f"the box of {tile_id!r} is {','.join(f'{side:g}' for side in box)}, which is not in degrees; "
            "GeoJSON knows no other unit. Write a new index with launch/embed.py --metadata in degrees."
        )
    if west <= east:
        return {"bbox": short, "geometry": {"type": "Polygon", "coordinates": [_ring(*short)]}}
    halves = [[_ring(west, south, 180.0, north)], [_ring(-180.0, south, east, north)]]
    return {"bbox": short, "geometry": {"type": "MultiPolygon", "coordinates": halves}}


def _ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    """Return the corners of a box, against the clock."""
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]
