"""The routes of sets: list them, and change them."""

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anneal_jax.annotation import sets
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.requests import context_of, key, text, whole


def set_routes() -> list[Route]:
    """Return the GET routes."""
    return [Route("/sets", _listed)]


async def _listed(request: Request) -> Response:
    context = context_of(request)
    found = await context.in_writer_thread(context.session.store.sets)
    return JSONResponse({"sets": [answer_set._asdict() for answer_set in found]})


def _say(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    return sets.say_sentence(session, key(body, "tab"), text(body, "sentence"))


def _begin(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    return sets.begin_set(session, key(body, "tab"), text(body, "sentence"), key(body, "key"))


def _go(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    return sets.go_to_set(session, key(body, "tab"), whole(body, "to"), key(body, "key"))


def _rename(session: AnnotationSession, body: dict[str, Any]) -> dict[str, Any]:
    session.require_set(whole(body, "set_id"))
    return sets.rename_set(session, key(body, "tab"), text(body, "sentence"), key(body, "key"))


POSTS = {"sentence": _say, "sets/begin": _begin, "sets/go": _go, "sets/rename": _rename}
"""POST routes, as in `app`: each takes the session and the body, and returns what the tab shows."""
