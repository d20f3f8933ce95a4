"""Where the page of a workdir is: its token, the same at every start, and the address that is open now.

Both are in `page.json`, a file of mode 0600, for whoever has the address may answer.
"""

import json
import os
import pathlib
import re
import secrets
import stat
from typing import NamedTuple
from urllib.parse import urlsplit

from anneal_jax.files import atomic
from anneal_jax.files.workdir import holder

NEW_ADDRESS = "The page has a new address: others could read the old one, or its file was damaged."

_FILE = "page.json"
_TOKEN = re.compile(r"[0-9A-Za-z_-]{32,64}")
_MAX_BYTES = 4_096


class PageAddress(NamedTuple):
    """What is kept of a page.

    Attributes:
      token: the first part of every path.
      url: where it was served last; "" before that.
      holder: the run that served it, as `workdir.holder` names it.
    """

    token: str
    url: str = ""
    holder: str = ""

    @property
    def port(self) -> int | None:
        """The port it was served at last."""
        return urlsplit(self.url).port if self.url else None


def draw_token() -> str:
    """Return a new token, of 192 random bits."""
    return secrets.token_urlsafe(24)


def read_page(workdir: pathlib.Path) -> PageAddress | None:
    """Return what is kept of the page of a workdir; None when there is nothing, or nothing to be trusted.

    A file is trusted when it is a regular one, no link, of this user, and nobody else may read or write it.
    """
    try:
        descriptor = os.open(workdir / _FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            is_ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()
            if not is_ours or status.st_mode & 0o077:
                return None
            page = PageAddress(**json.loads(file.read(_MAX_BYTES)))
        is_whole = all(isinstance(value, str) for value in page) and _TOKEN.fullmatch(page.token)
        return page if is_whole and (page.port or not page.url) else None
    except (OSError, ValueError, TypeError):
        return None


def keep_page(workdir: pathlib.Path, page: PageAddress) -> None:
    """Replace what is kept of the page of a workdir that this process holds; atomic."""
    atomic.write_private(workdir / _FILE, json.dumps(page._asdict()) + "\n")


def open_page(workdir: pathlib.Path) -> str:
    """Return the address of the page of a workdir that another process serves now; "" when there is none.

    What a killed server left does not count: the file must name the run that holds the workdir.
    """
    page = read_page(workdir)
    return page.url if page and page.url and page.holder == holder(workdir) else ""


def is_distrusted(workdir: pathlib.Path) -> bool:
    """Tell whether something is kept of a page, and is not trusted."""
    return os.path.lexists(workdir / _FILE) and read_page(workdir) is None
