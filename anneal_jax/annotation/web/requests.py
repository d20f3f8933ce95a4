"""Parses requests for the routes; a malformed request gets a one-sentence error."""

import json
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request

from anneal_jax.annotation.web.context import AppContext

_MAX_PLACES = 100
_KEY = re.compile(r"[0-9A-Za-z_-]{8,64}")


class BadRequestError(ValueError):
    """A malformed request, which the page itself would not send."""


def context_of(request: Request) -> AppContext:
    """Return the context of the app that got a request."""
    return request.app.state.context


def tile_number(text: str, context: AppContext) -> int:
    """Return the number of a tile.

    Raises:
      BadRequestError: there is no such tile.
    """
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) >= len(context.names):
        raise BadRequestError("there is no such tile.")
    return int(text)


async def json_body(request: Request) -> dict[str, Any]:
    """Return the JSON object that a request carries."""
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as error:
        raise BadRequestError("the body is not JSON.") from error
    if not isinstance(body, dict):
        raise BadRequestError("the body must be a JSON object.")
    return body


def text(body: dict[str, Any], name: str) -> str:
    """Return a string from a body."""
    value = body.get(name)
    if not isinstance(value, str):
        raise BadRequestError(f"{name} must be text.")
    return value


def key(body: dict[str, Any], name: str) -> str:
    """Return a key, which the page generated, from a body."""
    value = text(body, name)
    if not _KEY.fullmatch(value):
        raise BadRequestError(f"{name} must be 8 to 64 letters, digits, - or _.")
    return value


def one_of(body: dict[str, Any], name: str, allowed: Any) -> str:
    """Return one of the allowed words from a body."""
    value = text(body, name)
    if value not in allowed:
        raise BadRequestError(f"{name} must be one of {', '.join(allowed)}.")
    return value


def whole(body: dict[str, Any], name: str) -> int:
    """Return a non-negative whole number from a body."""
    value = body.get(name)
    if type(value) is not int or not 0 <= value < 2**53:
        raise BadRequestError(f"{name} must be a whole number.")
    return value


def places(body: dict[str, Any], name: str) -> list[int] | None:
    """Return at most 100 non-negative whole numbers from a body; None if it has null."""
    if name in body and body[name] is None:
        return None
    value = body.get(name)
    if not isinstance(value, list) or len(value) > _MAX_PLACES:
        raise BadRequestError(f"{name} must be a list of whole numbers, or null.")
    return [whole({name: place}, name) for place in value]


def whole_numbers(body: dict[str, Any], name: str, most: int, *, below: int) -> list[int]:
    """Return 1 to `most` whole numbers in [0, `below`) from a body."""
    values = body.get(name)
    if not isinstance(values, list) or not 0 < len(values) <= most:
        raise BadRequestError(f"{name} must be a list of 1 to {most:,} whole numbers.")
    if any(type(value) is not int or not 0 <= value < below for value in values):
        raise BadRequestError(f"{name} must contain whole numbers below {below:,}.")
    return values


def count_asked(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """Return a count that a query names, or `default` if it names none.

    Raises:
      BadRequestError: it is no whole number from 0 to `most`.
    """
    value = query.get(name, str(default))
    if not re.fullmatch(r"[0-9]{1,15}", value, re.ASCII) or int(value) > most:
        raise BadRequestError(f"{name} must be a whole number up to {most:,}.")
    return int(value)


def seconds(body: dict[str, Any]) -> float | None:
    """Return the time that an answer took; None if the page does not know it."""
    value = body.get("elapsed_s")
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 <= value < 1e9:
        raise BadRequestError("elapsed_s must be a number of seconds.")
    return float(value)
