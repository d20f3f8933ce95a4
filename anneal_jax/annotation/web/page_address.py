"""The address of a workdir's page: its token, the same at every start, and the URL served now.

Both are in `page.json`, with file mode 0600, because anyone with the address may answer.
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

NEW_ADDRESS = "The page has a new address, because others could read the old one or its file was damaged."

_FILE = "page.json"
_TOKEN = re.compile(r"[0-9A-Za-z_-]{32,64}")
_MAX_BYTES = 4_096


class PageAddress(NamedTuple):
    """The stored address of a page.

    Attributes:
      token: the first part of every path.
      url: URL at which it was last served; "" if it never was.
      holder: the run that served it, in the form of `workdir.holder`.
    """

    token: str
    url: str = ""
    holder: str = ""

    @property
    def port(self) -> int | None:
        """The port at which it was last served."""
        return urlsplit(self.url).port if self.url else None


def draw_token() -> str:
    """Return a new token, of 192 random bits."""
    return secrets.token_urlsafe(24)


def read_page(workdir: pathlib.Path) -> PageAddress | None:
    """Return the stored address of a workdir's page; None if there is none that can be trusted.

    A file is trusted if it is a regular file, not a link, belongs to this user, and is neither readable nor
    writable by anyone else.
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
    """Atomically replace the stored address of the page of a workdir that this process holds."""
    atomic.write_private(workdir / _FILE, json.dumps(page._asdict()) + "\n")


def open_page(workdir: pathlib.Path) -> str:
    """Return the URL of a workdir's page if another process serves it now, else "".

    The file of a killed server does not count: it must name the run that holds the workdir.
    """
    page = read_page(workdir)
    return page.url if page and page.url and page.holder == holder(workdir) else ""


def is_distrusted(workdir: pathlib.Path) -> bool:
    """Return whether an address is stored but cannot be trusted."""
    return os.path.lexists(workdir / _FILE) and read_page(workdir) is None
