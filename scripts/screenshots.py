"""Make the pictures of the README anew: the page as a person sees it, and the map that the demo left.

  make demo && .venv/bin/python scripts/screenshots.py

needs Chromium (on Debian: apt-get install chromium) and playwright, which `make test` installs. Further
flags are those of launch/annotate.py.
"""

import argparse
import pathlib
import shutil
import sys
import tempfile

from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from anneal_jax.annotation.web.scripted_client import answer_page  # noqa: E402
from anneal_jax.data.archives import open_archive, require_classes  # noqa: E402
from anneal_jax.pairs.oracle import ClassOracle  # noqa: E402
from tests.annotation.scripted import Server  # noqa: E402

IMAGES = ROOT / "docs" / "images"
NUM_ANSWERS = 120  # before the picture, so that a model searches
QUERY_CLASS = "desert"  # much is to be seen in it
NUM_MARKED = 3
SETTLED_MS = 2_000
VIEWPORT = {"width": 1100, "height": 700}
NUM_COLOURS = 256  # of the map, for a file of a third of the size


def main() -> None:
    """Write docs/images/page.png and docs/images/earth_map.png."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--run", type=pathlib.Path, default=ROOT / "runs" / "earth", help="the demo's folder"
    )
    given, flags = parser.parse_known_args()  # others go to launch/annotate.py
    with Image.open(given.run / "map.png") as image:
        image.convert("RGB").quantize(NUM_COLOURS).save(IMAGES / "earth_map.png", optimize=True)
    with tempfile.TemporaryDirectory() as folder:
        picture_page(pathlib.Path(folder, "work"), flags)


def picture_page(workdir: pathlib.Path, flags: list[str]) -> None:
    """Have a simulated person answer for a while, then search and mark a few results."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    archive = open_archive("bluemarble")
    oracle = ClassOracle(require_classes(archive))
    sentence = "--sentence=Does the land look alike?"
    with Server(workdir, "--archive=bluemarble", sentence, *flags) as server, sync_playwright() as started:
        answer_page(server.url, oracle, NUM_ANSWERS)
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport=VIEWPORT)
        query = archive.labels.tolist().index(archive.class_names.index(QUERY_CLASS))
        page.goto(f"{server.url}#tile={query}")
        page.wait_for_timeout(SETTLED_MS)  # pictures fade in
        for _ in range(NUM_MARKED):
            page.keyboard.press("r")
            page.keyboard.press("ArrowRight")
        page.wait_for_timeout(SETTLED_MS)
        page.screenshot(path=IMAGES / "page.png")
        browser.close()


if __name__ == "__main__":
    main()
