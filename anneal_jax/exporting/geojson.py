"""Search results as GeoJSON, for QGIS and other maps."""

import json
import os
from collections.abc import Sequence
from typing import Any

from anneal_jax.errors import ConfigError
from anneal_jax.files import atomic
from anneal_jax.retrieval.boxes import as_rfc7946
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.results import ResultRow, Results, result_rows


def write_geojson(index: TileIndex, results: Sequence[Results], path: str | os.PathLike[str]) -> None:
    """Write `results_geojson` to a file.

    Args:
      index: the index that was searched.
      results: results of all queries.
      path: the file to create or replace.

    Raises:
      ConfigError: as for `results_geojson`.
    """
    atomic.write_text(path, results_geojson(index, results))


def results_geojson(index: TileIndex, results: Sequence[Results]) -> str:
    """Return results as one collection of polygons in longitude and latitude (WGS 84).

    Each result is a feature with the properties `query`, `rank`, `id`, `similarity`, `class`, `date` and
    `archive`, and `group` and `mark` if known for any result. Its polygon is the box of the tile in the
    index, in two parts if the box crosses the 180th meridian. A tile of unknown place has no polygon.

    Args:
      index: the index that was searched.
      results: results of all queries.

    Raises:
      ConfigError: the index has no boxes, or one is not in degrees.

    Source: RFC 7946.
    """
    require_places(index)
    features = [_feature(row, found) for found in results for row in result_rows(index, found)]
    return json.dumps(
        {"type": "FeatureCollection", "features": features}, ensure_ascii=False, allow_nan=False
    )


def require_places(index: TileIndex) -> None:
    """Raise an error if an index has no places.

    Raises:
      ConfigError: it has none.
    """
    if index.column("box") is None:
        raise ConfigError(
            f"{index.folder} has no places of its tiles; write a new index, of a geotiff: or with "
            "launch/embed.py --metadata=FILE.csv and the columns west,south,east,north."
        )


def _feature(row: ResultRow, found: Results) -> dict[str, Any]:
    properties = {
        "query": row.query,
        "rank": row.rank,
        "id": row.id,
        "similarity": row.similarity,
        "class": row.class_name,
        **({"group": row.group} if found.groups else {}),
        **({"mark": row.mark} if found.marks else {}),
        "date": row.date,
        "archive": row.archive,
    }
    return {"type": "Feature", **_place(row.box, row.id), "properties": properties}


def _place(box: list[float] | None, tile_id: str) -> dict[str, Any]:
    """Return a feature's box and geometry: one polygon, or two that meet at the 180th meridian.

    Source: RFC 7946, sections 3.1.9 and 5.2.
    """
    if box is None:
        return {"geometry": None}
    west, south, east, north = short = as_rfc7946(box)
    if not (max(map(abs, (west, east))) <= 180.0 and -90.0 <= south <= north <= 90.0):
        raise ConfigError(
            f"the box of {tile_id!r} is {','.join(f'{side:g}' for side in box)}, which is not in degrees, "
            "the only unit of GeoJSON. Write a new index with launch/embed.py --metadata in degrees."
        )
    if west <= east:
        return {"bbox": short, "geometry": {"type": "Polygon", "coordinates": [_ring(*short)]}}
    halves = [[_ring(west, south, 180.0, north)], [_ring(-180.0, south, east, north)]]
    return {"bbox": short, "geometry": {"type": "MultiPolygon", "coordinates": halves}}


def _ring(west: float, south: float, east: float, north: float) -> list[list[float]]:
    """Return the corners of a box, anticlockwise."""
    return [[west, south], [east, south], [east, north], [west, north], [west, south]]
