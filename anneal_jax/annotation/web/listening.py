"""Where the server listens, and what the page is called by."""

import errno
import socket

from anneal_jax.annotation.web.access import LOOPBACK, Access, shown_host
from anneal_jax.annotation.web.page_address import PageAddress
from anneal_jax.errors import ConfigError, reason_of

PORT = 8765
"""The first port that is tried."""

_PORTS_TRIED = 20


def address(access: Access, host: str, port: int) -> str:
    """Return the page's address."""
    shown = shown_host(host)
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/{access.token}/"


def exposure(access: Access, host: str, port: int) -> list[str]:
    """Return sentences about who can reach the page, besides programs of this machine."""
    lines = []
    if host not in LOOPBACK:
        lines.append(
            f"Exposed: whoever reaches {host}:{port} and has this address sees the tiles and can answer, "
            "without encryption."
        )
    if access.outer_hosts:
        lines.append(f"Also called, and framed, as {', '.join(access.outer_hosts)}.")
    return lines


def listen(host: str, where: int | PageAddress | None) -> socket.socket:
    """Listen for requests.

    Args:
      host: address to listen at.
      where: a port, where 0 takes any that is free; or a page, to be served at its last port if that is
        free; else, as for None, it is the first free one from `PORT` on.

    Raises:
      ConfigError: it cannot be listened there.
    """
    if isinstance(where, int):
        return _listener(host, where)
    last = [where.port] if where and where.port else []
    for port in [*last, *range(PORT, PORT + _PORTS_TRIED)]:
        try:
            return _listener(host, port)
        except ConfigError as error:
            if not _is_taken(error):
                raise
    return _listener(host, 0)


def _is_taken(error: ConfigError) -> bool:
    return isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()  # now, so that the printed address works at once
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen at {host}:{port} ({reason_of(error)}); give another --port, or 0."
        ) from error
    return listener
