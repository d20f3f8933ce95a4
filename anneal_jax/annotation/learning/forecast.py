"""Forecasts what the next hundred answers bring, and after how many further answers hardly help.

Source: this project's; its constants were chosen from simulated people. Its interval was widened in view of
all kept cases, and no others have tested it since (docs/lab/label_efficiency.md, "When to stop").
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

STEP = 100
"""Number of further answers that the forecast covers."""

MIN_GAIN = 0.01
"""Expected gain, as a share of the tiles, below which the page says that more answers will hardly help."""

MIN_ANSWERS = 100
"""Number of answers before which nothing is forecast; none was measured with fewer."""

WRONG_PER_DOUBT = 0.5
"""Share of tiles in a wrong group, over the mean doubt about them, at most."""

RIGHT_PER_MOVED = 0.65
"""Tiles that a hundred answers put right, over those that moved in the fifty before."""

RANGE = (0.4, 2.4)
"""With m tiles expected, t (m + 1) - 1 are gained, and t lies between these four times out of five."""

DECAY = 1.3
"""The gain falls as this power of the number of answers: from 0.7 to 1.7 was measured."""

_ROUND = 50  # more digits would promise too much


class Gain(NamedTuple):
    """What the next `STEP` answers put into the right group, as shares of the tiles in [0, 1].

    Attributes:
      least: lower end of the interval that holds four times out of five.
      expected: the mean.
      most: upper end.
    """

    least: float
    expected: float
    most: float


class Progress(NamedTuple):
    """The total number of answers that the page recommends.

    Attributes:
      least: lower end of a range of this number.
      aim: number of answers that fills the bar.
      most: upper end of the range.
      is_forecast: True if these are the points, according to this set's own models, after which a hundred
        more answers hardly help; False if they are the numbers that other archives needed until search got
        better.
    """

    least: int
    aim: int
    most: int
    is_forecast: bool


USUAL = Progress(100, 300, 300, is_forecast=False)
"""Range of answers in which search usually gets better.

In each of 30 runs on UC Merced, RSSCN7 and digits (7 to 21 classes, 1,797 to 2,800 tiles, some annotators
with errors), retrieval on held-out images exceeded the features by 0.05 mAP@5 after 32 to 100 answers
(`python benchmarks/first_gain.py`); before 100 answers a model is rarely used. Within the archive itself
the features are stronger: in one run on UC Merced the learnt model overtook them between 200 and 300
answers (docs/lab/page.md). No other sizes were measured, so nothing is scaled by the number of tiles.
"""


def expected_gain(curve: Sequence[Mapping[str, Any]], set_id: int) -> Gain | None:
    """Estimate the share of tiles that the next hundred answers move into the right group.

    What the last fifty answers moved shows how much answers still change; some of it only moves to and
    fro. No more can be gained than is wrong, and that is at most half of the doubt. One tile is added, so
    that an archive in which nothing has moved is not promised nothing.

    Args:
      curve: one row per model, in order, with `set_id`, `trained_on` (answers), `doubt`, `num_moved` and
        `num_tiles` (`Outlook`).
      set_id: id of the current set of answers.

    Returns:
      The gain with its interval; None before there is a model of `MIN_ANSWERS` answers.

    >>> row = {"set_id": 1, "trained_on": 200, "doubt": 0.1, "num_moved": 39, "num_tiles": 1000}
    >>> [round(share, 3) for share in expected_gain([row], 1)]
    [0.01, 0.026, 0.064]
    """
    row = _last_row(curve, set_id)
    return None if row is None else _gain(row)


def _gain(row: Mapping[str, Any]) -> Gain:
    expected = RIGHT_PER_MOVED * num_open(row)
    least, most = (times * (expected + 1) - 1 for times in RANGE)
    return Gain(*(min(1.0, max(0.0, tiles / row["num_tiles"])) for tiles in (least, expected, most)))


def num_open(row: Mapping[str, Any]) -> float:
    """Return one more than the tiles that answers still move, which are at most those in a wrong group.

    Args:
      row: of a curve, as for `expected_gain`.
    """
    return 1 + min(row["num_moved"], WRONG_PER_DOUBT * row["doubt"] * row["num_tiles"])


def progress(curve: Sequence[Mapping[str, Any]], set_id: int, version: int) -> Progress:
    """Return how many answers are recommended.

    If a hundred answers gain g after n, they gain `MIN_GAIN` after n (g / MIN_GAIN)^(1 / DECAY).

    Args:
      curve: as for `expected_gain`.
      set_id: id of the current set of answers.
      version: number of answers that the model in use was trained on; 0 without a model.

    >>> row = {"set_id": 1, "trained_on": 200, "doubt": 0.1, "num_moved": 39, "num_tiles": 1000}
    >>> progress([row], 1, 0).aim, progress([row], 1, 200)
    (300, Progress(least=200, aim=450, most=850, is_forecast=True))
    """
    row = _last_row(curve, set_id)
    if not version or row is None:
        return USUAL
    counts = (row["trained_on"] * (share / MIN_GAIN) ** (1 / DECAY) for share in _gain(row))
    return Progress(*(_ROUND * math.ceil(count / _ROUND) for count in counts), is_forecast=True)


def _last_row(curve: Sequence[Mapping[str, Any]], set_id: int) -> Mapping[str, Any] | None:
    """Return the row of the set's last model that allows a forecast."""
    for row in reversed(curve):
        # by this version, after fifty answers at least, of some tiles
        is_counted = row.get("num_moved") is not None and row.get("num_tiles")
        if row.get("set_id") == set_id and is_counted and row["trained_on"] >= MIN_ANSWERS:
            return row
    return None
