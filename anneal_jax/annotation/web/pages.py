"""The pages of the web app: one shared frame with a navigation bar, and the content of each page."""

from importlib import resources
from typing import NamedTuple


class Page(NamedTuple):
    """A page and its files.

    Attributes:
      path: path below the token; empty for the first screen.
      name: name of its files, `NAME.html` and `NAME.js`, and of the body's class.
      title: title in the bar and in the browser's tab.
      styles: its own style sheets, in addition to the shared ones.
    """

    path: str
    name: str
    title: str
    styles: tuple[str, ...] = ()


PAGES = (
    Page("", "search", "Search", ("search.css", "export.css")),
    Page("teach", "teach", "Teach", ("teach.css",)),
    Page("groups", "groups", "Groups", ("groups.css",)),
    Page("map", "map", "Map", ("map.css", "export.css")),
    Page("details", "details", "Details"),
)
"""All pages in the order of the bar."""

_SHARED = (
    "acting.js",
    "atlas.js",
    "coast.json",
    "common.js",
    "contradictions.css",
    "contradictions.js",
    "enlarge.js",
    "export.js",
    "glance.js",
    "grid.js",
    "icon.svg",
    "page.css",
    "progress.js",
    "sets.css",
    "sets.js",
)


def static_files() -> tuple[str, ...]:
    """Return the names of the files that the pages fetch."""
    own = [name for page in PAGES for name in (*page.styles, f"{page.name}.js")]
    return tuple(dict.fromkeys((*_SHARED, *own)))


def read_static(name: str) -> bytes:
    """Return the content of a file of the pages."""
    return resources.files("anneal_jax.annotation.web").joinpath("static", name).read_bytes()


def page_html(page: Page) -> bytes:
    """Return a page as HTML: the shared frame around its content."""
    styles = [f'<link rel="stylesheet" href="static/{name}">' for name in page.styles]
    parts = {
        "title": page.title,
        "name": page.name,
        "files": "\n".join([*styles, f'<script src="static/{page.name}.js" type="module"></script>']),
        "links": "\n  ".join(_link(other, page) for other in PAGES),
        "content": read_static(f"{page.name}.html").decode(),
    }
    html = read_static("shell.html").decode()
    for place, text in parts.items():
        html = html.replace(f"<!--{place}-->", text)
    return html.encode()


def _link(page: Page, shown: Page) -> str:
    current = ' aria-current="page"' if page == shown else ""
    return f'<a href="{page.path or "./"}"{current}>{page.title}</a>'
