"""What the next hundred answers may bring, from answers alone."""

from collections.abc import Mapping, Sequence
from typing import Any

STEP = 100
"""Answers that the forecast looks ahead."""

LEAST_GAIN = 0.02
"""Expected gain below which the page says that more answers will hardly help, a share of the tiles."""


def expected_gain(curve: Sequence[Mapping[str, Any]], set_id: int) -> float | None:
    """Estimate how much more of the archive is told rightly after a hundred more answers.

    Each model was trained on groups that its answers tell of, and on a mean doubt about them. Doubt that
    fell from d to d' over the last hundred answers is expected to fall by the same ratio again.

    Args:
      curve: a row for each model, in their order, with `set_id`, `trained_on` (answers) and `doubt`.
      set_id: of the present answers.

    Returns:
      A share of the tiles in [0, 1]; None before there are models a hundred answers apart.

    >>> rows = [{"set_id": 1, "trained_on": 100 * n, "doubt": 0.4 / 2**n} for n in range(3)]
    >>> round(expected_gain(rows, 1), 3)
    0.05
    """
    rows = [
        (row["trained_on"], row["doubt"]) for row in curve if row.get("set_id") == set_id and "doubt" in row
    ]
    if not rows:
        return None
    count, doubt = rows[-1]
    before = [row for row in rows if row[0] <= count - STEP]
    if not before:
        return None
    old_count, old_doubt = before[-1]
    ratio = min(1.0, doubt / max(old_doubt, 1e-9)) ** (STEP / (count - old_count))
    return doubt * (1 - ratio)
