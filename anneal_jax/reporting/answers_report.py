"""The report of training on a person's answers: the same queries before and after."""

import dataclasses
import pathlib
import shlex
from contextlib import closing
from typing import cast

import numpy as np
import numpy.typing as npt

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.bands import rgb_tiles
from anneal_jax.data.catalogue import Catalogue
from anneal_jax.errors import WorkdirError
from anneal_jax.experiments.answered_workdir import load_whole_archive, train_on_answers
from anneal_jax.files import atomic
from anneal_jax.files.workdir import read_config
from anneal_jax.reporting.gallery import plot_gallery
from anneal_jax.reporting.page import document, escaped, figure, section, settings_list
from anneal_jax.retrieval.search import Hits, search_exact
from anneal_jax.training.checkpoints import RoundCheckpoints
from anneal_jax.training.factory import make_learner
from anneal_jax.training.projection import centring, of_checkpoint
from anneal_jax.types import MIN_NORM, Archive, FloatArray

NUM_QUERIES = 6
"""Number of queries shown, spread evenly over the archive: chosen by position, never by result."""

NUM_NEIGHBOURS = 5

_SIDE_PX = 192
_PICTURE = "before_after.png"


def train_and_report(workdir: str | pathlib.Path) -> str:
    """Train on the answers of a workdir, write the report, and return what was done and the next command.

    Raises:
      AnnealError: as `train_on_answers`.
    """
    config = read_config(workdir)
    return report_answers(config, workdir, train_on_answers(config, workdir))


def report_answers(config: ExperimentConfig, workdir: str | pathlib.Path, sentence: str) -> str:
    """Write `report.html` into a workdir that was trained on answers: six queries, before and after.

    The right results are unknown, so no neighbour is marked.

    Args:
      config: its settings.
      workdir: trained by `train_on_answers`.
      sentence: its result.

    Returns:
      The sentence, the path of the page, and the next command.

    Raises:
      AnnealError: the archive can no longer be used, or nothing was trained yet.
    """
    workdir = pathlib.Path(workdir)
    with closing(RoundCheckpoints(workdir / "checkpoints", read_only=True)) as checkpoints:
        newest = checkpoints.restore_newest()
    if newest is None:
        raise WorkdirError(f"{workdir} contains no model yet; train one with launch/run.py.")
    dataset = load_whole_archive(config)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    features = learner.features(None)
    before, after = (project(features) for project in (centring(features), of_checkpoint(newest.state)))
    body = [
        f'<h1>{escaped(config.archive)}: trained on answers</h1>\n<p class="result">{escaped(sentence)}</p>'
    ]
    queries = shown_queries(before, after)
    if dataset.archive.kind == "image" and len(queries):
        _draw(dataset.archive, queries, (before, after), workdir / _PICTURE)
        caption = (
            f"{len(queries)} tiles, spread over the archive, and what is nearest to each: by the features "
            "of the network alone, and by the model that was trained on the answers. Below each, its cosine"
        )
        body.append(figure(caption, workdir / _PICTURE))
    command = next_command(workdir)
    body += [
        section("How to continue", f"<p><code>{escaped(command)}</code></p>"),
        section("Settings", settings_list(dataclasses.asdict(config))),
    ]
    atomic.write_text(workdir / "report.html", document(f"{config.archive}: answers", "\n".join(body)))
    return f"{sentence} See {workdir / 'report.html'}. Next: {command}"


def next_command(workdir: pathlib.Path) -> str:
    """Return the command that searches with the trained model."""
    return (
        f"python launch/search.py --index={shlex.quote(str(workdir))} --query=FILE --k=20 --copy_to=found"
    )


def shown_queries(before: FloatArray, after: FloatArray) -> npt.NDArray[np.int64]:
    """Return tiles spread evenly over the archive, among those with a direction in both embeddings.

    Args:
      before: float32[N, D], unit norm or zero.
      after: float32[N, E], likewise.

    Returns:
      int64[Q], at most `NUM_QUERIES`.

    >>> shown_queries(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)[:, :2]).tolist()
    [0, 1]
    """
    has_direction = (np.linalg.norm(before, axis=1) > MIN_NORM) & (np.linalg.norm(after, axis=1) > MIN_NORM)
    tiles = np.flatnonzero(has_direction)
    places = np.linspace(0, len(tiles) - 1, min(NUM_QUERIES, len(tiles))).round().astype(np.int64)
    return tiles[np.unique(places)]


def _draw(
    archive: Archive,
    queries: npt.NDArray[np.int64],
    embeddings: tuple[FloatArray, FloatArray],
    path: pathlib.Path,
) -> None:
    """Draw two rows for each query: by the first embeddings, and by the second."""
    hits = [_nearest(vectors, queries) for vectors in embeddings]
    rows = np.stack([found.rows for found in hits], axis=1)  # [Q, 2, K]
    cosines = np.stack([found.similarities for found in hits], axis=1).reshape(-1, rows.shape[2])
    side = min(_SIDE_PX, cast(Catalogue, archive).tile_side() or _SIDE_PX)
    tiles = rgb_tiles(archive, np.concatenate([queries, rows.ravel()]), side)
    names = [archive.ids[query] for query in queries.tolist()]
    plot_gallery(
        np.repeat(tiles[: len(queries)], 2, axis=0),
        tiles[len(queries) :].reshape(2 * len(queries), rows.shape[2], *tiles.shape[1:]),
        None,
        [f"{name}, {how}" for name in names for how in ("by features", "by the answers")],
        path,
        notes=[[f"{cosine:.2f}" for cosine in row] for row in cosines.tolist()],
    )


def _nearest(vectors: FloatArray, queries: npt.NDArray[np.int64]) -> Hits:
    count = min(NUM_NEIGHBOURS, len(vectors) - 1)
    return search_exact([vectors], vectors[queries], count, own_rows=queries)
