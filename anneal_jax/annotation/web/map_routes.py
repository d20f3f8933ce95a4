"""The routes of the map: where the archive's tiles are, and which groups they belong to."""

import asyncio

import numpy as np
import numpy.typing as npt
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.context import AppContext
from anneal_jax.annotation.web.requests import context_of
from anneal_jax.retrieval.boxes import are_in_degrees


def map_routes() -> list[Route]:
    """Return the routes, all below `/map/`."""
    return [
        Route("/map/tiles", _tiles),
        Route("/map/boxes", _boxes),
        Route("/map/groups", _groups),
    ]


async def _tiles(request: Request) -> Response:
    """Return what the map shows: the names of the tiles, and the units of their places."""
    context = context_of(request)
    boxes = _places(context)
    placed = boxes[np.isfinite(boxes).all(axis=1)]
    about = {
        "names": context.names,
        "num_placed": len(placed),
        "in_degrees": are_in_degrees(placed),
        "shows_tiles": context.pictures.show_tiles,
        "basemap_url": context.basemap_url,
    }
    return await asyncio.to_thread(JSONResponse, about)


async def _boxes(request: Request) -> Response:
    """Return west, south, east, north of each tile as little-endian float64; NaN for an unknown place."""
    boxes = _places(context_of(request)).astype("<f8")
    return Response(boxes.tobytes(), media_type="application/octet-stream")


async def _groups(request: Request) -> Response:
    """Return the tiles of each group that answers form, largest first."""
    context = context_of(request)
    groups = await context.in_writer_thread(_grouped, context.session)
    return JSONResponse({"groups": groups})


def _places(context: AppContext) -> npt.NDArray[np.float64]:
    found = context.tiles.column("box")
    return np.full((len(context.names), 4), np.nan) if found is None else np.asarray(found[0])


def _grouped(session: AnnotationSession) -> list[list[int]]:
    groups = (sorted(group) for group in session.standing.groups() if len(group) > 1)
    return sorted(groups, key=lambda group: (-len(group), group))
