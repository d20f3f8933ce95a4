"""Look at a built site in Chromium: nothing is cut or wider than the page, and its search works offline.

  python scripts/check_widths.py site [--pictures=FOLDER]

needs Chromium and playwright, which `make test` installs.
"""

import argparse
import pathlib
import shutil
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

VIEWPORTS = {"desktop": (1200, 900), "phone": (390, 844)}
SEARCHED = "faiss"
TOO_WIDE = """(isDesktop) => {
  const faults = [];
  const page = document.documentElement;
  if (page.scrollWidth > page.clientWidth) faults.push(`the page is ${page.scrollWidth} px wide`);
  for (const code of document.querySelectorAll("pre > code"))
    if (code.scrollWidth > code.clientWidth + 1)
      faults.push("a command is cut: " + code.textContent.slice(0, 60));
  if (isDesktop)
    for (const table of document.querySelectorAll("article table"))
      if (table.scrollWidth > table.closest("article").clientWidth)
        faults.push(`a table is ${table.scrollWidth} px wide: ` + table.innerText.split("\\n")[0]);
  for (const image of document.querySelectorAll("article img"))
    if (!image.naturalWidth) faults.push(`${image.src} does not load`);
  return faults;
}"""


def main() -> int:
    """Print what is wrong; return the number of faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=pathlib.Path)
    parser.add_argument("--pictures", type=pathlib.Path, help="folder for a picture of each page")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        faults = look_at_all(browser, given.site.resolve(), given.pictures)
        faults += search_offline(browser, given.site.resolve())
        browser.close()
    print("\n".join([*faults, f"{len(faults)} faults in the browser."]))
    return len(faults)


def look_at_all(browser: "Browser", site: pathlib.Path, pictures: pathlib.Path | None) -> list[str]:
    """Return what is wrong with each page, as wide as a desktop and as a phone."""
    faults = []
    paths = [path for path in sorted(site.rglob("*.html")) if path.name != "404.html"]
    for name, (width, height) in VIEWPORTS.items():
        page = browser.new_page(viewport={"width": width, "height": height})
        for path in paths:
            page.goto(path.as_uri())
            found = page.evaluate(TOO_WIDE, name == "desktop")
            faults += [f"{path.relative_to(site)}, {name}: {fault}" for fault in found]
            if pictures and path.parent == site:
                picture(page, pictures / name / f"{'_'.join(path.relative_to(site).parts)}.png")
        page.close()
    return faults


def picture(page: "Page", target: pathlib.Path) -> None:
    """Write a picture of the whole page."""
    target.parent.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=target, full_page=True)


def search_offline(browser: "Browser", site: pathlib.Path) -> list[str]:
    """Return a fault if the search finds nothing in the site's folder."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    page.goto((site / "index.html").as_uri())
    page.click(".md-search__input")
    page.keyboard.type(SEARCHED)
    try:
        page.wait_for_selector(".md-search-result__item", timeout=20_000)
    except Exception as error:  # whatever went wrong, the search did not find
        return [f"search finds no {SEARCHED!r}: {str(error).splitlines()[0]}"]
    finally:
        page.close()
    return []


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
