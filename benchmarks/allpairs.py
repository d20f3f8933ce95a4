"""Compare the all-pairs scan with what a user would write without this library.

  python benchmarks/allpairs.py --num_images=10000,20000,100000 --json=allpairs.json

Each row runs in its own process, so that its peak of resident memory can be measured. Memory growth is
counted from just before the first call and includes compilation; seconds are those of a second, compiled
call. The rate of matrix products is measured just before and after it in the same process: on a busy
machine compare shares, not seconds. A way that would need more than --memory_gb is not started.

On some NVIDIA GPUs MGUE in `--precision=bfloat16_3x` and `bfloat16`, and BCGUE in `bfloat16`, go through
fused kernels; `mgue_xla` and `bcgue_xla` are the same scans without them. The rate of products is then
measured in that precision, with matrices of side 8,192.

  python benchmarks/allpairs.py --way=mgue --way=mgue_xla --num_images=1000000 --precision=bfloat16_3x

Ways: `mgue` and `bcgue` are this library's scans; `numpy` computes the whole matrix; `sklearn` uses
pairwise_distances_chunked with its default working memory, `sklearn_64mb` with 64 MB; `torch` uses
cdist and topk.
"""

import ctypes
import itertools
import json
import math
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import app, flags

from anneal_jax.files import atomic

WAYS = ("mgue", "numpy", "sklearn", "sklearn_64mb", "torch", "bcgue")
WAYS_WITHOUT_KERNELS = ("mgue_xla", "bcgue_xla")

_NUM_IMAGES = flags.DEFINE_list("num_images", ["5000", "10000", "20000"], "Archive sizes N.")
_NUM_IMAGES_CLASSIFIER = flags.DEFINE_list("num_images_classifier", ["1680", "3360"], "N for BCGUE.")
_DIM = flags.DEFINE_integer("dim", 256, "Components of an embedding.")
_NUM_PAIRS = flags.DEFINE_integer("num_pairs", 1344, "h, pairs wanted.")
_MEMORY_GB = flags.DEFINE_float("memory_gb", 12.0, "A way that needs more is not started.")
_TIMEOUT_S = flags.DEFINE_float("timeout_s", 600.0, "A row that takes longer is stopped.")
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16_3x", "bfloat16"], "Of the scans' matrix products."
)
_WAYS = flags.DEFINE_multi_enum(
    "way", WAYS, WAYS + WAYS_WITHOUT_KERNELS, "Ways to measure; may be repeated."
)
_PRODUCT_SIDE = flags.DEFINE_integer(
    "product_side", 0, "Side of the plain products; 0: 4,096 on a CPU, else 8,192."
)
_JSON = flags.DEFINE_string("json", None, "File for the rows.")
_ROW = flags.DEFINE_string("row", None, "Internal: way:N, measured in this process.")

_THRESHOLD = 0.1
_TRUST = ("is_certified", "is_proved", "band_size", "band_is_complete")
_CLASSIFIER_WIDTHS = (512, 256, 256, 1)


def make_embeddings(num_images: int) -> np.ndarray:
    """Return unit vectors around 30 centres, like those of a trained network."""
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((num_images, _DIM.value), np.float32)
    vectors += rng.standard_normal((30, _DIM.value), np.float32)[rng.integers(0, 30, num_images)]
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def mgue_scan(num_images: int) -> Callable[[], Any]:
    from anneal_jax.acquisition.scan.all_pairs import scan_pairs
    from anneal_jax.acquisition.scan.scorers import threshold_scorer

    embeddings = make_embeddings(num_images)
    return lambda: scan_pairs(
        threshold_scorer(embeddings, _THRESHOLD), num_images, _NUM_PAIRS.value, precision=_PRECISION.value
    )


def bcgue_scan(num_images: int) -> Callable[[], Any]:
    from anneal_jax.acquisition.scan.all_pairs import scan_pairs
    from anneal_jax.acquisition.scan.scorers import classifier_scorer

    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, num_images, _CLASSIFIER_WIDTHS[0]), np.float32)
    shapes = itertools.pairwise(_CLASSIFIER_WIDTHS)
    layers = [
        (rng.standard_normal(shape, np.float32) * math.sqrt(2 / shape[0]), np.zeros(shape[1]))
        for shape in shapes
    ]
    return lambda: scan_pairs(
        classifier_scorer(*images, layers), num_images, _NUM_PAIRS.value, precision=_PRECISION.value
    )


def mgue_scan_without_kernel(num_images: int) -> Callable[[], Any]:
    from anneal_jax.acquisition.scan import stored_pass

    stored_pass.is_fusible = lambda *_: False
    return mgue_scan(num_images)


def bcgue_scan_without_kernel(num_images: int) -> Callable[[], Any]:
    from anneal_jax.acquisition.scan import fused_logits

    fused_logits.fits = lambda as_first, as_second, layers: False
    return bcgue_scan(num_images)


def numpy_full_matrix(num_images: int) -> Callable[[], Any]:
    embeddings = make_embeddings(num_images)

    def select() -> Any:
        distances = np.abs(embeddings @ embeddings.T - _THRESHOLD)
        first, second = np.triu_indices(num_images, 1)
        best = np.argpartition(distances[first, second], _NUM_PAIRS.value)[: _NUM_PAIRS.value]
        return first[best], second[best]

    return select


def sklearn_chunked(num_images: int, working_memory_mb: int) -> Callable[[], Any]:
    from sklearn.metrics import pairwise_distances_chunked

    embeddings = make_embeddings(num_images)

    def select() -> Any:
        distances, places, start = [], [], 0
        for chunk in pairwise_distances_chunked(
            embeddings, metric="cosine", working_memory=working_memory_mb
        ):
            uncertainty = np.abs(1.0 - chunk - _THRESHOLD)
            rows = np.arange(start, start + len(chunk))
            uncertainty[np.arange(num_images)[None, :] <= rows[:, None]] = np.inf
            flat = uncertainty.ravel()
            best = np.argpartition(flat, _NUM_PAIRS.value)[: _NUM_PAIRS.value]
            distances.append(flat[best])
            places.append(start * num_images + best)
            start += len(chunk)
        order = np.argsort(np.concatenate(distances))[: _NUM_PAIRS.value]
        return np.divmod(np.concatenate(places)[order], num_images)

    return select


def torch_cdist_topk(num_images: int) -> Callable[[], Any]:
    import torch

    embeddings = torch.from_numpy(make_embeddings(num_images))

    def select() -> Any:
        similarities = 1.0 - torch.cdist(embeddings, embeddings) ** 2 / 2.0
        distances = (similarities - _THRESHOLD).abs()
        distances[torch.ones_like(distances, dtype=torch.bool).tril()] = torch.inf
        return torch.topk(distances.flatten(), _NUM_PAIRS.value, largest=False)

    return select


# way -> (how to prepare it, bytes that it needs per N^2)
_MAKERS: dict[str, tuple[Callable[[int], Callable[[], Any]], float]] = {
    "mgue": (mgue_scan, 0.0),
    "numpy": (numpy_full_matrix, 20.0),
    "sklearn": (lambda n: sklearn_chunked(n, 1024), 0.0),
    "sklearn_64mb": (lambda n: sklearn_chunked(n, 64), 0.0),
    "torch": (torch_cdist_topk, 14.0),
    "bcgue": (bcgue_scan, 0.0),
    "mgue_xla": (mgue_scan_without_kernel, 0.0),
    "bcgue_xla": (bcgue_scan_without_kernel, 0.0),
}


def operations_per_pair(way: str) -> float:
    if not way.startswith("bcgue"):
        return 2.0 * _DIM.value
    return sum(2.0 * a * b for a, b in itertools.pairwise(_CLASSIFIER_WIDTHS))


def product_rate() -> float:
    """Return operations per second of a product of square matrices in a precision."""
    import jax

    from anneal_jax.acquisition.scan.scorers import precision_named

    side = _PRODUCT_SIDE.value or (4096 if jax.default_backend() == "cpu" else 8192)
    algorithm = precision_named(_PRECISION.value).algorithm
    # Random numbers: an accelerator multiplies zeros and ones faster.
    matrix = jax.random.normal(jax.random.key(0), (side, side), np.float32)
    product = jax.jit(lambda x: jax.lax.dot(x, x, precision=algorithm, preferred_element_type=np.float32))
    product(matrix).block_until_ready()
    start = time.perf_counter()
    for _ in range(3):
        product(matrix).block_until_ready()
    return 3 * 2 * float(side) ** 3 / (time.perf_counter() - start)


def memory_status(field: str) -> int:
    """Return a field of /proc/self/status in bytes."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field + ":"))


def device_peak_mb() -> float | None:
    """Return the peak of the accelerator's memory in this process, including the matrices of the rate."""
    import jax

    statistics = jax.local_devices()[0].memory_stats() or {}
    return statistics["peak_bytes_in_use"] / 1e6 if "peak_bytes_in_use" in statistics else None


def measure(way: str, num_images: int) -> dict[str, Any]:
    """Measure one row in this process."""
    select = _MAKERS[way][0](num_images)
    rates = [product_rate()]
    ctypes.CDLL(None).malloc_trim(0)  # otherwise freed memory would hide growth
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # resets the peak
    resident = memory_status("VmRSS")
    if way.startswith(("mgue", "bcgue")):
        select()
    start = time.perf_counter()
    found = select()
    seconds = time.perf_counter() - start
    growth = memory_status("VmHWM") - resident
    rates.append(product_rate())
    num_pairs = num_images * (num_images - 1) // 2
    return {
        "seconds": seconds,
        "pairs_per_s": num_pairs / seconds,
        "memory_growth_mb": growth / 1e6,
        "device_memory_mb": device_peak_mb(),
        "product_share": num_pairs * operations_per_pair(way) / seconds / (sum(rates) / 2),
        **{name: getattr(found, name, None) for name in _TRUST},
    }


def measure_apart(way: str, num_images: int) -> dict[str, Any]:
    """Measure one row in its own process; if that is not possible, return the reason."""
    row: dict[str, Any] = {
        "way": way,
        "num_images": num_images,
        "pairs": num_images * (num_images - 1) // 2,
    }
    needed_gb = _MAKERS[way][1] * num_images**2 / 1e9
    if needed_gb > _MEMORY_GB.value:
        return row | {"note": f"needs {needed_gb:.0f} GB"}
    flags_of_row = [f"--row={way}:{num_images}", f"--dim={_DIM.value}", f"--num_pairs={_NUM_PAIRS.value}"]
    flags_of_row += [f"--precision={_PRECISION.value}", f"--product_side={_PRODUCT_SIDE.value}"]
    try:
        done = subprocess.run(  # noqa: S603
            [sys.executable, __file__, *flags_of_row],
            check=False,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S.value,
        )
    except subprocess.TimeoutExpired:
        return row | {"note": f"over {_TIMEOUT_S.value:.0f} s"}
    if done.returncode:
        return row | {"note": done.stderr.strip().splitlines()[-1]}
    return row | json.loads(done.stdout.splitlines()[-1])


def growth_exponent(row: dict[str, Any], previous: dict[str, Any]) -> float | None:
    """Return g such that seconds grow as N^g from the previous row, or None if either has none."""
    if "seconds" not in row or "seconds" not in previous:
        return None
    size_ratio = row["num_images"] / previous["num_images"]
    return math.log(row["seconds"] / previous["seconds"]) / math.log(size_ratio)


def table_line(row: dict[str, Any]) -> str:
    head = f"{row['way']:<14}{row['num_images']:>9,}{row['pairs']:>16,}"
    if "note" in row:
        return f"{head}  {row['note']}"
    growth = "" if row["growth_exponent"] is None else f"N^{row['growth_exponent']:.2f}"
    certified = "certified" if row["is_certified"] else ""
    return (
        f"{head}{row['seconds']:>9.2f}{row['pairs_per_s']:>10.2e}{row['memory_growth_mb']:>10.0f}"
        f"{row['product_share']:>8.0%}{growth:>8}{certified:>11}"
    )


def main(_: Any) -> None:
    if _ROW.value:
        way, _, num_images = _ROW.value.rpartition(":")
        print(json.dumps(measure(way, int(num_images))))
        return
    print(f"h = {_NUM_PAIRS.value}, d = {_DIM.value}; share: of the matrix-product rate; growth: with N")
    names = f"{'seconds':>9}{'pairs/s':>10}{'MB grown':>10}{'share':>8}{'growth':>8}"
    print(f"{'way':<14}{'N':>9}{'pairs':>16}{names}")
    rows: list[dict[str, Any]] = []
    for way in _WAYS.value:
        previous: dict[str, Any] = {}
        sizes = _NUM_IMAGES_CLASSIFIER.value if way.startswith("bcgue") else _NUM_IMAGES.value
        for num_images in map(int, sizes):
            row = measure_apart(way, num_images)
            rows.append(row | {"growth_exponent": growth_exponent(row, previous)})
            print(table_line(rows[-1]), flush=True)
            previous = row
            if _JSON.value:  # after every row: the next may take an hour
                atomic.write_text(_JSON.value, json.dumps(rows, indent=1))


if __name__ == "__main__":
    app.run(main)
