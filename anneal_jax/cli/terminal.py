"""Keeps printing from ending an app: it escapes unsupported letters and survives closed pipes.

A search, or a night of training, is worth more than the line that reports it. If a stream fails, the app
remembers the fault and reports it in one sentence when everything else is done.
"""

import codecs
import io
import sys
from typing import Any

Buffer = Any  # bytes-like; `collections.abc.Buffer` from Python 3.12 on

_ESCAPING = "anneal_jax.escaping"


class _Forgiving(io.FileIO):
    """A file descriptor that records its first fault, and then discards all further output."""

    fault: OSError | None = None

    def write(self, data: Buffer, /) -> int:
        """Write, or discard after a fault."""
        if self.fault is None:
            try:
                return super().write(data)
            except OSError as error:
                self.fault = error
        return memoryview(data).nbytes


def prepare_streams() -> None:
    """Make stdout and stderr of this process accept any output; leave streams replaced by a test alone."""
    codecs.register_error(_ESCAPING, _escaped)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None or stream is not getattr(sys, f"__{name}__"):  # closed, or replaced by a test
            continue
        raw = _Forgiving(stream.fileno(), "wb", closefd=False)
        forgiving = io.TextIOWrapper(
            io.BufferedWriter(raw),
            encoding=stream.encoding,
            errors=_ESCAPING,
            line_buffering=name == "stderr" or stream.isatty(),
        )
        stream.flush()
        setattr(sys, name, forgiving)


def printing_fault() -> OSError | None:
    """Flush the output; return the fault that kept some of it from being written, None if none."""
    if sys.stdout is None:
        return None
    sys.stdout.flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return raw.fault if isinstance(raw, _Forgiving) else None


def _escaped(error: UnicodeError) -> tuple[str, int]:
    r"""Escape letters that an encoding lacks as in JSON, so that printed JSON stays valid.

    >>> codecs.register_error("doctest", _escaped)
    >>> "é 森".encode("ascii", "doctest"), "\U0001f600".encode("latin-1", "doctest")
    (b'\\u00e9 \\u68ee', b'\\ud83d\\ude00')
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    units = error.object[error.start : error.end].encode("utf-16-be", "surrogatepass")
    pairs = zip(units[::2], units[1::2], strict=True)
    return "".join(f"\\u{high:02x}{low:02x}" for high, low in pairs), error.end
