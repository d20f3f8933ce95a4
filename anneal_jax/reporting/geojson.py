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
from anneal_jax.retrieval.index_reader import TileIndex

_MAX_EAST_DEG = 540.0  # east of a box across the 180th meridian is above 180


def write_geojson(index: TileIndex, results: Sequence[Results], path: str | os.PathLike[str]) -> None:
    """Write results as one collection of polygons in longitude and latitude (WGS 84).

    Each result is a feature with the properties `query`, `rank`, `id`, `similarity`, `class`, `date` and
    `archive`; its polygon is the box that the index has of the tile. A tile of unknown place has none.

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
            f"{index.folder} knows no place of its tiles; index a geotiff:, or give launch/embed.py "
            "--metadata with the columns west,south,east,north."
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
        geometry = _polygon(boxes[place].tolist(), tile_id)
        yield {"type": "Feature", "geometry": geometry, "properties": properties}


def _polygon(box: list[float], tile_id: str) -> dict[str, Any] | None:
    """Return a box as a ring that runs against the clock."""
    if math.isnan(box[0]):
        return None
    west, south, east, north = box
    if not (-180.0 <= west <= east <= _MAX_EAST_DEG and -90.0 <= south <= north <= 90.0):
        raise ConfigError(
            f"the box of {tile_id!r} is {west:g},{south:g},{east:g},{north:g}, which is not in degrees; "
            "GeoJSON knows no other unit. Give launch/embed.py --metadata in degrees."
        )
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}
