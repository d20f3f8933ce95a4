"""Time the map with tens of thousands of tiles: drawing, moving, and choosing by lasso.

  python benchmarks/map.py --tiles=30000 --workdir=runs/map

Tiles are drawn at random in a hundred clusters between 55 S and 65 N, each with a vector of 16 numbers and
a box of 0.1 degrees. Chromium opens their map in a window of 1280 x 800. Printed are the seconds until the
first picture, and the median and the longest of `--repeats` redraws: of the whole archive, with 1,000
results, after zooming in once, and after a lasso, until the chosen tiles are drawn.
"""

import argparse
import pathlib
import statistics
import time

import numpy as np
from export import serving

from anneal_jax.annotation.web.server import opened
from anneal_jax.config import ExperimentConfig

REDRAW = """key => new Promise((resolve) => {
  const begun = performance.now();
  const map = document.querySelector("#map");
  map.dispatchEvent(new KeyboardEvent("keydown", { key }));
  requestAnimationFrame(() => resolve((performance.now() - begun) / 1000)); // after the map's own drawing
})"""

LASSO = """() => new Promise((resolve) => {
  document.querySelector("#lasso").click();
  const map = document.querySelector("#map"), { width, height, left, top } = map.getBoundingClientRect();
  const at = (kind, x, y) => map.dispatchEvent(new PointerEvent(kind, { pointerId: 1, isPrimary: true,
    clientX: left + x * width, clientY: top + y * height }));
  map.setPointerCapture = () => {}; // no finger is there
  at("pointerdown", 0.02, 0.02);
  for (let step = 0; step <= 60; step += 1) at("pointermove", 0.02 + 0.48 * Math.sin(step / 40), step / 60);
  const begun = performance.now();
  at("pointerup", 0.02, 0.98);
  requestAnimationFrame(() => resolve((performance.now() - begun) / 1000));
})"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tiles", type=int, default=30_000)
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="a new folder")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    given = parser.parse_args()
    given.workdir.mkdir(parents=True)
    archive = write_tiles(given.workdir / "tiles.parquet", given.tiles)
    config = ExperimentConfig(archive=f"embeddings:{archive}", backbone="identity", pretrained="none")
    with (
        opened(config, given.workdir / "work", sentence="Same land use", learns=False) as context,
        serving(context) as url,
    ):
        measure(url, given.chromium, given.repeats)


def write_tiles(path: pathlib.Path, count: int) -> pathlib.Path:
    """Write vectors and boxes of some clusters."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    kinds = rng.integers(0, 100, count)
    vectors = rng.normal(size=(100, 16))[kinds] + 0.5 * rng.normal(size=(count, 16))
    middles = np.column_stack([rng.uniform(-175, 175, 100), rng.uniform(-55, 65, 100)])[kinds]
    west, south = (middles + rng.normal(0, 3, (count, 2))).T
    columns = {"west": west, "south": south, "east": west + 0.1, "north": south + 0.1}
    table = pa.table({"embedding": vectors.astype(np.float32).tolist(), **columns})
    pq.write_table(table, path)
    return path


def measure(url: str, chromium: str, repeats: int) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        begun = time.perf_counter()
        page.goto(f"{url}map")
        page.wait_for_selector("#tiles button")
        print(f"{page.text_content('#listed')} after {time.perf_counter() - begun:.2f} s")
        report("redraw", [page.evaluate(REDRAW, "ArrowLeft") for _ in range(repeats)])
        page.select_option("#count", "1000")
        page.click("#tiles button >> nth=0")
        page.wait_for_selector("#listed:has-text('results')")
        report("redraw with 1,000 results", [page.evaluate(REDRAW, "ArrowLeft") for _ in range(repeats)])
        report("redraw after a step closer", [page.evaluate(REDRAW, key) for key in "+-" * (repeats // 2)])
        report("lasso", [page.evaluate(LASSO) for _ in range(repeats)])
        print(page.text_content("#listed"))
        browser.close()


def report(name: str, times: list[float]) -> None:
    print(f"{name:28s} median {statistics.median(times):.3f} s, slowest {max(times):.3f} s")


if __name__ == "__main__":
    main()
