"""The errors a caller may want to tell apart. Each message says what, where and what to do."""

import difflib
import errno
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

_MAX_REASON_LENGTH = 300
_FULL_DISK = {errno.ENOSPC, errno.EDQUOT}


class AnnealError(Exception):
    """Base of every error that this package raises on purpose."""


class ConfigError(AnnealError, ValueError):
    """A setting is unknown, of the wrong type or out of range."""


class ArchiveError(AnnealError, ValueError):
    """An archive, or a tile of it, cannot be used as given."""


class WeightsError(AnnealError, ValueError):
    """A weights file is missing or does not fit the network."""


class WorkdirError(AnnealError, RuntimeError):
    """A working directory holds something that the request contradicts."""


class UnwritableError(WorkdirError):
    """A file cannot be written; nothing of it is left, and what was at its path before is as it was."""


class RetrievalError(AnnealError, RuntimeError):
    """An index cannot be written, read or searched as asked."""


class StoreError(AnnealError, RuntimeError):
    """The answer store refuses an operation that would lose or falsify an answer."""


class StorageFullError(StoreError):
    """The disk is full, and what was asked for was not stored."""


@contextmanager
def refusing(make: Callable[[str], AnnealError]) -> Iterator[None]:
    """Turn whatever a library raises over an input into one of our errors, chained to it.

    Libraries meet damaged or odd files with nearly anything: OverflowError, MemoryError, AttributeError,
    RecursionError, UnicodeError, errors of their own. Put this around the call of the library alone: around
    our own logic it would pass off our faults as the user's.

    Args:
      make: returns the error to raise, from the reason in words.

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
    """Return in one line why something failed, for the end of a sentence.

    >>> reason_of(OSError(28, "No space left on device", "/tmp/x")), reason_of(MemoryError())
    ('No space left on device', 'there is not enough memory')
    >>> reason_of(OSError("7680 requested and 992 written"))  # what NumPy says
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
        return "it is nested too deep"
    said = " ".join(str(error).split()).rstrip(".")
    named = said if type(error) in (OSError, ValueError) and said else f"{type(error).__name__}: {said}"
    return named.rstrip(": ")[:_MAX_REASON_LENGTH]


def is_full_disk(error: BaseException) -> bool:
    """Return whether a disk, or a quota, had no room for what was written.

    NumPy raises an OSError without a number for it; safetensors, faiss and others put it into words.
    """
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno in _FULL_DISK
    text = str(error)
    return bool(re.search(r"^\d+ requested and \d+ written|No space left on device|code: 28\b", text))


def how_to_install(extra: str) -> str:
    """Return the command that brings an extra, in a clone as where a wheel was installed.

    pip takes the package that is there, by whatever way it came, and adds what the extra names.

    >>> how_to_install("onnx")
    "pip install 'anneal-jax[onnx]'"
    """
    return f"pip install 'anneal-jax[{extra}]'"


def nearest_hint(name: str, known: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)`, or nothing where no known name is near.

    >>> nearest_hint("archve", ["archive", "seed"])
    " (did you mean 'archive'?)"
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {near[0]!r}?)" if near else ""


def unknown_name(what: str, name: str, known: Iterable[str]) -> ConfigError:
    """Return the error for a name that nothing has.

    >>> print(unknown_name("regime", "frosen", ["frozen", "finetune"]))
    there is no regime 'frosen' (did you mean 'frozen'?); choose one of frozen, finetune.
    """
    names = list(known)
    return ConfigError(
        f"there is no {what} {name!r}{nearest_hint(name, names)}; choose one of {', '.join(names)}."
    )
