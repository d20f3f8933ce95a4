"""The error classes of the package. Each message says what is wrong, where, and what to do."""

import difflib
import errno
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

_MAX_REASON_LENGTH = 300
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}


class AnnealError(Exception):
    """Base of every error that this package raises deliberately."""


class ConfigError(AnnealError, ValueError):
    """A setting is unknown, has the wrong type or is out of range."""


class ArchiveError(AnnealError, ValueError):
    """An archive, or a tile of it, cannot be used as given."""


class WeightsError(AnnealError, ValueError):
    """A weights file is missing or does not match the network."""


class WorkdirError(AnnealError, RuntimeError):
    """The content of a working directory conflicts with the request."""


class UnwritableError(WorkdirError):
    """A file cannot be written; no part of it is left, and an earlier file at its path is unchanged."""


class RetrievalError(AnnealError, RuntimeError):
    """An index cannot be written, read or searched as requested."""


class StoreError(AnnealError, RuntimeError):
    """The answer store refuses an operation that would lose or falsify an answer."""


class StorageFullError(StoreError):
    """The disk is full, and the request was not stored."""


@contextmanager
def refusing(make: Callable[[str], AnnealError]) -> Iterator[None]:
    """Turn any error that a library raises for an input into one of our errors, chained to it.

    Libraries can raise nearly anything for damaged or odd files: OverflowError, MemoryError,
    AttributeError, RecursionError, UnicodeError, or their own errors. Only wrap the call of the library:
    around our own logic it would present our bugs as the user's mistakes.

    Args:
      make: returns the error to raise, given the reason as text.

    >>> try:
    ...     with refusing(lambda reason: ArchiveError(f"tile.png cannot be read ({reason})")):
    ...         float(10**400)
    ... except ArchiveError as error:
    ...     print(error)
    tile.png cannot be read (OverflowError: int too large to convert to float)
    """
    try:
        yield
    except AnnealError:
        raise
    except Exception as error:
        raise make(reason_of(error)) from error


def reason_of(error: BaseException) -> str:
    """Return a one-line reason for a failure, for the end of a sentence.

    >>> reason_of(OSError(28, "No space left on device", "/tmp/x")), reason_of(MemoryError())
    ('No space left on device', 'there is not enough memory')
    >>> reason_of(OSError("7680 requested and 992 written"))  # NumPy's message
    'No space left on device'
    >>> reason_of(KeyError("width"))
    "KeyError: 'width'"
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if is_full_disk(error):
        return "No space left on device"
    if isinstance(error, MemoryError):
        return "there is not enough memory"
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    said = " ".join(str(error).split()).rstrip(".")
    named = said if type(error) in (OSError, ValueError) and said else f"{type(error).__name__}: {said}"
    return named.rstrip(": ")[:_MAX_REASON_LENGTH]


def is_full_disk(error: BaseException) -> bool:
    """Return whether a disk, or a quota, had no room for what was written.

    NumPy raises an OSError without a number; safetensors, faiss and others only describe it in the message.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL_DISK
    text = str(error)
    return bool(re.search(r"^\d+ requested and \d+ written|No space left on device|code: 28\b", text))


def how_to_install(extra: str) -> str:
    """Return the command that installs an extra, both in a clone and after installing a wheel.

    pip keeps the installed package, however it was installed, and adds the dependencies of the extra.

    >>> how_to_install("onnx")
    "pip install 'anneal-jax[onnx]'"
    """
    return f"pip install 'anneal-jax[{extra}]'"


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)`, or nothing if no known name is similar.

    >>> nearest_hint("archve", ["archive", "seed"])
    " (did you mean 'archive'?)"
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def unknown_name(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for an unknown name.

    >>> print(unknown_name("regime", "frosen", ["frozen", "finetune"]))
    there is no regime 'frosen' (did you mean 'frozen'?); choose one of frozen, finetune.
    """
    names = list(known)
    return ConfigError(
        f"there is no {what} {name!r}{nearest_hint(name, names)}; choose one of {', '.join(names)}."
    )
