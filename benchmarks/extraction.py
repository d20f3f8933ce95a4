"""Speed of frozen MobileNetV2 features: depthwise layers as shifted sums and as convolutions.

    python benchmarks/extraction.py --json=extraction.json
    python benchmarks/extraction.py --tiles=2100 --batch-sizes=8 --turns=1

Both forms take turns in one run on the same random tiles, and the best turn of each counts, so that other
work on the machine affects both equally; on a busy machine CPU time is more reliable. A turn is one batch,
or as many batches as --tiles need. It does not include decoding.
"""

import argparse
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import jax
import numpy as np

from anneal_jax.models.backbones import Backbone, get_backbone
from anneal_jax.models.inverted_residual import DepthwiseForm
from anneal_jax.models.mobilenet_v2 import MobileNetV2

FORMS: tuple[DepthwiseForm, ...] = get_args(DepthwiseForm)


def main() -> None:
    options = _options()
    backbone = get_backbone("mobilenet_v2")
    variables = _random_variables(backbone, options.image_size)
    rows = []
    for batch_size in options.batch_sizes:
        shape = (batch_size, options.image_size, options.image_size, 3)
        tiles = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        num_batches = max(1, -(-options.tiles // batch_size))
        best = _best_times(backbone, variables, tiles, num_batches, options.turns)
        rates = {form: num_batches * batch_size / times.wall_s for form, times in best.items()}
        slow, fast = best["convolution"], best["shifted_sums"]
        ratios = Times(*(of_slow / of_fast for of_slow, of_fast in zip(slow, fast, strict=True)))
        rows.append({"batch_size": batch_size, "tiles_per_s": rates, "ratio": ratios._asdict()})
        for form, rate in rates.items():
            print(f"batch {batch_size:4d}  {form:12s}  {rate:8.1f} tiles/s  {best[form].cpu_s:8.3f} s CPU")
        print(
            f"batch {batch_size:4d}  shifted sums are {ratios.wall_s:.1f} times as fast, "
            f"{ratios.cpu_s:.1f} times by CPU time",
            flush=True,
        )
    if options.json:
        facts = {
            "image_size": options.image_size,
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        }
        options.json.write_text(json.dumps({**facts, "rows": rows}, indent=2) + "\n")


class Times(NamedTuple):
    """Seconds of a turn, by the clock and of CPU time of all cores."""

    wall_s: float
    cpu_s: float


def _random_variables(backbone: Backbone, image_size: int) -> Any:
    """Draw weights without compiling the network's own initialisation, which takes longer than the rest."""
    shapes = jax.eval_shape(lambda key: backbone.init(key, image_size), jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: 0.05 * rng.normal(size=leaf.shape).astype(np.float32), shapes)


def _best_times(
    backbone: Backbone, variables: Any, tiles: np.ndarray, num_batches: int, turns: int
) -> dict[DepthwiseForm, Times]:
    programs: dict[DepthwiseForm, Callable] = {
        form: jax.jit(dataclasses.replace(backbone, network=MobileNetV2(depthwise_form=form)).apply)
        for form in FORMS
    }
    for program in programs.values():  # compile
        jax.block_until_ready(program(variables, tiles))
    best = dict.fromkeys(FORMS, Times(float("inf"), float("inf")))
    for _ in range(turns):
        for form, program in programs.items():
            spent = _spent(program, variables, tiles, num_batches)
            best[form] = Times(*map(min, best[form], spent))
    return best


def _spent(program: Callable, variables: Any, tiles: np.ndarray, num_batches: int) -> Times:
    start, cpu_start = time.perf_counter(), time.process_time()
    for _ in range(num_batches):
        jax.block_until_ready(program(variables, tiles))
    return Times(time.perf_counter() - start, time.process_time() - cpu_start)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure frozen feature extraction, in tiles/s.")
    parser.add_argument("--image-size", type=int, default=224, help="side of the tiles, pixels")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--tiles", type=int, default=0, help="in a turn; 0 takes one batch")
    parser.add_argument("--turns", type=int, default=5, help="timed runs of each form")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
