"""The routes that export results: as a table, as places, or as copies of the tiles."""

import asyncio
import importlib.util
import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from anneal_jax.annotation.known_results import MARKS, with_answers
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.context import AppContext
from anneal_jax.annotation.web.requests import BadRequestError, context_of, json_body
from anneal_jax.exporting.geojson import results_geojson
from anneal_jax.exporting.result_files import result_files, zipped
from anneal_jax.exporting.result_tables import results_csv, results_geoparquet
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.queries import Query
from anneal_jax.retrieval.results import Results

MAX_ROWS = 10_000
"""Maximum number of tiles in one export."""

UPLOADS = {
    f"export/{name}": 2**20 for name in ("results.csv", "results.geojson", "results.parquet", "results.zip")
}
"""Paths that accept a longer body than others, and its maximum size in bytes."""

_TABLES: dict[str, tuple[str, Callable[[TileIndex, list[Results]], str | bytes]]] = {
    "results.csv": ("text/csv", results_csv),
    "results.geojson": ("application/geo+json", results_geojson),
    "results.parquet": ("application/vnd.apache.parquet", results_geoparquet),
}
_MAX_NAME_LENGTH = 200
_MADE_AHEAD = 2**26  # bytes of a ZIP archive prepared first, so that early failures still get a message


def export_routes() -> list[Route]:
    """Return the routes, all below `/export/`."""
    return [
        Route("/export/formats", _formats),
        *(Route(f"/export/{name}", _table, methods=["POST"]) for name in _TABLES),
        Route("/export/results.zip", _zip, methods=["POST"]),
    ]


async def _formats(request: Request) -> Response:
    """Return the formats that this archive can be exported in."""
    context = context_of(request)
    return JSONResponse(
        {
            "has_files": context.pictures.show_tiles,
            "has_places": context.tiles.column("box") is not None,
            "has_parquet": importlib.util.find_spec("pyarrow") is not None,
            "most": MAX_ROWS,
        }
    )


async def _table(request: Request) -> Response:
    context, name = context_of(request), request.url.path.rpartition("/")[2]
    media_type, write = _TABLES[name]
    found = await _asked(request, context)
    content = await asyncio.to_thread(write, context.tiles, [found])
    return Response(content, media_type=media_type, headers=_saved_as(name))


async def _zip(request: Request) -> Response:
    """Stream copies of the tiles and the tables as they are read."""
    context = context_of(request)
    found = await _asked(request, context)
    pieces = zipped(result_files(context.tiles, [found], context.pictures.file))
    begun = await asyncio.to_thread(_begin, pieces)
    return StreamingResponse(
        itertools.chain(begun, pieces), media_type="application/zip", headers=_saved_as("results.zip")
    )


def _begin(pieces: Iterator[bytes]) -> list[bytes]:
    begun, num_bytes = [], 0
    for piece in pieces:
        begun.append(piece)
        num_bytes += len(piece)
        if num_bytes >= _MADE_AHEAD:
            break
    return begun


def _saved_as(name: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{name}"'}


async def _asked(request: Request, context: AppContext) -> Results:
    """Return the results that a page asks for, with what answers say about them."""
    body = await json_body(request)
    rows = body.get("rows")
    if not isinstance(rows, list) or not 0 < len(rows) <= MAX_ROWS:
        raise BadRequestError(f"rows must name 1 to {MAX_ROWS:,} tiles.")
    query = Query(_name(body, context), _tile(body.get("tile", -1), context, least=-1), None)
    tiles = [_tile(_field(row, "tile"), context) for row in rows]
    similarities = [_similarity(_field(row, "similarity")) for row in rows]
    marks = [_mark(_field(row, "mark")) for row in rows]
    found = Results(
        query,
        "",
        tiles,
        [context.names[tile] for tile in tiles],
        similarities,
        context.tiles.labels(tiles) or [""] * len(tiles),
    )
    return await context.in_writer_thread(_known, context.session, found, context.names, marks)


def _known(session: AnnotationSession, found: Results, names: tuple[str, ...], marks: list[str]) -> Results:
    return with_answers(found, session.standing, names, marks if any(marks) else None)


def _name(body: dict[str, Any], context: AppContext) -> str:
    """Return the name of the query: a tile's name, or the page's name for a file."""
    tile = body.get("tile", -1)
    if tile != -1:
        return context.names[_tile(tile, context)]
    name = body.get("name", "")
    if not isinstance(name, str):
        raise BadRequestError("name must be text.")
    return name[:_MAX_NAME_LENGTH].encode("utf-8", "replace").decode()


def _field(row: Any, name: str) -> Any:
    if not isinstance(row, dict):
        raise BadRequestError("each of the rows must be a JSON object.")
    return row.get(name)


def _tile(value: Any, context: AppContext, *, least: int = 0) -> int:
    if type(value) is not int or not least <= value < len(context.names):
        raise BadRequestError("there is no such tile.")
    return value


def _similarity(value: Any) -> float:
    """Return a cosine; NaN if there was no query."""
    if value is None:
        return math.nan
    if type(value) not in (int, float) or not -1.01 <= value <= 1.01:
        raise BadRequestError("similarity must be a cosine.")
    return float(value)


def _mark(value: Any) -> str:
    if value is not None and value not in ("", *MARKS.values()):
        raise BadRequestError(f"mark must be one of {', '.join(MARKS.values())}.")
    return value or ""
