"""Check a built site: every link inside it leads somewhere, and no page loads anything from elsewhere."""

import html.parser
import pathlib
import sys
import urllib.parse

LOADED = {("script", "src"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("link", "href")}
NOT_LOADED_LINKS = ("canonical", "prev", "next")


class Page(html.parser.HTMLParser):
    """The ids of a page, the links on it, and what it loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.loaded: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take note of a tag's ids and addresses."""
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        for name in ("href", "src"):
            if name in given:
                self.links.add(given[name])
                if (tag, name) in LOADED and given.get("rel") not in NOT_LOADED_LINKS:
                    self.loaded.add(given[name])


def main(site: pathlib.Path) -> int:
    """Print what is wrong; return the number of faults."""
    pages = {path.resolve(): Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    faults, num_links = [], 0
    for path, page in pages.items():
        name = path.relative_to(site.resolve())
        faults += [f"{name} loads {url}" for url in page.loaded if urllib.parse.urlsplit(url).netloc]
        for link in sorted(page.links):
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            num_links += 1
            target = _target(site.resolve(), path, urllib.parse.unquote(parts.path))
            if not target.is_file():
                faults.append(f"{name}: {link} leads nowhere")
            elif target in pages and urllib.parse.unquote(parts.fragment) not in pages[target].ids | {""}:
                faults.append(f"{name}: there is no {link}")
    for css in sorted(site.rglob("*.css")):
        text = css.read_text("utf-8")
        faults += [f"{css} loads from elsewhere" for sign in ("url(http", "url(//") if sign in text]
    total = f"{len(pages)} pages, {num_links:,} links inside them, {len(faults)} faults."
    print("\n".join([*faults, total]))
    return len(faults)


def _target(site: pathlib.Path, page: pathlib.Path, address: str) -> pathlib.Path:
    """Return the file that an address on a page means; one with a leading slash begins at the site."""
    if not address:
        return page
    return (site / address.lstrip("/") if address.startswith("/") else page.parent / address).resolve()


if __name__ == "__main__":
    sys.exit(1 if main(pathlib.Path(sys.argv[1])) else 0)
