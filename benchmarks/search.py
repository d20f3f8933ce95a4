"""Compare exact search with faiss, for ten thousand to ten million vectors.

  python benchmarks/search.py --num_tiles=10000,100000,1000000,10000000 --folder=/data --json=search.json

Each size runs in its own process. The vectors are stored in `--folder` as in an index (float16 shards) and
removed afterwards. The ways take turns, so that a busy machine slows all of them equally: compare ratios,
not seconds. Memory is the peak growth of anonymous memory. It does not include mapped files, whose pages
the system takes back when it needs them.

Ways: `exact` is this library's search; `faiss_flat` is faiss's exact one, by float32 vectors in memory;
`faiss_codes` is this library's approximate one (launch/embed.py --faiss), with its recall of the exact
results. Vectors are spread around 1,000 centres, like those of a trained network; queries are
other such vectors.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import app, flags

from anneal_jax.files import atomic

_NUM_TILES = flags.DEFINE_list("num_tiles", ["10000", "100000", "1000000"], "Archive sizes N.")
_NUM_QUERIES = flags.DEFINE_integer("num_queries", 64, "Queries at once.")
_DIM = flags.DEFINE_integer("dim", 128, "Components of a vector.")
_K = flags.DEFINE_integer("k", 20, "Results per query.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Turns of each way; the fastest and the median are reported.")
_FOLDER = flags.DEFINE_string(
    "folder", None, "Folder for the vectors; by default the system's temporary one."
)
_MAX_CODES = flags.DEFINE_integer("most_codes", 1_000_000, "Largest N that faiss_codes is trained for.")
_JSON = flags.DEFINE_string("json", None, "File for the rows.")
_ROW = flags.DEFINE_integer("row", None, "Internal: N, measured in this process.")

_SHARD_ROWS = 16_384


def vectors_around_centres(rng: np.random.Generator, num_rows: int) -> np.ndarray:
    centres = np.random.default_rng(0).standard_normal((1_000, _DIM.value), np.float32)
    vectors = rng.standard_normal((num_rows, _DIM.value), np.float32)
    vectors += 2.0 * centres[rng.integers(0, len(centres), num_rows)]
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write_index(folder: pathlib.Path, num_tiles: int) -> Any:
    from anneal_jax.retrieval.columns import encoded_texts
    from anneal_jax.retrieval.index_reader import open_index
    from anneal_jax.retrieval.manifest import Manifest, ModelCard, write_manifest
    from anneal_jax.retrieval.shards import write_shard

    rng, records = np.random.default_rng(1), []
    for start in range(0, num_tiles, _SHARD_ROWS):
        num_rows = min(_SHARD_ROWS, num_tiles - start)
        vectors = vectors_around_centres(rng, num_rows).astype(np.float16)
        ids = encoded_texts([f"{row:08d}" for row in range(start, start + num_rows)])
        columns = {"vectors": vectors, "ids": ids}
        records.append(write_shard(folder, f"shard-0-{start // _SHARD_ROWS:06d}", columns, source="drawn"))
    card = ModelCard("00" * 32, _DIM.value, "float16", "none")
    write_manifest(folder, Manifest(card, 0, 1, is_complete=True, shards=tuple(records)))
    start_s = time.perf_counter()
    index = open_index(folder)
    return index, time.perf_counter() - start_s


class PeakMemory:
    """Watches the process's anonymous memory in a thread, as `with PeakMemory() as peak`."""

    def __enter__(self) -> "PeakMemory":
        self.start_bytes = self.peak_bytes = anonymous_bytes()
        self.is_over = threading.Event()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.is_over.wait(0.005):
            self.peak_bytes = max(self.peak_bytes, anonymous_bytes())

    @property
    def growth_mb(self) -> float:
        """Growth in megabytes."""
        return (self.peak_bytes - self.start_bytes) / 1e6


def anonymous_bytes() -> int:
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


def prepare_exact(index: Any, queries: np.ndarray) -> Callable[[], np.ndarray]:
    from anneal_jax.retrieval.search import search_exact

    shards = index.column("vectors")
    return lambda: search_exact(shards, queries, _K.value).rows


def prepare_faiss_flat(index: Any, queries: np.ndarray) -> Callable[[], np.ndarray]:
    import faiss

    flat = faiss.IndexFlatIP(_DIM.value)
    for shard in index.column("vectors"):
        flat.add(shard.astype(np.float32))
    return lambda: flat.search(queries, _K.value)[1]


def prepare_faiss_codes(index: Any, queries: np.ndarray) -> Callable[[], np.ndarray]:
    from anneal_jax.retrieval.faiss_search import build_faiss, open_faiss

    build_faiss(index)
    searcher = open_faiss(index)
    return lambda: searcher(queries, _K.value).rows


WAYS = {"exact": prepare_exact, "faiss_flat": prepare_faiss_flat, "faiss_codes": prepare_faiss_codes}


def measure(num_tiles: int, folder: pathlib.Path) -> list[dict[str, Any]]:
    """Measure every way over one index, in turns."""
    index, verify_s = write_index(folder, num_tiles)
    queries = vectors_around_centres(np.random.default_rng(2), _NUM_QUERIES.value)
    searches, rows = {}, {}
    for way, prepare in WAYS.items():
        if way == "faiss_codes" and not 10_000 <= num_tiles <= _MAX_CODES.value:
            continue
        start = time.perf_counter()
        with PeakMemory() as peak:
            search = prepare(index, queries)
            prepare_s = time.perf_counter() - start
            rows[way] = {"way": way, "num_tiles": num_tiles, "prepare_s": prepare_s, "found": search()}
        searches[way] = search
        rows[way] |= {"memory_growth_mb": peak.growth_mb, "seconds": []}
    for _ in range(_REPEATS.value):
        for way, search in searches.items():
            start = time.perf_counter()
            search()
            rows[way]["seconds"].append(time.perf_counter() - start)
    best = {way: min(row["seconds"]) for way, row in rows.items()}
    exact = rows["exact"]["found"]
    for way, row in rows.items():
        row["recall"] = float(
            np.mean([np.isin(a, b).mean() for a, b in zip(exact, row.pop("found"), strict=True)])
        )
        row["median_s"], row["seconds"] = float(np.median(row["seconds"])), best[way]
        row["times_exact"] = best[way] / best["exact"]
        row["verify_s"] = verify_s
    return list(rows.values())


def measure_apart(num_tiles: int) -> list[dict[str, Any]]:
    """Measure one size in its own process; its files are removed when it ends or is stopped."""
    with tempfile.TemporaryDirectory(dir=_FOLDER.value) as folder:
        names = ("num_queries", "dim", "k", "repeats", "most_codes")
        settings = [f"--{name}={flags.FLAGS[name].value}" for name in names]
        done = subprocess.run(  # noqa: S603
            [sys.executable, __file__, f"--row={num_tiles}", f"--folder={folder}", *settings],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def table_line(row: dict[str, Any]) -> str:
    return (
        f"{row['way']:<12}{row['num_tiles']:>11,}{row['seconds']:>9.3f}{row['median_s']:>9.3f}"
        f"{row['times_exact']:>8.2f}{row['recall']:>8.3f}{row['memory_growth_mb']:>9.0f}{row['prepare_s']:>9.1f}"
        f"{row['verify_s']:>9.2f}"
    )


def main(_: Any) -> None:
    if _ROW.value is not None:
        print(json.dumps(measure(_ROW.value, pathlib.Path(_FOLDER.value))))
        return
    print(f"{_NUM_QUERIES.value} queries, k = {_K.value}, d = {_DIM.value}; times: of exact's fastest turn")
    names = ("seconds", "median", "times", "recall", "MB grown", "prepare", "verify")
    widths = (9, 9, 8, 8, 9, 9, 9)
    print(
        f"{'way':<12}{'N':>11}"
        + "".join(f"{name:>{width}}" for name, width in zip(names, widths, strict=True))
    )
    rows: list[dict[str, Any]] = []
    for num_tiles in map(int, _NUM_TILES.value):
        for row in measure_apart(num_tiles):
            rows.append(row)
            print(table_line(row), flush=True)
        if _JSON.value:
            atomic.write_text(_JSON.value, json.dumps(rows, indent=1))


if __name__ == "__main__":
    app.run(main)
