"""The routes of the search page: drop a file or pick a tile, see what is similar, and say what is wrong."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anneal_jax.annotation.questions.plan import Guide
from anneal_jax.annotation.search_by_example import (
    Found,
    calibrate,
    nearest,
    nearest_answers,
    offered_tiles,
)
from anneal_jax.annotation.session import Desk
from anneal_jax.annotation.web.context import (
    BadRequestError,
    Office,
    office_of,
    tile_number,
)
from anneal_jax.annotation.web.uploads import MAX_UPLOAD_BYTES
from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.errors import ArchiveError
from anneal_jax.evaluation.calibration import FEWEST_LABELS, FEWEST_OF_EACH, Calibration
from anneal_jax.retrieval.search import MOST_RESULTS
from anneal_jax.types import Answer, FloatArray

UPLOADS = {"search/drop": MAX_UPLOAD_BYTES}
"""Paths that take a file in place of JSON, and the most bytes of it."""

_MANY = 24
_LONGEST_TEXT = 200


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
    ]


async def _drop(request: Request) -> Response:
    """Take a file; the reply says by which key, or by which tile of the archive, to search."""
    office = office_of(request)
    try:
        key = await asyncio.to_thread(office.dropped.take, await request.body())
    except ArchiveError as error:
        raise BadRequestError(f"the file {error}; drop a JPEG, PNG or 8-bit TIFF file.") from error
    dropped = office.dropped.get(key)
    tile = None if dropped is None else dropped.tile
    return JSONResponse(
        {"dropped": key, "tile": tile, "name": None if tile is None else office.names[tile]}
    )


async def _picture(request: Request) -> Response:
    dropped = office_of(request).dropped.get(request.path_params["key"])
    if dropped is None:
        raise BadRequestError("this file is not kept any more; drop it again.")
    return Response(dropped.picture, media_type="image/jpeg")


async def _tiles(request: Request) -> Response:
    """Offer tiles to pick one from."""
    office = office_of(request)
    text = request.query_params.get("text", "")[:_LONGEST_TEXT]
    turn = _number(request, "turn", 0, 10**6)
    offered = await asyncio.to_thread(offered_tiles, office.names, text, turn)
    office.pictures.prefetch(offered)
    return JSONResponse({"tiles": [{"tile": tile, "name": office.names[tile]} for tile in offered]})


async def _results(request: Request) -> Response:
    """Search by a tile or a dropped file, and tell what is known of each result."""
    office = office_of(request)
    guide = office.desk.guide
    query = await asyncio.to_thread(_query, request, office, guide)  # the first one compiles
    count = _number(request, "count", _MANY, MOST_RESULTS)
    found = await asyncio.to_thread(nearest, guide.embeddings, query.embedding, count, own=query.own)
    office.pictures.prefetch(result.tile for result in found[:_MANY])
    asked, verdicts, records = await office.at_desk(_verdicts, office.desk, query.tile, found)
    told = await asyncio.to_thread(_told, office, guide, query.embedding, found, records)
    for row, verdict in zip(told["results"], verdicts, strict=True):
        row.update(verdict)
    return JSONResponse(asked | told)


def _query(request: Request, office: Office, guide: Guide) -> _Query:
    if tile := request.query_params.get("tile"):
        row = tile_number(tile, office)
        return _Query(guide.embeddings[row], row, row)
    dropped = office.dropped.get(request.query_params.get("dropped", ""))
    if dropped is None:
        raise BadRequestError("this file is not kept any more; drop it again.")
    assert guide.project is not None  # every guide of a server has one
    anchor = request.query_params.get("anchor")
    return _Query(
        guide.project(dropped.feature[None])[0], -1, tile_number(anchor, office) if anchor else None
    )


def _verdicts(
    desk: Desk, tile: int | None, found: Sequence[Found]
) -> tuple[dict[str, Any], list[dict[str, Any]], list[AnswerRecord]]:
    """Return the present set, what is known there of a tile and each result, and all answers that stand."""
    asked = {"set_id": desk.set_id, "sentence": desk.sentence}
    return asked, [_verdict(desk, tile, result.tile) for result in found], desk.ledger.records


def _verdict(desk: Desk, tile: int | None, other: int) -> dict[str, Any]:
    """Return what is known of a pair, in a word, and the answer that says so, if one does."""
    if tile is None or tile == other:
        return {"known": None, "answer_id": None}
    pair = min(tile, other), max(tile, other)
    label, answer_id = desk.ledger.label(*pair), desk.ledger.newest(*pair)
    return {"known": None if label is None else Answer(label).name.lower(), "answer_id": answer_id}


def _told(
    office: Office,
    guide: Guide,
    embedding: FloatArray,
    found: Sequence[Found],
    records: Sequence[AnswerRecord],
) -> dict[str, Any]:
    """Tell the results with their chances of being similar, and which answers lie near."""
    calibration, num_audits = calibrate(records, guide.embeddings)
    chances = [_chance(calibration, result.similarity) for result in found]
    near = nearest_answers(records, guide.embeddings, embedding)
    return {
        "model": guide.version,
        "calibration": {
            "is_known": calibration is not None,
            "num_audits": num_audits,
            "fewest": FEWEST_LABELS,
            "fewest_of_each": FEWEST_OF_EACH,
        },
        "results": [
            {"name": office.names[result.tile], **result._asdict(), **chance}
            for result, chance in zip(found, chances, strict=True)
        ],
        "answers": [
            {
                **office.desk.ledger.told(answer.record),
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
