"""Measure the fused kernels of the all-pairs scan on a GPU, in several shapes, and plain products.

  python benchmarks/fused.py --json=fused.json
  python benchmarks/fused.py --tiny    # toy sizes, the kernels step by step: needs no GPU, measures nothing

MGUE: 16 tiles of 8,192 x 8,192 pairs of 256-d embeddings, with no pair within the bound; the time for 5e11
pairs (a million images) follows from the rate. BCGUE: 1,024 x 1,024 pairs through the paper's classifier,
compared with XLA. Times are the median of five calls after compilation, without the host.

  python benchmarks/fused.py --count_passes

needs no GPU: with NumPy instead of the kernel, it counts how often a first tile is searched until its pairs
within the bound can be listed.
"""

import functools
import itertools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from anneal_jax.acquisition.scan import scorers
from anneal_jax.acquisition.scan.best_pairs import BestPairs
from anneal_jax.acquisition.scan.fused_distances import (
    SHAPES,
    FoundPairs,
    FusedShape,
    find_pairs,
    split_operands,
)
from anneal_jax.acquisition.scan.fused_logits import DEFAULT_SHAPE, LogitShape, fused_logits
from anneal_jax.acquisition.scan.fused_pass import Finder, collect_fused
from anneal_jax.acquisition.scan.grid import choose_tiles, make_grid
from anneal_jax.files import atomic

_CALLS = flags.DEFINE_integer("calls", 5, "Timed calls of each.", lower_bound=1)

_COUNT_PASSES = flags.DEFINE_bool("count_passes", False, "Count the passes over a first tile instead.")

_JSON = flags.DEFINE_string("json", None, "File for the rows.")

_TINY = flags.DEFINE_bool("tiny", False, "Toy sizes, and the kernels step by step, as on a CPU.")


class Sizes(NamedTuple):
    """Sizes of the measurement.

    Attributes:
      tile: images along a tile's side, a multiple of 256.
      grid: rows and columns of tiles.
      checked: embeddings whose listed pairs are counted.
      product: side of the plain products.
      logits: images along the side of a tile of BCGUE.
      interpret: whether the kernels run step by step, only in the shapes that are used.
    """

    tile: int
    grid: tuple[int, int]
    checked: int
    product: int
    logits: int
    interpret: bool


_WHOLE = Sizes(8192, (2, 8), 20_000, 8192, 1024, interpret=False)
_TOY = Sizes(256, (1, 1), 300, 256, 16, interpret=True)
_DIM = 256
_MILLION = 1_000_000 * 999_999 // 2
_DISTANCE_SHAPES = tuple(
    FusedShape(*numbers)
    for numbers in (
        (128, 128, 32, 4, 3),
        (128, 128, 32, 8, 3),
        (128, 128, 64, 4, 2),
        (128, 128, 64, 8, 3),
        (64, 128, 64, 4, 2),
        (64, 256, 64, 4, 2),
        (256, 128, 64, 8, 2),
    )
)
_LOGIT_SHAPES = tuple(
    LogitShape(*numbers)
    for numbers in (
        (128, 1, 64, 8, 3),
        (128, 8, 64, 8, 3),
        (128, 32, 64, 8, 3),
        (128, 8, 128, 8, 2),
        (64, 8, 64, 8, 3),
    )
)
_WIDTHS = (512, 256, 256, 1)


def seconds_of(function: Callable[..., Any], *args: Any) -> float:
    """Return the median time of a call."""
    jax.block_until_ready(function(*args))
    times = []
    for _ in range(_CALLS.value):
        start = time.perf_counter()
        jax.block_until_ready(function(*args))
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def name_device(rng: np.random.Generator, sizes: Sizes) -> Iterator[dict[str, Any]]:
    del rng, sizes
    yield {"row": "device", "device": jax.devices()[0].device_kind, "jax": jax.__version__}


def measure_products(rng: np.random.Generator, sizes: Sizes) -> Iterator[dict[str, Any]]:
    side = sizes.product
    matrix = jnp.asarray(rng.standard_normal((side, side), np.float32))
    for name, precision in scorers.PRECISIONS.items():
        product = functools.partial(
            jax.lax.dot, precision=precision.algorithm, preferred_element_type=jnp.float32
        )
        seconds = seconds_of(jax.jit(product), matrix, matrix)
        yield {"row": "product", "precision": name, "tflops": 2 * side**3 / seconds / 1e12}


def clustered_embeddings(
    rng: np.random.Generator, num_images: int, *, is_sorted: bool = False
) -> np.ndarray:
    """Return unit vectors around 30 centres, like those of a trained network."""
    vectors = rng.standard_normal((num_images, _DIM), np.float32)
    centres, classes = rng.standard_normal((30, _DIM), np.float32), rng.integers(0, 30, num_images)
    vectors += centres[np.sort(classes) if is_sorted else classes]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def count_passes(rng: np.random.Generator) -> None:
    tile = _WHOLE.tile
    grid, capacity = make_grid(tile, tile), 1 << 16
    first, second = (images.astype(np.int32) for images in np.triu_indices(tile, 1))
    for order, is_sorted in (("mixed", False), ("sorted by class", True)):
        embeddings = clustered_embeddings(rng, tile, is_sorted=is_sorted)
        distances = np.abs(embeddings @ embeddings.T - np.float32(0.1))[first, second]
        sizes: list[int] = []

        def find(cells: Any, bound: Any, side: int, distances=distances, sizes=sizes) -> list[FoundPairs]:
            found = np.flatnonzero(distances <= bound)
            sizes.append(found.size)
            listed = found[:capacity]
            return [
                FoundPairs(*map(np.array, ([found.size], distances[listed], first[listed], second[listed])))
            ]

        best = BestPairs(1344, 11 * 1344, np.inf, tile, seed=0)
        finder = Finder(find, 1, 1, capacity)
        collect_fused(best, grid, [(0, 0)], finder, known=np.empty(0, np.int64), progress=None)
        print(f"images {order}: {len(sizes)} passes, which find {sizes} pairs", flush=True)


def measure_distances(rng: np.random.Generator, sizes: Sizes) -> Iterator[dict[str, Any]]:
    num_rows, num_columns = sizes.grid
    vectors = rng.standard_normal(((num_rows + num_columns) * sizes.tile, _DIM), np.float32)
    embeddings = jnp.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    tiles = itertools.product(range(num_rows), range(num_rows, num_rows + num_columns))
    starts = np.array(list(tiles), np.int32) * sizes.tile
    cells = jnp.asarray(np.concatenate([starts, starts], axis=1))
    num_pairs = len(starts) * sizes.tile**2
    cases = SHAPES.items() if sizes.interpret else itertools.product((3, 1), _DISTANCE_SHAPES)
    for num_passes, shape in cases:
        operands = split_operands(embeddings, num_passes, shape)
        find = functools.partial(
            find_pairs, tile_size=sizes.tile, capacity=1 << 16, shape=shape, interpret=sizes.interpret
        )
        seconds = seconds_of(jax.jit(find), operands, cells, jnp.float32(0.1), jnp.float32(1e-9))
        yield {
            "row": "mgue",
            "passes": num_passes,
            "shape": tuple(shape),
            "is_used": shape == SHAPES[num_passes],
            "tflops": 2
            * _DIM
            * num_pairs
            / seconds
            / 1e12,  # counted as one product for any number of passes
            "million_images_s": _MILLION / num_pairs * seconds,
        }


def check_distances(rng: np.random.Generator, sizes: Sizes) -> Iterator[dict[str, Any]]:
    """Count the pairs within 2e-5 of 0.1 among 20,000 embeddings, by the kernel and in float32."""
    vectors = clustered_embeddings(rng, sizes.checked)
    embeddings = jnp.asarray(vectors)
    scores = jax.lax.dot(embeddings, embeddings.T, precision=jax.lax.Precision.HIGHEST)
    away = np.asarray(jnp.where(jnp.tri(len(vectors), dtype=bool), jnp.inf, jnp.abs(scores - 0.1)))
    grid = make_grid(len(vectors), sizes.tile, 256)
    cells = grid.cells(choose_tiles(grid, 1.0, 0).tiles)
    for num_passes, shape in SHAPES.items():
        found = find_pairs(
            split_operands(embeddings, num_passes, shape),
            jnp.asarray(cells),
            jnp.float32(0.1),
            jnp.float32(2e-5),
            tile_size=grid.tile_size,
            capacity=1 << 16,
            shape=shape,
            interpret=sizes.interpret,
        )
        listed = slice(0, int(found.num_found[0]))
        first, second = np.asarray(found.first)[listed], np.asarray(found.second)[listed]
        errors = np.abs(np.asarray(found.distances)[listed] - away[first, second])
        yield {
            "row": "check",
            "passes": num_passes,
            "listed": len(first),
            "different": len(set(zip(first.tolist(), second.tolist(), strict=True))),
            "by_float32": int(np.count_nonzero(away <= 2e-5)),
            "largest_difference": float(errors.max(initial=0.0)),
        }


def measure_logits(rng: np.random.Generator, sizes: Sizes) -> Iterator[dict[str, Any]]:
    rows, columns = jnp.asarray(rng.standard_normal((2, sizes.logits, _WIDTHS[0]), np.float32))
    layers = [
        (
            jnp.asarray(rng.standard_normal((before, after), np.float32)) * (2 / before) ** 0.5,
            jnp.zeros(after),
        )
        for before, after in itertools.pairwise(_WIDTHS)
    ]
    algorithm = scorers.PRECISIONS["bfloat16"].algorithm
    ways: dict[LogitShape | None, Callable[..., Any]] = {
        None: functools.partial(scorers.logits_by_layers, algorithm=algorithm)
    }
    for shape in [DEFAULT_SHAPE] if sizes.interpret else _LOGIT_SHAPES:
        ways[shape] = functools.partial(fused_logits, shape=shape, interpret=sizes.interpret)
    for shape, logits in ways.items():
        seconds = seconds_of(jax.jit(logits), rows, columns, layers)
        yield {
            "row": "bcgue",
            "shape": shape and tuple(shape),  # None: by XLA
            "is_used": shape == DEFAULT_SHAPE,
            "pairs_per_s": len(rows) * len(columns) / seconds,
        }


def main(_: Any) -> None:
    if _COUNT_PASSES.value:
        count_passes(np.random.default_rng(0))
        return
    if jax.default_backend() != "gpu" and not _TINY.value:
        sys.exit("error: no GPU is to be seen; these kernels run on an NVIDIA GPU only.")
    rng, sizes = np.random.default_rng(0), _TOY if _TINY.value else _WHOLE
    rows: list[dict[str, Any]] = []
    for measure in (name_device, measure_products, check_distances, measure_distances, measure_logits):
        for row in measure(rng, sizes):
            rows.append(row)
            print(*(f"{name}={value}" for name, value in row.items()), flush=True)
            if _JSON.value:  # after every row, so that a failing kernel loses no earlier row
                atomic.write_text(_JSON.value, json.dumps(rows, indent=1))


if __name__ == "__main__":
    app.run(main)
