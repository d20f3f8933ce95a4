"""Measure the fused kernels of the all-pairs scan on a GPU, in several shapes, beside plain products.

  python benchmarks/fused.py

MGUE: 16 tiles of 8,192 x 8,192 pairs of 256-d embeddings, nothing within the bound; the time of 5e11 pairs,
a million images, follows from the rate. BCGUE: 1,024 x 1,024 pairs through the paper's classifier, beside
what XLA makes of it. Median of five calls, compiled before; nothing on the host is counted.

  python benchmarks/fused.py --count_passes

needs no GPU: it counts how often a first tile is looked through until its pairs within the bound can be
listed, NumPy in the kernel's place.
"""

import functools
import itertools
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

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
from anneal_jax.acquisition.scan.fused_logits import LogitShape, fused_logits
from anneal_jax.acquisition.scan.fused_pass import Finder, collect_fused
from anneal_jax.acquisition.scan.grid import choose_tiles, make_grid

_CALLS = flags.DEFINE_integer("calls", 5, "Timed calls of each.", lower_bound=1)

_COUNT_PASSES = flags.DEFINE_bool("count_passes", False, "Count the passes over a first tile instead.")

_TILE_SIZE, _DIM = 8192, 256
_NUM_CHECKED = 20_000
_TILES = [(row, column) for row in range(2) for column in range(2, 10)]
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


def measure_products(rng: np.random.Generator) -> None:
    matrix = jnp.asarray(rng.standard_normal((8192, 8192), np.float32))
    for name, precision in scorers.PRECISIONS.items():
        product = functools.partial(
            jax.lax.dot, precision=precision.algorithm, preferred_element_type=jnp.float32
        )
        seconds = seconds_of(jax.jit(product), matrix, matrix)
        print(f"product {name:<12}{2 * 8192**3 / seconds / 1e12:8.0f} TFLOP/s", flush=True)


def clustered_embeddings(
    rng: np.random.Generator, num_images: int, *, is_sorted: bool = False
) -> np.ndarray:
    """Return unit vectors around 30 centres, as a trained network makes them."""
    vectors = rng.standard_normal((num_images, _DIM), np.float32)
    centres, classes = rng.standard_normal((30, _DIM), np.float32), rng.integers(0, 30, num_images)
    vectors += centres[np.sort(classes) if is_sorted else classes]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def count_passes(rng: np.random.Generator) -> None:
    grid, capacity = make_grid(_TILE_SIZE, _TILE_SIZE), 1 << 16
    first, second = (images.astype(np.int32) for images in np.triu_indices(_TILE_SIZE, 1))
    for order, is_sorted in (("mixed", False), ("sorted by class", True)):
        embeddings = clustered_embeddings(rng, _TILE_SIZE, is_sorted=is_sorted)
        distances = np.abs(embeddings @ embeddings.T - np.float32(0.1))[first, second]
        sizes: list[int] = []

        def find(cells: Any, bound: Any, side: int, distances=distances, sizes=sizes) -> list[FoundPairs]:
            found = np.flatnonzero(distances <= bound)
            sizes.append(found.size)
            listed = found[:capacity]
            return [
                FoundPairs(*map(np.array, ([found.size], distances[listed], first[listed], second[listed])))
            ]

        best = BestPairs(1344, 11 * 1344, np.inf, _TILE_SIZE, seed=0)
        finder = Finder(find, 1, 1, capacity)
        collect_fused(best, grid, [(0, 0)], finder, known=np.empty(0, np.int64), progress=None)
        print(f"images {order}: {len(sizes)} passes, which find {sizes} pairs", flush=True)


def measure_distances(rng: np.random.Generator) -> None:
    vectors = rng.standard_normal((10 * _TILE_SIZE, _DIM), np.float32)
    embeddings = jnp.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    starts = np.array(_TILES, np.int32) * _TILE_SIZE
    cells = jnp.asarray(np.concatenate([starts, starts], axis=1))
    num_pairs = len(_TILES) * _TILE_SIZE**2
    for num_passes, shape in itertools.product((3, 1), _DISTANCE_SHAPES):
        operands = split_operands(embeddings, num_passes, shape)
        find = functools.partial(find_pairs, tile_size=_TILE_SIZE, capacity=1 << 16, shape=shape)
        seconds = seconds_of(jax.jit(find), operands, cells, jnp.float32(0.1), jnp.float32(1e-9))
        rate = 2 * _DIM * num_pairs / seconds / 1e12  # as a product is counted, whatever its passes
        print(
            f"mgue, {num_passes} passes {tuple(shape)!s:<22}{rate:8.0f} TFLOP/s, a million images in "
            f"{_MILLION / num_pairs * seconds:.2f} s",
            flush=True,
        )


def check_distances(rng: np.random.Generator) -> None:
    """Count the pairs within 2e-5 of 0.1 among 20,000 embeddings, beside what float32 counts."""
    vectors = clustered_embeddings(rng, _NUM_CHECKED)
    embeddings = jnp.asarray(vectors)
    scores = jax.lax.dot(embeddings, embeddings.T, precision=jax.lax.Precision.HIGHEST)
    away = np.asarray(jnp.where(jnp.tri(len(vectors), dtype=bool), jnp.inf, jnp.abs(scores - 0.1)))
    grid = make_grid(len(vectors), _TILE_SIZE, 256)
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
        )
        listed = slice(0, int(found.num_found[0]))
        first, second = np.asarray(found.first)[listed], np.asarray(found.second)[listed]
        error = np.max(np.abs(np.asarray(found.distances)[listed] - away[first, second]))
        num_different = len(set(zip(first, second, strict=True)))
        print(
            f"mgue, {num_passes} passes: {len(first)} pairs listed, {num_different} different, float32 "
            f"{np.count_nonzero(away <= 2e-5)}; largest difference {error:.1e}",
            flush=True,
        )


def measure_logits(rng: np.random.Generator) -> None:
    rows, columns = jnp.asarray(rng.standard_normal((2, 1024, _WIDTHS[0]), np.float32))
    layers = [
        (
            jnp.asarray(rng.standard_normal((before, after), np.float32)) * (2 / before) ** 0.5,
            jnp.zeros(after),
        )
        for before, after in itertools.pairwise(_WIDTHS)
    ]
    algorithm = scorers.PRECISIONS["bfloat16"].algorithm
    ways = {"by XLA": functools.partial(scorers._logits_by_layers, algorithm=algorithm)}
    ways |= {str(tuple(shape)): functools.partial(fused_logits, shape=shape) for shape in _LOGIT_SHAPES}
    for name, logits in ways.items():
        seconds = seconds_of(jax.jit(logits), rows, columns, layers)
        print(f"bcgue {name:<32}{len(rows) * len(columns) / seconds:8.2e} pairs/s", flush=True)


def main(_: Any) -> None:
    if _COUNT_PASSES.value:
        count_passes(np.random.default_rng(0))
        return
    if jax.default_backend() != "gpu":
        sys.exit("error: no GPU is to be seen; these kernels run on an NVIDIA GPU only.")
    print(jax.__version__, *jax.devices())
    rng = np.random.default_rng(0)
    measure_products(rng)
    check_distances(rng)
    measure_distances(rng)
    measure_logits(rng)


if __name__ == "__main__":
    app.run(main)
