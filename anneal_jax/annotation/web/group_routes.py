"""The routes of the groups page: the wall, one group, and moving tiles between groups."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anneal_jax.acquisition.beliefs.judging import likely_members
from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import Beliefs
from anneal_jax.annotation.groups import Act, act, merged, moved, representative
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.context import AppContext
from anneal_jax.annotation.web.requests import (
    BadRequestError,
    context_of,
    count_asked,
    json_body,
    key,
    one_of,
    tile_number,
    whole,
    whole_numbers,
)
from anneal_jax.types import FloatArray

MAX_MOVED = 1_000
"""Maximum number of tiles in one request."""

_GROUPS_SHOWN, _TILES_SHOWN, _LIKELY_SHOWN = 20, 12, 12
_MAX_GROUPS, _PAGE_OF_TILES = 200, 200

Likely = Mapping[int, Sequence[tuple[int, float]]]


class Wall(NamedTuple):
    """The groups at one moment.

    Attributes:
      set_id: id of the set of answers.
      sentence: sentence of that set.
      groups: the tiles of each group of two or more, largest first.
      alone: tiles with answers but without similar tiles, sorted.
      embeddings: float32[N, D], embeddings of the tiles under the model in use.
      believed: beliefs about the other tiles; None if there are none.
    """

    set_id: int
    sentence: str
    groups: list[list[int]]
    alone: list[int]
    embeddings: FloatArray
    believed: tuple[BeliefSession, Beliefs] | None


def group_routes() -> list[Route]:
    """Return the GET routes, and the preview, which stores nothing."""
    return [
        Route("/groups/wall", _wall),
        Route("/groups/alone", _alone),
        Route("/groups/of/{tile}", _group),
        Route("/groups/preview", _preview, methods=["POST"]),
    ]


def wall_of(session: AnnotationSession) -> Wall:
    """Return the groups that the current answers form."""
    groups, alone = [], []
    for tiles in session.standing.groups():
        if len(tiles) > 1:
            groups.append(_representative_first(session, tiles))
        else:
            alone += tiles
    groups.sort(key=lambda tiles: (-len(tiles), tiles[0]))
    plan = session.plan
    return Wall(session.set_id, session.sentence, groups, sorted(alone), plan.embeddings, session.beliefs())


def _representative_first(session: AnnotationSession, tiles: Collection[int]) -> list[int]:
    first = representative(session.standing, tiles)
    return [first, *(tile for tile in tiles if tile != first)]


async def _wall(request: Request) -> Response:
    """Return a page of the groups, each with some of its tiles and some that likely belong to it."""
    context, query = context_of(request), request.query_params
    start = count_asked(query, "offset", 0, 10**9)
    count = count_asked(query, "count", _GROUPS_SHOWN, _MAX_GROUPS)
    shown = count_asked(query, "shown", _TILES_SHOWN, _PAGE_OF_TILES)
    wall = await context.in_writer_thread(wall_of, context.session)
    likely = await asyncio.to_thread(_likely, wall) if shown else {}
    page = range(start, min(start + count, len(wall.groups)))
    groups = [_summary(context, wall, place, shown, likely) for place in page]
    counts = {"num_groups": len(wall.groups), "num_grouped": sum(map(len, wall.groups))}
    said = {"set_id": wall.set_id, "sentence": wall.sentence, "num_alone": len(wall.alone)}
    return JSONResponse(said | counts | {"groups": groups})


async def _group(request: Request) -> Response:
    """Return a page of the tiles of one group, named by any of them."""
    context = context_of(request)
    tile = tile_number(request.path_params["tile"], context)
    start = count_asked(request.query_params, "offset", 0, 10**9)
    wall = await context.in_writer_thread(wall_of, context.session)
    place = next((place for place, tiles in enumerate(wall.groups) if tile in tiles), None)
    if place is None:
        raise BadRequestError("this tile is in no group; reload this page.")
    tiles = await asyncio.to_thread(_most_alike_first, wall.embeddings, wall.groups[place])
    found = {"set_id": wall.set_id, "number": place + 1, "tile": tiles[0], "size": len(tiles)}
    return JSONResponse(found | {"tiles": _named(context, tiles[start : start + _PAGE_OF_TILES])})


async def _alone(request: Request) -> Response:
    """Return a page of the tiles with answers but without similar tiles so far."""
    context = context_of(request)
    start = count_asked(request.query_params, "offset", 0, 10**9)
    wall = await context.in_writer_thread(wall_of, context.session)
    tiles = _named(context, wall.alone[start : start + _PAGE_OF_TILES])
    return JSONResponse({"set_id": wall.set_id, "num_alone": len(wall.alone), "tiles": tiles})


async def _preview(request: Request) -> Response:
    """Return how many answers an act would store and retract."""
    context, body = context_of(request), await json_body(request)
    found = await context.in_writer_thread(_chosen, context.session, body)
    return JSONResponse({"num_given": found.num_given, "num_taken_back": len(found.retracted)})


def _chosen(session: AnnotationSession, body: dict[str, Any]) -> Act:
    """Return the act that a request asks for: `move` its tiles, or `merge` their groups."""
    what, num_tiles = one_of(body, "act", ("move", "merge")), len(session.store.image_ids)
    tiles = whole_numbers(body, "tiles", MAX_MOVED, below=num_tiles)
    into = None if body.get("into") is None else whole(body, "into")
    if into is not None and into >= num_tiles:
        raise BadRequestError("there is no such tile.")
    if what == "move":
        return moved(session.standing, tiles, into)
    if into is None:
        raise BadRequestError("into must name the group that the others are merged into.")
    return merged(session.standing, tiles, into)


def _act(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    session.require_set(whole(body, "set_id"))
    return act(session, key(body, "tab"), lambda _: _chosen(session, body), key(body, "key"))


POSTS = {"groups/act": _act}
"""POST routes, as in `app`."""


def _summary(context: AppContext, wall: Wall, place: int, shown: int, likely: Likely) -> dict[str, Any]:
    tiles = wall.groups[place]
    first = _most_alike_first(wall.embeddings, tiles)[:shown] if shown else []
    near = likely.get(place, ())
    return {
        "number": place + 1,
        "tile": tiles[0],
        "name": context.names[tiles[0]],
        "size": len(tiles),
        "tiles": _named(context, first),
        "num_likely": len(near),
        "likely": _named(context, [tile for tile, _ in near[:_LIKELY_SHOWN]]),
    }


def _most_alike_first(embeddings: FloatArray, tiles: list[int]) -> list[int]:
    """Return the first tile, then the others by similarity to their mean, so that odd ones come last."""
    rest = np.array(tiles[1:])
    likeness = embeddings[rest] @ embeddings[tiles].mean(axis=0)
    return [tiles[0], *rest[np.argsort(-likeness, kind="stable")].tolist()]


def _likely(wall: Wall) -> Likely:
    """Return, by position on the wall, the unasked tiles that are believed to belong to each group."""
    if wall.believed is None:
        return {}
    places = {tile: place for place, tiles in enumerate(wall.groups) for tile in tiles}
    return likely_members(*wall.believed, places)


def _named(context: AppContext, tiles: Sequence[int]) -> list[dict[str, Any]]:
    return [{"tile": tile, "name": context.names[tile]} for tile in tiles]
