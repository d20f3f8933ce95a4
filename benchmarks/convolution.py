"""Gradients of convolutions on a CPU: XLA's own, XLA's own inside a loop of one step, and ours.

    python benchmarks/convolution.py --json=convolution.json

The layers are those of a ResNet18 at --image-size. All ways take turns in one process, and the best turn of
each counts. Each computes the output and both gradients.
"""

import argparse
import json
import pathlib
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from anneal_jax.models.convolution import conv_general_dilated

# Channels in and out, the kernel's side, stride, and what a tile's side is divided by before it.
LAYERS = (
    (3, 64, 7, 2, 1),
    (64, 64, 3, 1, 4),
    (64, 128, 3, 2, 4),
    (128, 128, 3, 1, 8),
    (256, 256, 3, 1, 16),
)


def main() -> None:
    options = _options()
    rows = []
    for channels, width, size, stride, divisor in LAYERS:
        side = options.image_size // divisor
        rng = np.random.default_rng(0)
        images = rng.normal(size=(options.batch_size, side, side, channels)).astype(np.float32)
        kernel = rng.normal(size=(size, size, channels, width)).astype(np.float32)
        best = _best_times(images, kernel, stride, options.turns)
        rows.append({"side": side, "channels": channels, "width": width, "kernel": size, **best})
        times = "  ".join(f"{way} {1e3 * seconds:7.0f} ms" for way, seconds in best.items())
        print(f"{side:3d} px  {channels:3d} to {width:3d}, {size}x{size}: {times}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"jax": jax.__version__, "rows": rows}, indent=2) + "\n")


def _best_times(images: np.ndarray, kernel: np.ndarray, stride: int, turns: int) -> dict[str, float]:
    pads = 2 * ((len(kernel) // 2,) * 2,)
    layout = jax.lax.conv_dimension_numbers(images.shape, kernel.shape, ("NHWC", "HWIO", "NHWC"))

    def gradients(convolve: Callable) -> Callable:
        def loss(images: jax.Array, kernel: jax.Array) -> jax.Array:
            return (convolve(images, kernel, (stride, stride), pads, dimension_numbers=layout) ** 2).sum()

        return jax.grad(loss, argnums=(0, 1))

    def in_loop(images: jax.Array, kernel: jax.Array) -> Any:
        xla = gradients(jax.lax.conv_general_dilated)
        return jax.lax.scan(lambda kernel, images: (kernel, xla(images, kernel)), kernel, images[None])

    ways = {
        "XLA": jax.jit(gradients(jax.lax.conv_general_dilated)),
        "XLA in a loop": jax.jit(in_loop),
        "ours": jax.jit(gradients(conv_general_dilated)),
    }
    for way in ways.values():  # compile
        jax.block_until_ready(way(images, kernel))
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(turns):
        for name, way in ways.items():
            start = time.perf_counter()
            jax.block_until_ready(way(images, kernel))
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure convolutions' gradients, beside XLA's own.")
    parser.add_argument("--image-size", type=int, default=96, help="side of the tiles, pixels")
    parser.add_argument("--batch-size", type=int, default=96, help="tiles in a batch")
    parser.add_argument("--turns", type=int, default=3, help="timed runs of each way")
    parser.add_argument("--json", type=pathlib.Path, help="file for the figures")
    return parser.parse_args()


if __name__ == "__main__":
    main()
