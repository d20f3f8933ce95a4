"""The progress bar of every long step: the step, its progress and the time left."""

import sys
from typing import NoReturn

from tqdm import tqdm

_LINE_EVERY_S = 10.0
_QUIET_S = 2.0


def progress_bar(total: int, what: str, unit: str) -> "tqdm[NoReturn]":
    """Return a bar on standard error, which disappears when it is closed.

    A terminal shows it from the start. Elsewhere, as in a log, it writes a line every ten seconds, and
    nothing for a shorter step.

    Use it as `with progress_bar(n, "features", "tile") as bar: bar.update(1)`.

    Args:
      total: number of units.
      what: name of the step.
      unit: what is counted, such as `tile`.
    """
    is_terminal = sys.stderr.isatty()
    return tqdm(
        total=total,
        desc=what,
        unit=unit,
        leave=False,
        delay=0 if is_terminal else _QUIET_S,
        mininterval=0.1 if is_terminal else _LINE_EVERY_S,
    )
