"""What the next hundred answers may bring, from answers alone."""

from collections.abc import Mapping, Sequence
from typing import Any

STEP = 100
"""Answers that the forecast looks ahead."""

LEAST_GAIN = 0.01
"""Expected gain below which the page says that more answers will hardly help, a share of the tiles."""

_WRONG_PER_DOUBT = 0.5  # measured: docs/label_efficiency.md, "When to stop"


def expected_gain(curve: Sequence[Mapping[str, Any]], set_id: int) -> float | None:
    """Estimate how much more of the archive is told rightly after a hundred more answers.

    The share of tiles that n answers leave in a wrong group is taken to be half of the mean doubt d about
    their groups, and to fall as 1 / n: so the next hundred bring 100 d / (2 n).

    Args:
      curve: a row for each model, in their order, with `set_id`, `trained_on` (answers) and `doubt`.
      set_id: of the present answers.

    Returns:
      A share of the tiles in [0, 1]; None before there is a model.

    >>> rows = [{"set_id": 1, "trained_on": 100 * n, "doubt": 0.4 / n} for n in (1, 2, 4)]
    >>> round(expected_gain(rows, 1), 4)
    0.0125
    """
    rows = [row for row in curve if row.get("set_id") == set_id and "doubt" in row]
    if not rows:
        return None
    last = rows[-1]
    return min(1.0, STEP * last["doubt"] * _WRONG_PER_DOUBT / max(STEP, last["trained_on"]))
