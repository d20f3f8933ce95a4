"""Forecasts how many answers improve the search, and after how many further answers hardly help."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

STEP = 100
"""Number of further answers that the forecast covers."""

MIN_GAIN = 0.01
"""Expected gain, as a share of the tiles, below which the page says that more answers will hardly help."""

_WRONG_PER_DOUBT = 0.5  # measured: docs/lab/label_efficiency.md, "When to stop"


class Progress(NamedTuple):
    """The total number of answers that the page recommends.

    Attributes:
      least: number of answers after which search may get better; equal to `aim` for a forecast.
      aim: number of answers that fills the bar.
      is_forecast: True if `aim` is the point, according to this set's own models, after which a hundred
        more answers hardly help; False if it is the number that other archives needed until search got
        better.
    """

    least: int
    aim: int
    is_forecast: bool


USUAL = Progress(100, 300, is_forecast=False)
"""Range of answers in which search usually gets better.

In each of 30 runs on UC Merced, RSSCN7 and digits (7 to 21 classes, 1,797 to 2,800 tiles, some annotators
with errors), retrieval on held-out images exceeded the features by 0.05 mAP@5 after 32 to 100 answers
(`python benchmarks/first_gain.py`); before 100 answers a model is rarely used. Within the archive itself
the features are stronger: in one run on UC Merced the learnt model overtook them between 200 and 300
answers (docs/lab/page.md). No other sizes were measured, so nothing is scaled by the number of tiles.
"""


def expected_gain(curve: Sequence[Mapping[str, Any]], set_id: int) -> float | None:
    """Estimate the share of tiles that the next hundred answers move into the right group.

    After n answers, the share of tiles in a wrong group is taken to be half the mean doubt d about their
    groups, and to fall as 1 / n. The next hundred answers then gain 100 d / (2 n).

    Args:
      curve: one row per model, in order, with `set_id`, `trained_on` (answers) and `doubt`.
      set_id: id of the current set of answers.

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
    """Return how many answers are recommended.

    The expected gain falls as 1 / n^2 (`expected_gain`): if a hundred answers gain g after n, they gain
    `MIN_GAIN` after n sqrt(g / MIN_GAIN).

    Args:
      curve: as for `expected_gain`.
      set_id: id of the current set of answers.
      version: number of answers that the model in use was trained on; 0 without a model.

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
