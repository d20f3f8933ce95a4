"""The errors a caller may want to tell apart. Each message says what, where and what to do."""


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


class StoreError(AnnealError, RuntimeError):
    """The answer store refuses an operation that would lose or falsify an answer."""
