"""What the routes work with, and how they read a request; whatever is wrong with one is a sentence."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from starlette.requests import Request

from anneal_jax.annotation.learning.loop import Learning
from anneal_jax.annotation.session import Desk
from anneal_jax.annotation.web.pictures import TilePictures
from anneal_jax.annotation.web.uploads import DroppedTiles


class BadRequestError(ValueError):
    """A request that the page would not send."""


class Office(NamedTuple):
    """All that the routes work with.

    Attributes:
      desk: used in the writer's thread alone.
      writer: the one thread that owns the store.
      pictures: of the tiles.
      learning: what happens in the background; None trains nothing.
      names: of the tiles.
      dropped: files that people search by.
    """

    desk: Desk
    writer: ThreadPoolExecutor
    pictures: TilePictures
    learning: Learning | None
    names: tuple[str, ...]
    dropped: DroppedTiles

    async def at_desk(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run something in the writer's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.writer, work, *args)


def office_of(request: Request) -> Office:
    """Return the office of the app that got a request."""
    return request.app.state.office


def tile_number(text: str, office: Office) -> int:
    """Return the number of a tile.

    Raises:
      BadRequestError: it is none.
    """
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or int(text) >= len(office.names):
        raise BadRequestError("there is no such tile.")
    return int(text)
