"""Makes the pictures of README and docs/: the pages as a person sees them, and the map of the demo.

  make demo && python scripts/screenshots.py

needs Chromium (on Debian: apt-get install chromium) and playwright, which `make test` installs. Further
flags are those of launch/annotate.py.
"""

import argparse
import pathlib
import shutil
import sys
import tempfile
from typing import TYPE_CHECKING

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from anneal_jax.annotation.web.scripted_client import answer_page  # noqa: E402
from anneal_jax.data.archives import open_archive, require_classes  # noqa: E402
from anneal_jax.pairs.oracle import ClassOracle  # noqa: E402
from tests.annotation.scripted import Server  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Page

IMAGES = ROOT / "docs" / "images"
SENTENCE = "Does the land look alike?"
NUM_ANSWERS = 120  # before the pictures, so that a model searches
QUERY_CLASS = "desert"  # the pictures show much of it
NUM_MARKED = 3
SETTLED_MS = 2_000
WIDTH, HEIGHT = 1100, 760
NUM_COLOURS = 256  # of each picture, for files of a third of the size
PACE_MS = 1_000  # for each question: models are trained meanwhile
MAX_ANSWERED = 300  # until a choice and a grid have come up
MAX_MARKED = 3  # of a pictured grid, with one at least
TILES_SHOWN = """() => {
  const inView = [...document.querySelectorAll("main img")].filter((image) => {
    const box = image.getBoundingClientRect();
    return box.width && box.top < innerHeight && box.bottom > 0;
  });
  return inView.length > 3 && inView.every((image) => image.complete && image.naturalWidth);
}"""
LONGEST_MS = 300_000
QUESTION_SHOWN = """(before) => document.querySelector("#stage.ready")
  && document.body.dataset.question && document.body.dataset.question !== before"""
TILES_ASKED = """() => {
  const isPair = document.body.dataset.kind === "pair";
  const tiles = isPair ? "#left, #right" : "#subject-tile, #others .pictures > :first-child";
  return [...document.querySelectorAll(tiles)].map((image) => parseInt(image.src.split("/").pop()));
}"""
PLACES = "123456789abc"  # keys of the tiles of a grid, or the groups of a choice


def main() -> None:
    """Write docs/images/: the pages, and earth_map.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=pathlib.Path, default=ROOT / "runs" / "earth", help="the demo's folder"
    )
    given, flags = parser.parse_known_args()  # others go to launch/annotate.py
    shrink(given.run / "map.png", IMAGES / "earth_map.png")
    with tempfile.TemporaryDirectory() as folder:
        picture_pages(pathlib.Path(folder, "work"), flags)


def picture_pages(workdir: pathlib.Path, flags: list[str]) -> None:
    """Have a simulated person answer for a while, then picture each page."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    archive = open_archive("bluemarble")
    labels, shown_class = require_classes(archive), archive.class_names.index(QUERY_CLASS)
    query = labels.tolist().index(shown_class)
    with (
        Server(workdir, "--archive=bluemarble", f"--sentence={SENTENCE}", *flags) as server,
        sync_playwright() as started,
    ):
        answer_page(server.url, ClassOracle(labels), NUM_ANSWERS)
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        picture_search(page, server.url, query)
        page.goto(f"{server.url}groups")
        picture(page, "groups")
        picture_questions(page, server.url, labels.tolist(), shown_class)
        page.goto(f"{server.url}map?tile={query}")
        picture(page, "map")
        browser.close()


def picture_search(page: "Page", url: str, query: int) -> None:
    """Picture the wall of tiles, then the results of one with a few marks."""
    page.goto(url)
    picture(page, "wall")
    page.goto(f"{url}#tile={query}")
    page.wait_for_timeout(SETTLED_MS)
    for _ in range(NUM_MARKED):
        page.keyboard.press("r")
        page.keyboard.press("ArrowRight")
    picture(page, "page")


def picture_questions(page: "Page", url: str, labels: list[int], shown_class: int) -> None:
    """Answer truthfully; picture a choice and a grid about a class, the grid with a few tiles to mark."""
    page.goto(f"{url}teach")
    page.fill("#name", "Ada")
    page.click("#welcome button")
    missing, key = {"choice": "teach", "grid": "grid"}, ""
    for _ in range(MAX_ANSWERED):
        page.wait_for_function(QUESTION_SHOWN, arg=key)
        kind, key = (page.get_attribute("body", f"data-{name}") or "" for name in ("kind", "question"))
        classes = [labels[tile] for tile in page.evaluate(TILES_ASKED)]
        presses = keys_of(kind, classes)
        is_shown = kind in missing and classes[0] == shown_class
        if is_shown and kind == "choice":
            picture(page, missing.pop(kind))
        for press in presses:
            page.keyboard.press(press)
        if is_shown and kind == "grid" and 1 <= len(presses) <= MAX_MARKED:
            picture(page, missing.pop(kind))
        if not missing:
            return
        if kind == "grid":
            page.keyboard.press("Enter")
        page.wait_for_timeout(PACE_MS)
    raise SystemExit(f"error: {' and '.join(missing)} did not come up among {MAX_ANSWERED} questions")


def keys_of(kind: str, classes: list[int]) -> str:
    """Return the keys that answer a question, or that mark tiles of a grid, by the classes of its tiles."""
    is_like = [each == classes[0] for each in classes[1:]]
    if kind == "pair":
        return "s" if is_like[0] else "d"
    if kind == "choice":
        return PLACES[is_like.index(True)] if any(is_like) else "0"
    return "".join(key for key, is_same in zip(PLACES, is_like, strict=False) if not is_same)


def picture(page: "Page", name: str) -> None:
    """Write docs/images/NAME.png once the page has settled."""
    page.wait_for_function(TILES_SHOWN, timeout=LONGEST_MS)
    page.wait_for_timeout(SETTLED_MS)  # pictures fade in
    page.screenshot(path=IMAGES / f"{name}.png")
    shrink(IMAGES / f"{name}.png", IMAGES / f"{name}.png")


def shrink(source: pathlib.Path, target: pathlib.Path) -> None:
    """Write a picture again with its own palette."""
    with Image.open(source) as image:
        image.convert("RGB").quantize(NUM_COLOURS).save(target, optimize=True)


if __name__ == "__main__":
    main()
