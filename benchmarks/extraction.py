"""Speed of frozen MobileNetV2 features: depthwise layers as shifted sums and as convolutions.

    python benchmarks/extraction.py --json=extraction.json

Both forms take turns in one run, on the same random tiles, and the best turn of each counts, so
that whatever else the machine does meets them alike. Decoding is not part of it.
"""

import argparse
import dataclasses
import json
import pathlib
import time
from collections.abc import Callable
from typing import get_args

import jax
import numpy as np

from anneal_jax.models.backbones import Backbone, get_backbone
from anneal_jax.models.mobilenet_v2 import DepthwiseForm, MobileNetV2

FORMS: tuple[DepthwiseForm, ...] = get_args(DepthwiseForm)


def main() -> None:
    options = _options()
    backbone = get_backbone("mobilenet_v2")
    variables = backbone.init(jax.random.key(0), options.image_size)
    rows = []
    for batch_size in options.batch_sizes:
        shape = (batch_size, options.image_size, options.image_size, 3)
        tiles = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        best_s = _best_times_s(backbone, variables, tiles, options.turns)
        rates = {form: batch_size / seconds for form, seconds in best_s.items()}
        ratio = rates["shifted_sums"] / rates["convolution"]
        rows.append({"batch_size": batch_size, "tiles_per_s": rates, "ratio": ratio})
        for form, rate in rates.items():
            print(f"batch {batch_size:4d}  {form:12s}  {rate:8.1f} tiles/s")
        print(f"batch {batch_size:4d}  shifted sums are {ratio:.1f} times as fast", flush=True)
    if options.json:
        facts = {
            "image_size": options.image_size,
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        }
        options.json.write_text(json.dumps({**facts, "rows": rows}, indent=2) + "\n")


def _best_times_s(
    backbone: Backbone, variables: object, tiles: np.ndarray, turns: int
) -> dict[DepthwiseForm, float]:
    programs: dict[DepthwiseForm, Callable] = {
        form: jax.jit(dataclasses.replace(backbone, network=MobileNetV2(depthwise_form=form)).apply)
        for form in FORMS
    }
    for program in programs.values():  # compile
        jax.block_until_ready(program(variables, tiles))
    best_s: dict[DepthwiseForm, float] = {form: float("inf") for form in FORMS}
    for _ in range(turns):
        for form, program in programs.items():
            best_s[form] = min(best_s[form], _time_s(program, variables, tiles))
    return best_s


def _time_s(program: Callable, variables: object, tiles: np.ndarray) -> float:
    start = time.perf_counter()
    jax.block_until_ready(program(variables, tiles))
    return time.perf_counter() - start


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure frozen feature extraction, in tiles/s.")
    parser.add_argument("--image-size", type=int, default=224, help="side of the tiles, pixels")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32])
    parser.add_argument("--turns", type=int, default=5, help="timed runs of each form")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
