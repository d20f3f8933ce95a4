"""The context shared by the routes: a workdir opened for annotation."""

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
    """A workdir opened for annotation, by `annotation.web.server.opened`.

    Attributes:
      session: only used in the writer's thread.
      writer: the one thread that owns the store.
      pictures: pictures of the tiles.
      learning: background training; None if there is none.
      names: names of the tiles.
      uploads: files uploaded to search by.
      tiles: the archive with its metadata, as a searched index of the features.
      wall: returns int[N], the tiles in the order in which the search page offers them.
      notes: sentences about the archive and the model.
      left_out: names of the skipped files.
      warnings: sentences always shown on the page.
      basemap_url: address of a map server's tiles, with {z}, {x} and {y}; empty if no server is used.
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
        """Run a function in the writer's thread."""
        return await asyncio.get_running_loop().run_in_executor(self.writer, work, *args)
