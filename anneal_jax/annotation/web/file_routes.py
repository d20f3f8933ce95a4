"""The routes of answers as files: export all answers, and import another person's."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.requests import context_of
from anneal_jax.answers.file_format import SharedAnswer, answers_text, parse_answers
from anneal_jax.answers.import_export import add_answers, shared_answers

UPLOADS = {"answers/add": 2**26}
"""Paths that accept a file instead of JSON, and its maximum size in bytes: about 300,000 answers."""

_KINDS = {"answers.csv": "text/csv", "answers.jsonl": "application/jsonl"}
_MAX_NAME_LENGTH = 100


def file_routes() -> list[Route]:
    """Return the routes."""
    return [
        *(Route(f"/{name}", _download) for name in _KINDS),
        Route("/answers/add", _add, methods=["POST"]),
    ]


async def _download(request: Request) -> Response:
    """Send every answer of every set, including retracted ones."""
    context, name = context_of(request), request.url.path.rpartition("/")[2]
    rows = await context.in_writer_thread(shared_answers, context.session.store)
    text = await asyncio.to_thread(answers_text, rows, name)  # a long file must not delay answers
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text.encode(), media_type=_KINDS[name], headers=headers)


async def _add(request: Request) -> Response:
    """Add the answers of a file, whose format follows from its name."""
    context, name = context_of(request), request.query_params.get("name", "")[-_MAX_NAME_LENGTH:]
    rows = await asyncio.to_thread(parse_answers, await request.body(), name)
    return JSONResponse(await context.in_writer_thread(_add_answers, context.session, rows, name))


def _add_answers(session: AnnotationSession, rows: list[SharedAnswer], name: str) -> dict[str, Any]:
    report = add_answers(session.store, rows, name)
    session.begin_anew()
    counts = {"num_added": report.num_added, "num_known": report.num_known}
    return counts | {"num_disagreements": len(report.disagreements)}
