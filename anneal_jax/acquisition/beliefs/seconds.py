"""Expected seconds for a glance: those of an average person, and those fitted to a person's own times."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.answers.reading import Looks

SPREAD = 0.5
"""Prior standard deviation of a part's seconds, relative to the expectation for an average person."""

COMMON = 0.7
"""Prior correlation between the parts: a person who is slow at pairs is slow at grids."""

NOISE = 0.6
"""Standard deviation of one glance's seconds, relative to the expectation."""

LONGEST, SLOWEST = 4.0, 0.25
"""Limits relative to the expectation: the most that a glance counts for, and the least for a fitted
part."""


class GlanceTime(NamedTuple):
    """How long one glance took.

    Attributes:
      kind: "pair", "choice" or "grid".
      num_shown: number of tiles besides the one asked about: 1 for a pair, k for a choice, n for a grid.
      num_clicks: number of tiles clicked in a grid; 0 for others.
      elapsed_s: seconds from when it was shown to its answer.
    """

    kind: str
    num_shown: int
    num_clicks: int
    elapsed_s: float


class GlanceSeconds(NamedTuple):
    """Expected seconds of the parts of a glance.

    Attributes:
      pair: a pair.
      choice: a choice of one group.
      choice_more: each further group of a choice.
      grid: a grid before its tiles.
      grid_tile: each tile of a grid.
      grid_click: each click in a grid.

    >>> round(GlanceSeconds().of("grid", num_shown=12, num_clicks=1), 6)
    6.4
    """

    pair: float = 1.6
    choice: float = 1.6
    choice_more: float = 0.25
    grid: float = 1.5
    grid_tile: float = 0.35
    grid_click: float = 0.7

    def of(self, kind: str, num_shown: int = 1, num_clicks: float = 0.0) -> float:
        """Return the expected seconds of a glance; arguments as for `GlanceTime`."""
        return float(np.dot(_counts(kind, num_shown, num_clicks), self))

    def of_looks(self, looks: Looks) -> float:
        """Return the expected seconds of everything that was looked at."""
        glances = (self.of(one.kind, len(one.others), one.num_clicks) for one in looks.glances)
        return looks.num_pairs * self.pair + sum(glances)

    @classmethod
    def fit(cls, times: Sequence[GlanceTime]) -> "GlanceSeconds":
        """Return the most likely seconds given a person's own times; by default an average person's.

        Linear regression with a Gaussian prior around the expectation for an average person. A time beyond
        `LONGEST` times the expectation is cut to that, because the person went away.

        Args:
          times: in any order.
        """
        anybody = np.array(cls())
        if not times:
            return cls()
        parts = np.array([_counts(*time[:3]) for time in times]) * anybody
        expected = parts.sum(axis=1)
        ratios = np.clip([time.elapsed_s for time in times] / expected, 0, LONGEST)
        shares = parts / expected[:, None] / NOISE
        prior = SPREAD**2 * ((1 - COMMON) * np.eye(len(anybody)) + COMMON)
        precision = np.linalg.inv(prior) + shares.T @ shares
        change = np.linalg.solve(precision, shares.T @ (ratios - 1) / NOISE)
        return cls(*(anybody * np.maximum(1 + change, SLOWEST)).tolist())


def _counts(kind: str, num_shown: int, num_clicks: float) -> npt.NDArray[np.float64]:
    """Return how often each part of `GlanceSeconds` occurs in a glance."""
    counts = {
        "pair": (1, 0, 0, 0, 0, 0),
        "choice": (0, 1, num_shown - 1, 0, 0, 0),
        "grid": (0, 0, 0, 1, num_shown, num_clicks),
    }
    return np.array(counts[kind], np.float64)
