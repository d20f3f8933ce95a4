"""The routes of the annotation page: JSON requests, tile pictures by number, and the page's own files."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from anneal_jax.annotation.doubts import contradiction
from anneal_jax.annotation.questions.plan import MODES, SILENT
from anneal_jax.annotation.search_by_example import nearest_tiles
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web import (
    export_routes,
    file_routes,
    group_routes,
    map_routes,
    search_routes,
    set_routes,
)
from anneal_jax.annotation.web.access import Access, AccessMiddleware
from anneal_jax.annotation.web.context import AppContext
from anneal_jax.annotation.web.pages import PAGES, page_html, read_static, static_files
from anneal_jax.annotation.web.requests import (
    BadRequestError,
    context_of,
    count_asked,
    json_body,
    key,
    one_of,
    places,
    seconds,
    text,
    tile_number,
    whole,
)
from anneal_jax.errors import AnnealError, StorageFullError, StoreError, UnwritableError, reason_of
from anneal_jax.types import Answer

_MEDIA_TYPES = {
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "json": "application/json",
}
_ANSWERS = {answer.name.lower(): answer for answer in Answer}
_PAGE_ROWS = 100
_NEIGHBOURS_SHOWN = 10
_QUERIES, _FOUND, _CHANGE_SEED = 6, 5, 0


def page_routes() -> list[Route]:
    """Return all routes of the page; their paths are those below the token."""
    return [
        *(Route(f"/{page.path}", _fixed(page_html(page), "text/html")) for page in PAGES),
        *(Route(f"/static/{name}", _file(name)) for name in static_files()),
        Route("/tile/{tile}.jpg", _tile),
        Route("/state", _state),
        Route("/notes", _notes),
        Route("/contradiction", _contradiction),
        Route("/answers", _answers),
        Route("/neighbours/{tile}", _neighbours),
        Route("/change", _change),
        *search_routes.search_routes(),
        *set_routes.set_routes(),
        *group_routes.group_routes(),
        *file_routes.file_routes(),
        *export_routes.export_routes(),
        *map_routes.map_routes(),
        *(Route(f"/{name}", _post(name), methods=["POST"]) for name in _POSTS),
    ]


def create_app(context: AppContext, access: Access) -> ASGIApp:
    """Return the app, wrapped in its access checks; all paths begin with the token."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        learner = asyncio.create_task(_learn(context)) if context.learning else None
        yield
        if learner:
            learner.cancel()

    app = Starlette(
        routes=[Mount(f"/{access.token}", routes=page_routes())],
        lifespan=lifespan,
        exception_handlers={
            BadRequestError: _error_response(400),
            StorageFullError: _error_response(507),
            StoreError: _error_response(409),
            UnwritableError: _error_response(507),
            AnnealError: _error_response(409),
            OSError: _error_response(507),
            MemoryError: _error_response(507),
        },
    )
    app.state.context = context
    uploads = {**search_routes.UPLOADS, **file_routes.UPLOADS, **export_routes.UPLOADS}
    return AccessMiddleware(app, access, uploads)


async def _learn(context: AppContext) -> None:
    """Advance background training twice a second, whatever its result."""
    assert context.learning is not None
    while True:
        await asyncio.sleep(0.5)
        await context.learning.advance(context.in_writer_thread)


# POST routes: each takes the session and the checked body, and returns what the tab shows. A question
# belongs to one set; every other request names the set that its page shows.


def _session(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    mode = one_of(body, "mode", (*MODES, SILENT))
    return session.open_tab(key(body, "tab"), text(body, "annotator"), mode)


def _answer(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    said = _ANSWERS[one_of(body, "answer", _ANSWERS)]
    return session.answer(key(body, "tab"), key(body, "key"), said, seconds(body))


def _glance(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    return session.answer_glance(key(body, "tab"), key(body, "key"), places(body, "picked"), seconds(body))


def _undo(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    session.require_set(whole(body, "set_id"))
    return session.undo(key(body, "tab"), key(body, "key"))


def _retract(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    session.require_set(whole(body, "set_id"))
    return session.retract(key(body, "tab"), whole(body, "answer_id"), key(body, "key"))


def _correct(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    said = _ANSWERS[one_of(body, "answer", _ANSWERS)]
    session.require_set(whole(body, "set_id"))
    return session.correct(key(body, "tab"), whole(body, "answer_id"), said, key(body, "key"))


def _volunteer(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    said = _ANSWERS[one_of(body, "answer", _ANSWERS)]
    pair = whole(body, "first"), whole(body, "second")
    session.require_set(whole(body, "set_id"))
    return session.volunteer(key(body, "tab"), pair, said, key(body, "key"))


_POSTS: dict[str, Callable[[AnnotationSession, dict[str, Any]], dict[str, Any]]] = {
    "session": _session,
    "answer": _answer,
    "glance": _glance,
    "undo": _undo,
    "retract": _retract,
    "correct": _correct,
    "volunteer": _volunteer,
    **set_routes.POSTS,
    **group_routes.POSTS,
}


_JUDGEMENTS = ("answer", "glance", "correct", "volunteer", "groups/act")


def _post(name: str) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        context = context_of(request)
        if name in _JUDGEMENTS and not context.pictures.show_tiles:
            raise BadRequestError("these vectors have no pictures, so nobody can judge them here.")
        view = await context.in_writer_thread(_POSTS[name], context.session, await json_body(request))
        _prefetch(context, view)
        return _json(view | _background(context))

    return endpoint


def _prefetch(context: AppContext, view: dict[str, Any]) -> None:
    for question in view["questions"]:
        members = (tile for tiles in question["members"] for tile in tiles)
        context.pictures.prefetch((question["subject"], *question["others"], *members))


# GET routes.


async def _state(request: Request) -> Response:
    context = context_of(request)
    annotator = request.query_params.get("annotator", "")[:500]
    counters = await context.in_writer_thread(context.session.counters, annotator)
    return _json(counters | _background(context) | {"warnings": context.warnings})


async def _notes(request: Request) -> Response:
    """Return notes about the archive, and the names of the files that were skipped."""
    context = context_of(request)
    return _json({"notes": context.notes, "left_out": context.left_out})


async def _contradiction(request: Request) -> Response:
    """Return the contradiction after the one that `after` names, starting again at the end."""
    context = context_of(request)
    after = count_asked(request.query_params, "after", 0, 10**12)
    return _json({"conflict": await context.in_writer_thread(contradiction, context.session, after)})


async def _answers(request: Request) -> Response:
    """Return a page of the filtered answers, and how often people agree."""
    context = context_of(request)
    query = request.query_params
    wanted, part_of_text = query.get("answer", ""), query.get("text", "").lower()
    set_id, found, people = await context.in_writer_thread(_reviewed, context.session)
    rows = [
        row
        for row in found
        if (not wanted or row["answer"] == wanted)
        and (
            not part_of_text
            or any(part_of_text in part.lower() for part in (*row["names"], row["annotator"]))
        )
    ]
    start = count_asked(query, "offset", 0, 10**12)
    models = context.learning.curve if context.learning else []
    curve = [row for row in models if row.get("set_id") == set_id]
    page = {"answers": rows[start : start + _PAGE_ROWS], "num_answers": len(rows), "curve": curve}
    return _json({"set_id": set_id} | page | people)


def _reviewed(session: AnnotationSession) -> tuple[int, list[dict[str, Any]], dict[str, Any]]:
    return session.set_id, session.answers(), session.people()


async def _neighbours(request: Request) -> Response:
    context = context_of(request)
    tile, embeddings = tile_number(request.path_params["tile"], context), context.session.plan.embeddings
    count = min(_NEIGHBOURS_SHOWN, len(embeddings) - 1)
    found = await asyncio.to_thread(nearest_tiles, embeddings, np.array([tile]), count)
    near = [{"tile": row, "name": context.names[row]} for row in found[0].tolist()]
    return _json({"tile": tile, "name": context.names[tile], "neighbours": near})


async def _change(request: Request) -> Response:
    """Return the neighbours of six random tiles, before the model in use and now."""
    context = context_of(request)
    before, now = context.session.plan_before, context.session.plan
    num_tiles = len(context.names)
    drawn = np.random.default_rng(_CHANGE_SEED).choice(num_tiles, min(_QUERIES, num_tiles), replace=False)
    count = min(_FOUND, num_tiles - 1)
    found = [
        await asyncio.to_thread(nearest_tiles, plan.embeddings, drawn, count) for plan in (before, now)
    ]
    rows = zip(drawn.tolist(), found[0].tolist(), found[1].tolist(), strict=True)
    queries = [{"tile": tile, "before": old, "now": new} for tile, old, new in rows]
    return _json({"before": before.version, "now": now.version, "queries": queries})


async def _tile(request: Request) -> Response:
    context = context_of(request)
    picture = await asyncio.to_thread(
        context.pictures.get, tile_number(request.path_params["tile"], context)
    )
    return Response(picture, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


def _file(name: str) -> Callable[[Request], Any]:
    return _fixed(read_static(name), _MEDIA_TYPES[name.rpartition(".")[2]])


def _fixed(content: bytes, media_type: str) -> Callable[[Request], Any]:
    async def endpoint(request: Request) -> Response:
        return Response(content, media_type=media_type)

    return endpoint


def _background(context: AppContext) -> dict[str, Any]:
    learning = context.learning.to_json() if context.learning else {}
    return learning | {"shows_tiles": context.pictures.show_tiles}


def _json(content: dict[str, Any]) -> Response:
    return JSONResponse(content)


def _error_response(status: int) -> Callable[[Request, Exception], Response]:
    def handler(request: Request, error: Exception) -> Response:
        said = str(error) if isinstance(error, AnnealError | BadRequestError) else f"{reason_of(error)}."
        return JSONResponse({"error": said}, status)

    return handler
