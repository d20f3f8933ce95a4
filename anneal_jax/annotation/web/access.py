"""Access control of the page's server: who may call it, from where, and with what.

The server only serves clients that know the token in the path. It refuses pages of other origins by their
`Origin`, and names redirected to this machine (DNS rebinding) by their `Host`.
"""

import re
import secrets
import socket
from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from anneal_jax.annotation.web.page_address import draw_token
from anneal_jax.errors import ConfigError

MAX_BODY_BYTES = 16_384

LOOPBACK = ("127.0.0.1", "localhost", "::1")

_ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104

_HOST = re.compile(r"[0-9A-Za-z_][0-9A-Za-z_.-]{0,252}")


class Access(NamedTuple):
    """Who may use the server.

    Attributes:
      token: the first part of every path.
      hosts: host names that requests may use for this server, without ports.
      outer_hosts: those of them that may belong to a proxy (a tunnel, a notebook): their pages may show
        this one in a frame, and their port is not this server's.
      frames: further origins whose pages may show this one in a frame; they may not write.
      pictures: further origins from which the pages may load pictures, such as a map server's.
    """

    token: str
    hosts: frozenset[str]
    outer_hosts: tuple[str, ...] = ()
    frames: tuple[str, ...] = ()
    pictures: tuple[str, ...] = ()

    def may_call(self, host: str) -> bool:
        """Return whether a `Host` names this server."""
        return _name_of(f"//{host}") in self.hosts

    def may_write(self, origin: str, host: str) -> bool:
        """Return whether a page of this `Origin` may write to this `Host`."""
        scheme, _, rest = origin.partition("://")
        if scheme not in ("http", "https"):
            return False
        return rest == host or _name_of(origin) in self.outer_hosts


def make_access(
    host: str, allowed_hosts: Sequence[str] = (), frames: Sequence[str] = (), basemap_url: str = ""
) -> Access:
    """Draw a token, and collect the host names of the server and the origins of its pictures.

    A server that keeps its token replaces this one with it (`annotation/web/page_address.py`).

    Raises:
      ConfigError: an allowed host is not a plain host name, so no request could match it; or the map
        server's address is invalid.
    """
    for name in allowed_hosts:
        if not _HOST.fullmatch(name):
            raise ConfigError(
                f"--allowed_host={name!r} is not a host name; give the name alone, as in tunnel.example, "
                "without https://, port or path."
            )
    outer_hosts = tuple(name.lower() for name in allowed_hosts)
    names = frozenset((*LOOPBACK, shown_host(host).lower(), *outer_hosts))
    return Access(draw_token(), names, outer_hosts, tuple(frames), _origins(basemap_url))


def _origins(basemap_url: str) -> tuple[str, ...]:
    """Return the origin of a map server; nothing for an empty address."""
    if not basemap_url:
        return ()
    parts = urlsplit(basemap_url)
    origin = f"{parts.scheme}://{parts.netloc}"
    holes = all(f"{{{hole}}}" in basemap_url for hole in "xyz")
    if not (holes and re.fullmatch(r"https?://[0-9A-Za-z.-]+(:[0-9]{1,5})?", origin, re.ASCII)):
        raise ConfigError(
            f"--basemap_url={basemap_url!r} is not an address of map tiles; give one such as "
            "https://tiles.example/{z}/{x}/{y}.png."
        )
    return (origin,)


def shown_host(host: str) -> str:
    """Return the host name in the page's address; for a wildcard address, that of this machine."""
    return socket.gethostname() if host in _ANY_ADDRESS else host


class AccessMiddleware:
    """ASGI middleware: refuses what `Access` does not allow, and marks every response as private."""

    def __init__(self, app: ASGIApp, access: Access, uploads: Mapping[str, int] | None = None):
        """Wrap an app that serves below `/TOKEN/`.

        Args:
          app: the app to protect.
          access: who may use it.
          uploads: paths below the token that accept a file instead of JSON, and its maximum size in bytes.
        """
        self._app = app
        self._access = access
        self._uploads = uploads or {}
        ancestors = (
            " ".join((*(f"https://{name}" for name in access.outer_hosts), *access.frames)) or "'none'"
        )
        pictures = " ".join(("'self'", *access.pictures))
        self._headers = {
            "Content-Security-Policy": (
                "default-src 'none'; script-src 'self'; style-src 'self'; "
                f"img-src {pictures}; connect-src 'self'; "
                f"base-uri 'none'; form-action 'none'; frame-ancestors {ancestors}"
            ),
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "same-origin",
            "Cross-Origin-Resource-Policy": "same-origin",
            "Cache-Control": "no-store",
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # no other protocol is supported
            return

        async def send_marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
            await send(message)

        refusal = self._refusal(scope)
        app = refusal or self._app
        await app(scope, _limited(receive, self._allowed_body(scope)[1]), send_marked)

    def _allowed_body(self, scope: Scope) -> tuple[str, int]:
        """Return the content type that a path accepts, and the maximum size of a body in bytes."""
        _, _, place = scope["path"].removeprefix("/").partition("/")
        if place in self._uploads:  # a form on another page cannot send this type either
            return "application/octet-stream", self._uploads[place]
        return "application/json", MAX_BODY_BYTES

    def _refusal(self, scope: Scope) -> Response | None:
        headers, method = Headers(scope=scope), scope["method"]
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._access.may_call(host):
            return _refused(403, "This server has no such host name.")
        if origin is not None and not self._access.may_write(origin, host):
            return _refused(403, "Pages of other origins may not call this server.")
        token, _, _ = scope["path"].removeprefix("/").partition("/")
        if not secrets.compare_digest(token.encode(), self._access.token.encode()):
            return _refused(
                404,
                "Open the whole address that was printed when the server started.",
            )
        if method == "POST":
            if origin is None:
                return _refused(403, "A request that writes must state its origin.")
            kind, most = self._allowed_body(scope)
            if headers.get("content-type", "").partition(";")[0].strip() != kind:
                return _refused(415, f"Only {'JSON' if kind == 'application/json' else kind} is accepted.")
            length = headers.get("content-length", "")
            if not length.isascii() or not length.isdigit() or int(length[:12]) > most:
                return _refused(413, f"A request may have at most {most} bytes, and must state its length.")
        elif method not in ("GET", "HEAD"):
            return _refused(405, "Only GET and POST are supported.")
        return None


def _limited(receive: Receive, most: int) -> Receive:
    """Stop a body that exceeds the maximum size, whatever length it declared."""
    num_bytes = 0

    async def limited() -> Message:
        nonlocal num_bytes
        message = await receive()
        num_bytes += len(message.get("body", b""))
        return message if num_bytes <= most else {"type": "http.disconnect"}

    return limited


def _refused(status: int, sentence: str) -> Response:
    return PlainTextResponse(sentence + "\n", status)


def _name_of(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "").lower()
    except ValueError:
        return ""
