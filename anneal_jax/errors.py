"""The errors a caller may want to tell apart. Each message says what, where and what to do."""

import difflib
from collections.abc import Iterable


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


class RetrievalError(AnnealError, RuntimeError):
    """An index cannot be written, read or searched as asked."""


class StoreError(AnnealError, RuntimeError):
    """The answer store refuses an operation that would lose or falsify an answer."""


class StorageFullError(StoreError):
    """The disk is full, and what was asked for was not stored."""


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
