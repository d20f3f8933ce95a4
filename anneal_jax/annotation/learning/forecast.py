"""How many answers a person may expect to give: until search gets better, and until more hardly help."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

STEP = 100
"""Answers that the forecast looks ahead."""

MIN_GAIN = 0.01
"""Expected gain below which the page says that more answers will hardly help, a share of the tiles."""

_WRONG_PER_DOUBT = 0.5  # measured: docs/lab/label_efficiency.md, "When to stop"


class Progress(NamedTuple):
    """How many answers the page tells a person to expect, in all.

    Attributes:
      least: answers from which search may get better; of a forecast the same as `aim`.
      aim: answers at which the bar is full.
      is_forecast: whether `aim` is where a hundred more hardly help, by this set's own models; else it is
        what other archives took until search got better.
    """

    least: int
    aim: int
    is_forecast: bool


USUAL = Progress(100, 300, is_forecast=False)
"""When search gets better on an archive of this kind.

For pictures that nobody was asked about, each of 30 runs on UC Merced, RSSCN7 and digits (7 to 21 kinds
among 1,797 to 2,800 tiles; some people err) was above the features by 0.05 mAP@5 from 32 to 100 answers on
(`python benchmarks/first_gain.py`); before 100 a model is rarely used. Within the archive itself the
features are stronger: there what was learnt passed them between 200 and 300 answers, in one run on UC
Merced (docs/lab/page.md). No other sizes were measured, so nothing is scaled by the number of tiles.
"""


def expected_gain(curve: Sequence[Mapping[str, Any]], set_id: int) -> float | None:
    """Estimate how much more of the archive is in its right group after a hundred more answers.

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


def progress(curve: Sequence[Mapping[str, Any]], set_id: int, version: int) -> Progress:
    """Return how many answers to expect.

    The expected gain falls as 1 / n^2 (`expected_gain`): if a hundred answers after n bring g, they bring
    `MIN_GAIN` after n sqrt(g / MIN_GAIN).

    Args:
      curve: as for `expected_gain`.
      set_id: of the present answers.
      version: answers that the model in use was trained on; 0 without a model.

    >>> row = {"set_id": 1, "trained_on": 200, "doubt": 0.16}
    >>> progress([row], 1, 0).aim, progress([row], 1, 200)
    (300, Progress(least=400, aim=400, is_forecast=True))
    """
    gain = expected_gain(curve, set_id)
    if not version or gain is None:
        return USUAL
    trained_on = [row["trained_on"] for row in curve if row.get("set_id") == set_id and "doubt" in row][-1]
    aim = math.ceil(max(STEP, trained_on) * math.sqrt(gain / MIN_GAIN))
    return Progress(aim, aim, is_forecast=True)
