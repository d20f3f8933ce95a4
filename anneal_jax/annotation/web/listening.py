"""The address that the server listens on, and the address of the page."""

import errno
import socket

from anneal_jax.annotation.web.access import LOOPBACK, Access, shown_host
from anneal_jax.annotation.web.page_address import PageAddress
from anneal_jax.errors import ConfigError, reason_of

PORT = 8765
"""The first port to try."""

_PORTS_TRIED = 20


def address(access: Access, host: str, port: int) -> str:
    """Return the page's address."""
    shown = shown_host(host)
    shown = f"[{shown}]" if ":" in shown else shown
    return f"http://{shown}:{port}/{access.token}/"


def exposure(access: Access, host: str, port: int) -> list[str]:
    """Return sentences about who can reach the page, apart from programs on this machine."""
    lines = []
    if host not in LOOPBACK:
        lines.append(
            f"Exposed: anyone who reaches {host}:{port} with this address can see the tiles and answer, "
            "without encryption."
        )
    if access.outer_hosts:
        lines.append(f"Also reachable, and allowed in frames, as {', '.join(access.outer_hosts)}.")
    return lines


def listen(host: str, where: int | PageAddress | None) -> socket.socket:
    """Open a listening socket.

    Args:
      host: address to listen on.
      where: a port, or 0 for any free one; or a page, to be served at its last port if that is free.
        Otherwise, and for None, the first free port from `PORT` on is used.

    Raises:
      ConfigError: the address cannot be listened on.
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
        listener.listen()  # now, so that the printed address works immediately
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {host}:{port} ({reason_of(error)}); give another --port, or 0."
        ) from error
    return listener
