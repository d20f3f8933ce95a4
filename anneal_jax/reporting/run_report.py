"""The report of a run: the curve, the gallery, the map, the page and a one-sentence result."""

import dataclasses
import pathlib

import numpy as np

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.bands import rgb_tiles
from anneal_jax.evaluation.metrics import count_relevant, rank_archive, relevance
from anneal_jax.evaluation.retrieval_quality import DENOMINATOR, Retrieval
from anneal_jax.experiments.outcome import Outcome
from anneal_jax.experiments.registry import METHODS
from anneal_jax.experiments.round_log import Row
from anneal_jax.reporting.curve import plot_curve
from anneal_jax.reporting.gallery import plot_gallery
from anneal_jax.reporting.page import write_report
from anneal_jax.reporting.result_map import plot_result_map
from anneal_jax.training.network import input_size
from anneal_jax.types import FloatArray, IntArray

NUM_SHOWN_QUERIES = 6
SHOWN_SIDE_PX = 192
NUM_MAPPED, MAX_MAPPED_QUERIES = 100, 200

_WRITTEN = {"bcgue": "BCGUE", "mgue": "MGUE", "random": "random pairs"}


def report_run(config: ExperimentConfig, outcome: Outcome, workdir: str | pathlib.Path) -> str:
    """Write `report.html` and its pictures into the workdir: curve, gallery and, if possible, map.

    Args:
      config: the settings of the run.
      outcome: from `run_experiment`.
      workdir: the folder of the run.

    Returns:
      The result in one sentence.
    """
    workdir = pathlib.Path(workdir)
    title = f"{config.archive}: {_method(config)}"
    baseline = outcome.rows[0]["mean_average_precision_at_5_features"]
    plot_curve(
        {_method(config): outcome.rows},
        workdir / "curve.png",
        title=title,
        denominator=DENOMINATOR,
        baseline=baseline if config.regime == "frozen" else None,
    )
    images = {"Retrieval quality against the number of questions": workdir / "curve.png"}
    if outcome.dataset.archive.kind == "image":
        _draw_gallery(config, outcome, workdir / "gallery.png")
        images["Queries and their five nearest tiles, after the last round"] = workdir / "gallery.png"
    if caption := _draw_map(outcome, workdir / "map.png"):
        images[caption] = workdir / "map.png"
    sentence = summarise(config, outcome)
    write_report(
        workdir / "report.html",
        title=title,
        sentence=sentence,
        config=dataclasses.asdict(config),
        rows=outcome.rows,
        images=images,
        notes=outcome.notes,
        denominator=DENOMINATOR,
    )
    done = "" if outcome.num_new_rounds else "Every round was already finished; no questions were asked. "
    return f"{done}{sentence} See {workdir / 'report.html'}."


def round_line(row: Row) -> str:
    """Return a one-line summary of a finished round.

    >>> round_line({"round_index": 2, "bits_spent": 1344, "mean_average_precision_at_5": 0.8571})
    'round 2: 1,344 bits spent, mAP@5 0.857'
    """
    figure = row["mean_average_precision_at_5"]
    return f"round {row['round_index']}: {row['bits_spent']:,} bits spent, mAP@5 {figure:.3f}"


def print_round(row: Row) -> None:
    """Print `round_line` immediately; for `on_round` of `run_experiment`.

    >>> print_round({"round_index": 2, "bits_spent": 1344, "mean_average_precision_at_5": 0.8571})
    round 2: 1,344 bits spent, mAP@5 0.857
    """
    print(round_line(row), flush=True)


def summarise(config: ExperimentConfig, outcome: Outcome) -> str:
    """Return the result in one sentence, with its baseline and sample sizes."""
    last = outcome.rows[-1]
    split = outcome.dataset.split
    bits = f"{last['bits_spent']:,}"
    is_answered = METHODS[config.supervision].is_answered
    cost = f"{bits} answers" if is_answered else f"class labels worth {bits} bits"
    num_measured = int(np.count_nonzero(outcome.retrieval.num_relevant))
    queries = f"{num_measured} queries"
    if num_measured < len(split.query):
        queries = f"{num_measured} of {len(split.query)} queries, because the others have nothing to find"
    features = "frozen features" if config.regime == "frozen" else "its backbone's features"
    return (
        f"{_method(config)} on {config.archive}: mAP@5 {last['mean_average_precision_at_5']:.3f} after "
        f"{cost}, while {features} reach {last['mean_average_precision_at_5_features']:.3f} "
        f"({queries}, {len(split.archive)} tiles searched, denominator {DENOMINATOR})."
    )


def _method(config: ExperimentConfig) -> str:
    if title := METHODS[config.supervision].title:
        return title
    name = _WRITTEN.get(config.acquisition, config.acquisition)
    return f"{name} + clustering" if config.diversity else name


def _draw_gallery(config: ExperimentConfig, outcome: Outcome, path: pathlib.Path) -> None:
    archive, split = outcome.dataset.archive, outcome.dataset.split
    rows = _shown_queries(outcome.retrieval)
    neighbours = outcome.retrieval.neighbours[rows]
    # Small tiles are shown pixel by pixel, as the network saw them.
    side = min(SHOWN_SIDE_PX, input_size(config))
    tiles = rgb_tiles(archive, np.concatenate([split.query[rows], neighbours.ravel()]), side)
    query_tiles, neighbour_tiles = tiles[: len(rows)], tiles[len(rows) :]
    plot_gallery(
        query_tiles,
        neighbour_tiles.reshape(*neighbours.shape, *tiles.shape[1:]),
        outcome.retrieval.relevant[rows],
        [archive.ids[int(index)] for index in split.query[rows]],
        path,
    )


def _draw_map(outcome: Outcome, path: pathlib.Path) -> str:
    """Map the results of the median query in the whole archive; return the caption, "" without a map."""
    archive, labels = outcome.dataset.archive, outcome.dataset.labels
    if archive.boxes is None:
        return ""
    placed = np.flatnonzero(np.isfinite(archive.boxes).all(axis=1)).astype(np.int32)
    queries = np.intersect1d(outcome.dataset.split.query, placed)
    if not len(queries) or len(placed) < 2:
        return ""
    query, hits = _median_find(labels, outcome.retrieval.vectors, queries, placed)
    relevant = labels[hits] == labels[query]
    name = f"{archive.ids[query]} ({archive.class_names[labels[query]]})"
    title = f"{name} and its {len(hits)} nearest of {len(placed) - 1:,} tiles"
    plot_result_map(archive.boxes, query, hits, relevant, path, title=title)
    return (
        f"The {len(hits)} nearest tiles of {name}, after the last round. The star is the query; green "
        f"squares are {relevant.sum()} tiles of its class, red crosses {(~relevant).sum()} others. It is "
        "the median query: half of the queries find more, half fewer. All tiles were searched, asked "
        "about or not"
    )


def _median_find(
    labels: IntArray, vectors: FloatArray, queries: IntArray, placed: IntArray
) -> tuple[int, IntArray]:
    """Return the query with the median share of its class among its nearest tiles, and these tiles.

    The share is relative to the possible number: a class may have fewer tiles than are mapped.
    """
    queries = queries[:: -(-len(queries) // MAX_MAPPED_QUERIES)]
    own, every = queries.tolist(), placed.tolist()
    cut_off = min(NUM_MAPPED, len(placed) - 1)
    ranking = rank_archive(vectors[queries], vectors[placed], cut_off, query_ids=own, archive_ids=every)
    relevant = relevance(labels[queries], labels[placed], ranking)
    alike = count_relevant(labels[queries], labels[placed], query_ids=own, archive_ids=every)
    shares = relevant.sum(axis=1) / np.clip(alike, 1, cut_off)
    median = int(np.argsort(shares, kind="stable")[(len(shares) - 1) // 2])
    return int(queries[median]), placed[ranking[median]]


def _shown_queries(retrieval: Retrieval) -> np.ndarray:
    """Choose queries spread evenly over those measured: by position, never by result."""
    measured = np.flatnonzero(retrieval.num_relevant)
    count = min(NUM_SHOWN_QUERIES, len(measured))
    return measured[np.unique(np.linspace(0, len(measured) - 1, count).round().astype(int))]
