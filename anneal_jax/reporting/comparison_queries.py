"""The page with each method's results for the same queries, as in Fig. 5 of the IGARSS paper."""

import base64
import io
import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from anneal_jax.config import ExperimentConfig
from anneal_jax.data.bands import rgb_tiles
from anneal_jax.errors import AnnealError
from anneal_jax.evaluation.metrics import average_precision_at_k
from anneal_jax.evaluation.retrieval_quality import DENOMINATOR, evaluate_retrieval
from anneal_jax.experiments.dataset import Dataset, load_dataset
from anneal_jax.experiments.grid import Cell, query_results
from anneal_jax.experiments.query_results import QueryResults, name_results
from anneal_jax.experiments.systems import configure
from anneal_jax.files import atomic
from anneal_jax.reporting.page import document, escaped
from anneal_jax.reporting.page_css import QUERIES_CSS
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import centred
from anneal_jax.training.network import input_size

NUM_SPREAD, NUM_DIFFERING = 4, 4
"""Number of queries shown: one per class for some classes, and those for which the methods differ most."""

_SHOWN_SIDE_PX = 112
_JPEG_QUALITY = 80


class Method(NamedTuple):
    """A method as the page shows it.

    Attributes:
      name: name of the system.
      cost: its cost, such as `2,687 bits`.
      results: results of each query.
    """

    name: str
    cost: str
    results: QueryResults


def write_queries_page(
    config: ExperimentConfig, cells: Sequence[Cell], workdir: str | pathlib.Path, *, title: str
) -> None:
    """Write `queries.html`: some queries of the first seed with the results of every method.

    Args:
      config: the recipe of the grid.
      cells: its finished runs.
      workdir: its folder.
      title: name of the comparison.

    Raises:
      AnnealError: the archive cannot be used.
    """
    seed = min(cell.seed for cell in cells)
    dataset = load_dataset(configure(config, cells[0].system, seed))
    methods, notes = [_frozen_features(configure(config, cells[0].system, seed), dataset)], []
    for cell in (cell for cell in cells if cell.seed == seed):
        cost = f"{cell.rows[-1]['bits_spent']:,} bits"
        try:
            results = query_results(config, cell.system, seed, workdir)
            _require_same_queries(results, methods[0].results)
            methods.append(Method(cell.system, cost, results))
        except AnnealError as error:
            notes.append(f"{cell.system} is not shown: {error}")
    pictures = _pictures(config, dataset, methods) if dataset.archive.kind == "image" else {}
    page = queries_page(methods, _classes(dataset), pictures, title=title, seed=seed, notes=notes)
    atomic.write_text(pathlib.Path(workdir) / "queries.html", page)


def queries_page(
    methods: Sequence[Method],
    classes: Sequence[str],
    pictures: Mapping[str, str],
    *,
    title: str,
    seed: int,
    notes: Sequence[str] = (),
) -> str:
    """Return the page with all text escaped and all pictures embedded.

    Args:
      methods: methods with the same queries in the same order.
      classes: Q names, class of each query.
      pictures: maps the id of a tile to its picture as a `data:` address; tiles without one show their id.
      title: name of the comparison.
      seed: seed of the runs shown.
      notes: sentences for the reader.
    """
    spread, differing = chosen_queries(methods, classes)
    body = [
        f'<h1>{escaped(title)}</h1>\n<p class="result">The same queries with each method</p>',
        f"<p>Runs of seed {seed}, each after its last round. The five nearest searched tiles, "
        "nearest first: a green tick marks the query's class, a vermilion cross another class. AP@5 is the "
        f"query's average precision, divided by {escaped(DENOMINATOR)}. Its cost by then "
        "is below each method's name; the costs differ.</p>",
        *(f'<p class="aside">{escaped(note)}</p>' for note in notes),
        "<h2>Chosen by position: one query per class, for some classes</h2>",
        *(_section(query, methods, classes[query], pictures) for query in spread),
        "<h2>Chosen by result: where the methods differ most</h2>",
        '<p class="aside">The largest spread of AP@5 among the methods: these show how they differ, but '
        "do not measure by how much.</p>",
        *(_section(query, methods, classes[query], pictures) for query in differing),
    ]
    return document(title, "\n".join(['<div class="queries">', *body, "</div>"]), QUERIES_CSS)


def chosen_queries(methods: Sequence[Method], classes: Sequence[str]) -> tuple[list[int], list[int]]:
    """Choose the queries to show.

    Args:
      methods: methods with the same queries in the same order.
      classes: Q names, class of each query.

    Returns:
      The first query of each of `NUM_SPREAD` classes, spread evenly over the sorted names; and the
      `NUM_DIFFERING` others with the largest spread of AP@5, ties by position. Queries with nothing to find
      are left out.
    """
    has_answer = np.asarray(methods[0].results.num_relevant) > 0
    measured = [int(query) for query in np.flatnonzero(has_answer)]
    first_of = {classes[query]: query for query in reversed(measured)}
    names = sorted(first_of)
    places = np.linspace(0, len(names) - 1, min(NUM_SPREAD, len(names))).round().astype(int)
    spread = [first_of[names[place]] for place in places]
    figures = np.array([_average_precisions(method.results) for method in methods])
    ranges = figures.max(axis=0) - figures.min(axis=0)
    others = sorted(set(measured) - set(spread), key=lambda query: (-ranges[query], query))
    return spread, others[:NUM_DIFFERING]


def _average_precisions(results: QueryResults) -> npt.NDArray[np.float64]:
    return average_precision_at_k(results.relevant, results.num_relevant, denominator=DENOMINATOR)


def _frozen_features(config: ExperimentConfig, dataset: Dataset) -> Method:
    """Search by the backbone's features, which need no answers."""
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    features = centred(learner.features(None), dataset.split.train)
    retrieval = evaluate_retrieval(features, dataset.labels, dataset.split)
    return Method("frozen features", "0 bits", name_results(dataset, retrieval))


def _require_same_queries(results: QueryResults, expected: QueryResults) -> None:
    if results.query_ids != expected.query_ids:
        raise AnnealError("it was run with other queries; the archive has changed since.")


def _classes(dataset: Dataset) -> list[str]:
    names = dataset.archive.class_names
    return [str(names[label]) for label in dataset.labels[dataset.split.query]]


def _pictures(config: ExperimentConfig, dataset: Dataset, methods: Sequence[Method]) -> dict[str, str]:
    """Return the picture of each tile shown, as embedded in the page."""
    spread, differing = chosen_queries(methods, _classes(dataset))
    rows = [method.results for method in methods]
    shown = {rows[0].query_ids[query] for query in spread + differing}
    shown |= {tile for row in rows for query in spread + differing for tile in row.neighbour_ids[query]}
    ids = sorted(shown)
    place_of = {name: place for place, name in enumerate(dataset.archive.ids)}
    side = min(_SHOWN_SIDE_PX, input_size(config))
    tiles = rgb_tiles(dataset.archive, [place_of[name] for name in ids], side)
    return {name: _data_address(tile) for name, tile in zip(ids, tiles, strict=True)}


def _data_address(tile: npt.NDArray[np.uint8]) -> str:
    """Return a tile as a `data:` address: PNG if that is smaller, as for tiny tiles."""
    forms = []
    for kind, options in (("png", {}), ("jpeg", {"quality": _JPEG_QUALITY})):
        buffer = io.BytesIO()
        Image.fromarray(tile).save(buffer, kind, **options)
        forms.append((len(buffer.getvalue()), kind, buffer.getvalue()))
    _, kind, data = min(forms)
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _section(query: int, methods: Sequence[Method], name: str, pictures: Mapping[str, str]) -> str:
    query_id = methods[0].results.query_ids[query]
    picture = pictures.get(query_id)
    shown = f'<div class="tile"><img alt="the query" src="{picture}"></div>' if picture else ""
    num_ranks = len(methods[0].results.neighbour_ids[query])
    rows = "\n".join(_row(method, query, pictures) for method in methods)
    return f"""<section>
<figure>{shown}
<figcaption>query {escaped(query_id)}, {escaped(name)}</figcaption></figure>
<table>
<thead><tr><th scope="col">method</th>
<th scope="colgroup" colspan="{num_ranks}">nearest first</th><th scope="col">AP@5</th></tr></thead>
<tbody>
{rows}
</tbody>
</table>
</section>"""


def _row(method: Method, query: int, pictures: Mapping[str, str]) -> str:
    results = method.results
    found = zip(results.neighbour_ids[query], results.relevant[query], strict=True)
    cells = "".join(f"<td>{_tile(name, is_right, pictures)}</td>" for name, is_right in found)
    figure = _average_precisions(results)[query]
    return (
        f'<tr><th scope="row">{escaped(method.name)} <small>{escaped(method.cost)}</small></th>{cells}'
        f"<td>{figure:.2f}</td></tr>"
    )


def _tile(name: str, is_right: bool, pictures: Mapping[str, str]) -> str:
    word, sign = ("right", "✓") if is_right else ("wrong", "✗")
    if name not in pictures:
        return f'<span class="tile id {word}"><b>{sign}</b>{escaped(name)}</span>'
    text = f"{escaped(name)}, {word}"
    picture = f'<img alt="{text}" src="{pictures[name]}">'
    return f'<span class="tile {word}" title="{text}">{picture}<b>{sign}</b></span>'
