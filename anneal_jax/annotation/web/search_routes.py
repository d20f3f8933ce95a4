"""The routes of the search page: search by a file or a tile, and mark the results."""

import asyncio
from collections.abc import Container, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from anneal_jax.annotation.questions.plan import QuestionPlan
from anneal_jax.annotation.refine import refine
from anneal_jax.annotation.search_by_example import (
    Found,
    calibrate,
    named_tiles,
    nearest,
    nearest_answers,
)
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.context import AppContext
from anneal_jax.annotation.web.requests import (
    BadRequestError,
    context_of,
    count_asked,
    json_body,
    key,
    one_of,
    text,
    tile_number,
    whole,
)
from anneal_jax.annotation.web.uploads import MAX_UPLOAD_BYTES
from anneal_jax.answers.file_answers import (
    SaidOfFile,
    answered_files,
    answers_about,
    find_file,
    say_of_file,
)
from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.data.image_headers import FORMATS
from anneal_jax.errors import ArchiveError
from anneal_jax.evaluation.calibration import MIN_LABELS, MIN_OF_EACH, Calibration
from anneal_jax.retrieval.search import MAX_RESULTS
from anneal_jax.types import Answer, FloatArray

UPLOADS = {"search/drop": MAX_UPLOAD_BYTES}
"""Paths that accept a file instead of JSON, and its maximum size in bytes."""

_MANY = 24
_MAX_TILES = 200  # on one page of the wall
_MAX_TEXT_LENGTH = 200
_MAX_MARKS = MAX_RESULTS  # in one reply: labels of a whole archive would be megabytes
_TAKEN_BACK = "none"
_FILE_ANSWERS = ("similar", "dissimilar", "unsure", _TAKEN_BACK)


class _Query(NamedTuple):
    """A query: a tile of the archive, or a file given by its digest and feature.

    Attributes:
      embedding: float32[D], unit norm.
      tile: the tile; None for a file.
      digest: SHA-256 of the file's bytes; empty for a tile.
      feature: float32[F], feature of the file; None for a tile.
    """

    embedding: FloatArray
    tile: int | None
    digest: str = ""
    feature: FloatArray | None = None


class _Wanted(NamedTuple):
    """The parameters of a search.

    Attributes:
      direction: float32[D], unit norm.
      own: the tile to leave out of the results; -1 for none.
      most: maximum number of results.
      least: minimum cosine; 0 sets no bound.
    """

    direction: FloatArray
    own: int
    most: int
    least: float


def search_routes() -> list[Route]:
    """Return the routes, all below `/search/`."""
    return [
        Route("/search/drop", _drop, methods=["POST"]),
        Route("/search/dropped/{key}.jpg", _picture),
        Route("/search/tiles", _tiles),
        Route("/search/results", _results),
        Route("/search/marks", _marks),
        Route("/search/files", _files),
        Route("/search/mark", _mark_file, methods=["POST"]),
    ]


async def _drop(request: Request) -> Response:
    """Accept a file; reply with the key, or the tile of the archive, to search by."""
    context = context_of(request)
    try:
        dropped = await asyncio.to_thread(context.uploads.take, await request.body())
    except ArchiveError as error:
        raise BadRequestError(f"the file {error}; drop a {FORMATS} file of 8 bits.") from error
    upload = context.uploads.get(dropped)
    tile = None if upload is None else upload.tile
    return JSONResponse(
        {"dropped": dropped, "tile": tile, "name": None if tile is None else context.names[tile]}
    )


async def _picture(request: Request) -> Response:
    upload = context_of(request).uploads.get(request.path_params["key"])
    if upload is None:
        raise BadRequestError("this file is no longer held; drop it again.")
    return Response(upload.picture, media_type="image/jpeg")


async def _tiles(request: Request) -> Response:
    """Return a page of tiles to choose from: all in the order of the wall, or those that match a name."""
    context = context_of(request)
    wanted = request.query_params.get("text", "")[:_MAX_TEXT_LENGTH]
    start = count_asked(request.query_params, "offset", 0, len(context.names))
    count = count_asked(request.query_params, "count", _MANY, _MAX_TILES)
    if wanted:
        found = await asyncio.to_thread(named_tiles, context.names, wanted)
    else:
        found = (await asyncio.to_thread(context.wall)).tolist()
    shown = found[start : start + count]
    context.pictures.prefetch(shown)
    tiles = [{"tile": tile, "name": context.names[tile]} for tile in shown]
    return JSONResponse({"tiles": tiles, "num_tiles": len(found)})


async def _results(request: Request) -> Response:
    """Search by a tile or a file, and return what is known about each result.

    `refined=1` refines the query by its marks; `least` is the minimum cosine of a result, in hundredths.
    """
    context = context_of(request)
    plan = context.session.plan
    query = await _query(request.query_params, context, plan)
    asked, records = await context.in_writer_thread(_asked, context.session, query)
    marks = asked["marks"] if count_asked(request.query_params, "refined", 0, 1) else []
    wanted = _Wanted(
        await asyncio.to_thread(_direction, plan.embeddings, query, marks),
        -1 if query.tile is None else query.tile,
        count_asked(request.query_params, "count", _MANY, MAX_RESULTS),
        count_asked(request.query_params, "least", 0, 100) / 100,
    )
    found, num_results = await asyncio.to_thread(_found, plan.embeddings, wanted, marks)
    context.pictures.prefetch(result.tile for result in found[:_MANY])
    calibration, num_audits = await asyncio.to_thread(calibrate, records, plan.embeddings)
    known = None if marks else calibration  # fitted to cosines of tiles, not of a refined query
    name = None if query.tile is None else context.names[query.tile]
    about = {"model": plan.version, "name": name, "num_results": num_results, "is_refined": bool(marks)}
    about["has_places"] = context.tiles.column("box") is not None
    return JSONResponse(
        _shortened(asked, {result.tile for result in found})
        | about
        | {
            "calibration": _calibration_json(calibration, num_audits),
            "least": _chances(known, [wanted.least])[0],
        }
        | {"results": _rows(context.names, found, known)}
        | {"answers": _near_answers(context.session, records, plan.embeddings, query.embedding)}
    )


def _direction(embeddings: FloatArray, query: _Query, marks: Sequence[Mapping[str, Any]]) -> FloatArray:
    """Return the search direction: the query, refined by marks."""
    right, wrong = (embeddings[_marked(marks, word)] for word in ("similar", "dissimilar"))
    return refine(query.embedding, right, wrong)


def _marked(marks: Sequence[Mapping[str, Any]], word: str) -> list[int]:
    return [mark["tile"] for mark in marks if mark["known"] == word]


def _found(
    embeddings: FloatArray, wanted: _Wanted, marks: Sequence[Mapping[str, Any]]
) -> tuple[list[Found], int]:
    """Return results, those marked right first and wrong last, and how many there are in all."""
    found = nearest(embeddings, wanted.direction, wanted.most, own=wanted.own)
    if not wanted.least:
        num_results = len(embeddings) - (wanted.own >= 0)
    else:
        is_near = embeddings @ wanted.direction >= wanted.least
        num_results = int(np.count_nonzero(is_near)) - bool(wanted.own >= 0 and is_near[wanted.own])
        found = [result for result in found if result.similarity >= wanted.least]
    place = dict.fromkeys(_marked(marks, "similar"), -1) | dict.fromkeys(_marked(marks, "dissimilar"), 1)
    return sorted(found, key=lambda result: place.get(result.tile, 0)), num_results


async def _marks(request: Request) -> Response:
    """Return what is known of a query and other tiles, above all of those that `among` lists."""
    context = context_of(request)
    among = _listed(request.query_params.get("among", ""), context)
    query = await _query(request.query_params, context, context.session.plan)
    asked, _ = await context.in_writer_thread(_asked, context.session, query)
    return JSONResponse(_shortened(asked, among))


def _listed(text: str, context: AppContext) -> set[int]:
    """Return the tiles of a list with commas between them."""
    numbers = text.split(",") if text else []
    if len(numbers) > MAX_RESULTS:
        raise BadRequestError(f"among may list {MAX_RESULTS:,} tiles.")
    return {tile_number(number, context) for number in numbers}


def _shortened(asked: dict[str, Any], among: Container[int]) -> dict[str, Any]:
    """Return as many marks as a reply should hold, of some tiles first, and the counts of all."""
    marks = asked["marks"]
    counts = {"num_right": len(_marked(marks, "similar")), "num_wrong": len(_marked(marks, "dissimilar"))}
    if len(marks) > _MAX_MARKS:
        marks = sorted(marks, key=lambda mark: mark["tile"] not in among)[:_MAX_MARKS]
    return asked | counts | {"marks": marks}


async def _files(request: Request) -> Response:
    """Return the files that occur in answers, latest first."""
    context = context_of(request)
    files = await context.in_writer_thread(answered_files, context.session.store)
    return JSONResponse({"files": [{"file": file, "num_answers": count} for file, count in files.items()]})


async def _mark_file(request: Request) -> Response:
    """Store or retract a mark of a tile for a file; return what is then known."""
    context, body = context_of(request), await json_body(request)
    query = await _query(body, context, context.session.plan)
    if query.feature is None:
        raise BadRequestError("a mark for a tile of the archive must be sent to /volunteer.")
    answer = one_of(body, "answer", _FILE_ANSWERS)
    said = SaidOfFile(
        query.digest,
        query.feature,
        tile_number(str(whole(body, "other")), context),
        None if answer == _TAKEN_BACK else Answer[answer.upper()],
        text(body, "annotator"),
        key(body, "key"),
    )
    set_id = whole(body, "set_id")
    return JSONResponse(await context.in_writer_thread(_say, context.session, set_id, said, query))


def _say(session: AnnotationSession, set_id: int, said: SaidOfFile, query: _Query) -> dict[str, Any]:
    session.require_set(set_id)
    say_of_file(session.store, said)
    return _shortened(_asked(session, query)[0], {said.tile})


async def _query(given: Mapping[str, Any], context: AppContext, plan: QuestionPlan) -> _Query:
    """Return the query of a request: a `tile`, a `dropped` file or a `file` of the store."""
    if tile := given.get("tile"):
        row = tile_number(str(tile), context)
        return _Query(plan.embeddings[row], row)
    file = str(given.get("file", ""))
    if file.isascii() and file.isdigit():
        found = await context.in_writer_thread(find_file, context.session.store, int(file[:9]))
    else:
        found = context.uploads.get(str(given.get("dropped", "")))
    if found is None or plan.project is None or found.feature.shape != np.shape(plan.project.mean):
        raise BadRequestError("this file is no longer held; drop it again.")
    embedding = await asyncio.to_thread(plan.project, found.feature[None])  # the first one compiles
    return _Query(embedding[0], None, found.digest, found.feature)


def _asked(session: AnnotationSession, query: _Query) -> tuple[dict[str, Any], list[AnswerRecord]]:
    """Return the current set, what it says about a query and tiles, and all standing answers."""
    if query.tile is None:
        said = answers_about(session.store, query.digest)
        marks = [_known(each.tile, each.answer, each.file_answer_id) for each in said]
    else:
        marks = [_pair_known(session, query.tile, other) for other in sorted(session.standing.tiles)]
    known = [mark for mark in marks if mark["known"] is not None]
    asked = {"set_id": session.set_id, "sentence": session.sentence, "marks": known}
    return asked, session.standing.records


def _pair_known(session: AnnotationSession, tile: int, other: int) -> dict[str, Any]:
    """Return what is known about a pair, and the answer that says so, if there is one."""
    pair = min(tile, other), max(tile, other)
    label = None if tile == other else session.standing.label(*pair)
    return _known(other, label, session.standing.newest(*pair))


def _known(tile: int, label: int | None, answer_id: int | None) -> dict[str, Any]:
    known = None if label is None else Answer(label).name.lower()
    return {"tile": tile, "known": known, "answer_id": answer_id}


def _rows(names: Sequence[str], found: Sequence[Found], calibration: Calibration | None) -> list[dict]:
    chances = _chances(calibration, [result.similarity for result in found])
    return [
        {"name": names[result.tile], **result._asdict(), **chance}
        for result, chance in zip(found, chances, strict=True)
    ]


def _calibration_json(calibration: Calibration | None, num_audits: int) -> dict[str, Any]:
    """Return whether probabilities are available, and what they need."""
    fewest = {"fewest": MIN_LABELS, "fewest_of_each": MIN_OF_EACH}
    return {"is_known": calibration is not None, "num_audits": num_audits, **fewest}


def _chances(
    calibration: Calibration | None, similarities: Sequence[float]
) -> list[dict[str, float | None]]:
    """Return P(similar) of each cosine with its 95% interval; empty if unknown."""
    if calibration is None:
        return [{"probability": None, "lower": None, "upper": None} for _ in similarities]
    lower, upper = calibration.interval(similarities)
    columns = np.stack([calibration.probability(similarities), lower, upper], axis=1)
    return [dict(zip(("probability", "lower", "upper"), row, strict=True)) for row in columns.tolist()]


def _near_answers(
    session: AnnotationSession, records: Sequence[AnswerRecord], embeddings: FloatArray, query: FloatArray
) -> list[dict[str, Any]]:
    """Return the answers nearest to a query."""
    return [
        {
            **session.standing.to_json(answer.record),
            "nearer": answer.nearer,
            "similarity": answer.similarity,
        }
        for answer in nearest_answers(records, embeddings, query)
    ]
