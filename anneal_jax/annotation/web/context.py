"""What the routes work with: a workdir that is open for a person."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.annotation.learning.loop import LearningLoop
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.web.pictures import TilePictures
from anneal_jax.annotation.web.uploads import UploadedImages
from anneal_jax.retrieval.index_reader import TileIndex


class AppContext(NamedTuple):
    """A workdir that is open for a person; `annotation.web.server.opened` makes it.

    Attributes:
      session: used in the writer's thread alone.
      writer: the one thread that owns the store.
      pictures: of the tiles.
      learning: what happens in the background; None trains nothing.
      names: of the tiles.
      uploads: files that people search by.
      tiles: the archive with what it knows of its tiles; its vectors are those of the features.
      wall: returns int[N], the tiles in the order in which they are shown to pick one from.
      notes: sentences about the archive and the model.
      left_out: names of the files that were skipped.
      warnings: sentences that stay on the page.
      basemap_url: of tiles of a map server, with {z}, {x} and {y} in it; empty: none is asked for any.
    """

    session: AnnotationSession
    writer: ThreadPoolExecutor
    pictures: TilePictures
    learning: LearningLoop | None
    names: tuple[str, ...]
    uploads: UploadedImages
    tiles: TileIndex
    wall: Callable[[], npt.NDArray[np.intp]]
    notes: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    basemap_url: str = ""

    async def in_writer_thread(self, work: Callable[..., Any], *args: Any) -> Any:
        """Run something in the writer's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.writer, work, *args)
