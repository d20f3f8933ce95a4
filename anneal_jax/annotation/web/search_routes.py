"""The routes of the search page: drop a file or pick a tile, see what is similar, and say what is wrong."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anneal_jax.annotation.questions.plan import QuestionPlan
from anneal_jax.annotation.search_by_example import (
    Found,
    calibrate,
    named_tiles,
    nearest,
    nearest_answers,
)
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.context import AppContext
from anneal_jax.annotation.web.requests import BadRequestError, context_of, tile_number
from anneal_jax.annotation.web.uploads import MAX_UPLOAD_BYTES
from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.data.image_headers import FORMATS
from anneal_jax.errors import ArchiveError
from anneal_jax.evaluation.calibration import MIN_LABELS, MIN_OF_EACH, Calibration
from anneal_jax.retrieval.search import MAX_RESULTS
from anneal_jax.types import Answer, FloatArray

UPLOADS = {"search/drop": MAX_UPLOAD_BYTES}
"""Paths that take a file in place of JSON, and the most bytes of it."""

_MANY = 24
_MAX_TILES = 200  # on one page of the wall
_MAX_TEXT_LENGTH = 200


class _Query(NamedTuple):
    """What is searched by; `tile` is the archive's that marks are given for, if there is one."""

    embedding: FloatArray
    own: int
    tile: int | None


def search_routes() -> list[Route]:
    """Return the routes, all below `/search/`."""
    return [
        Route("/search/drop", _drop, methods=["POST"]),
        Route("/search/dropped/{key}.jpg", _picture),
        Route("/search/tiles", _tiles),
        Route("/search/results", _results),
        Route("/search/marks", _marks),
    ]


async def _drop(request: Request) -> Response:
    """Take a file; the reply says by which key, or by which tile of the archive, to search."""
    context = context_of(request)
    try:
        key = await asyncio.to_thread(context.uploads.take, await request.body())
    except ArchiveError as error:
        raise BadRequestError(f"the file {error}; drop a {FORMATS} file of 8 bits.") from error
    upload = context.uploads.get(key)
    tile = None if upload is None else upload.tile
    return JSONResponse(
        {"dropped": key, "tile": tile, "name": None if tile is None else context.names[tile]}
    )


async def _picture(request: Request) -> Response:
    upload = context_of(request).uploads.get(request.path_params["key"])
    if upload is None:
        raise BadRequestError("this file is not kept any more; drop it again.")
    return Response(upload.picture, media_type="image/jpeg")


async def _tiles(request: Request) -> Response:
    """Return a stretch of the tiles to pick one from: of all, as the wall has them, or of a name."""
    context = context_of(request)
    text = request.query_params.get("text", "")[:_MAX_TEXT_LENGTH]
    start = _number(request, "offset", 0, len(context.names))
    count = _number(request, "count", _MANY, _MAX_TILES)
    if text:
        found = await asyncio.to_thread(named_tiles, context.names, text)
    else:
        found = (await asyncio.to_thread(context.wall)).tolist()
    shown = found[start : start + count]
    context.pictures.prefetch(shown)
    tiles = [{"tile": tile, "name": context.names[tile]} for tile in shown]
    return JSONResponse({"tiles": tiles, "num_tiles": len(found)})


async def _results(request: Request) -> Response:
    """Search by a tile or a dropped file, and return what is known of each result."""
    context = context_of(request)
    plan = context.session.plan
    query = await asyncio.to_thread(_query, request, context, plan)  # the first one compiles
    count = _number(request, "count", _MANY, MAX_RESULTS)
    found = await asyncio.to_thread(nearest, plan.embeddings, query.embedding, count, own=query.own)
    context.pictures.prefetch(result.tile for result in found[:_MANY])
    asked, records = await context.in_writer_thread(_asked, context.session, query.tile)
    shown = await asyncio.to_thread(_shown_results, context, plan, query.embedding, found, records)
    num_results = len(context.names) - (query.own >= 0)
    name = None if query.tile is None else context.names[query.tile]
    return JSONResponse(asked | shown | {"name": name, "num_results": num_results})


async def _marks(request: Request) -> Response:
    """Return what is known of a query and other tiles."""
    context = context_of(request)
    query = await asyncio.to_thread(_query, request, context, context.session.plan)
    asked, _ = await context.in_writer_thread(_asked, context.session, query.tile)
    return JSONResponse(asked)


def _query(request: Request, context: AppContext, plan: QuestionPlan) -> _Query:
    if tile := request.query_params.get("tile"):
        row = tile_number(tile, context)
        return _Query(plan.embeddings[row], row, row)
    upload = context.uploads.get(request.query_params.get("dropped", ""))
    if upload is None:
        raise BadRequestError("this file is not kept any more; drop it again.")
    assert plan.project is not None  # every plan of a server has one
    return _Query(plan.project(upload.feature[None])[0], -1, None)


def _asked(session: AnnotationSession, tile: int | None) -> tuple[dict[str, Any], list[AnswerRecord]]:
    """Return the present set, what is known there of a tile and others, and all answers that stand."""
    marks = (
        [] if tile is None else [_mark(session, tile, other) for other in sorted(session.standing.tiles)]
    )
    known = [mark for mark in marks if mark["known"] is not None]
    asked = {"set_id": session.set_id, "sentence": session.sentence, "marks": known}
    return asked, session.standing.records


def _mark(session: AnnotationSession, tile: int, other: int) -> dict[str, Any]:
    """Return what is known of a pair, in a word, and the answer that says so, if one does."""
    pair = min(tile, other), max(tile, other)
    label = None if tile == other else session.standing.label(*pair)
    known = None if label is None else Answer(label).name.lower()
    return {"tile": other, "known": known, "answer_id": session.standing.newest(*pair)}


def _shown_results(
    context: AppContext,
    plan: QuestionPlan,
    embedding: FloatArray,
    found: Sequence[Found],
    records: Sequence[AnswerRecord],
) -> dict[str, Any]:
    """Tell the results with their chances of being similar, and which answers lie near."""
    calibration, num_audits = calibrate(records, plan.embeddings)
    chances = [_chance(calibration, result.similarity) for result in found]
    near = nearest_answers(records, plan.embeddings, embedding)
    return {
        "model": plan.version,
        "calibration": {
            "is_known": calibration is not None,
            "num_audits": num_audits,
            "fewest": MIN_LABELS,
            "fewest_of_each": MIN_OF_EACH,
        },
        "results": [
            {"name": context.names[result.tile], **result._asdict(), **chance}
            for result, chance in zip(found, chances, strict=True)
        ],
        "answers": [
            {
                **context.session.standing.to_json(answer.record),
                "nearer": answer.nearer,
                "similarity": answer.similarity,
            }
            for answer in near
        ],
    }


def _chance(calibration: Calibration | None, similarity: float) -> dict[str, float | None]:
    """Return P(similar) of a cosine with its 95% interval."""
    if calibration is None:
        return {"probability": None, "lower": None, "upper": None}
    lower, upper = calibration.interval(similarity)
    return {
        "probability": float(calibration.probability(similarity)),
        "lower": float(lower),
        "upper": float(upper),
    }


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text[:9]) <= most):
        raise BadRequestError(f"{name} must be a whole number up to {most:,}.")
    return int(text[:9])
