"""Types shared by the parts of an annotation session."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from anneal_jax.types import Answer, PairIndices, PairLabels


class AnsweredPairs(NamedTuple):
    """Pairs with a sure answer, all of one origin.

    Attributes:
      pair_indices: int32[P, 2].
      labels: int8[P], 1 similar, 0 dissimilar.
    """

    pair_indices: PairIndices
    labels: PairLabels


class Evidence(NamedTuple):
    """Answers that a model was not trained on.

    Attributes:
      audits: for each model, the labels of the draws that measure it: 1, 0, 2 for unsure, or None. The same
        position means the same tile and rank for every model.
      answered: answered pairs of each origin; the first with enough pairs is used.
    """

    audits: Sequence[Sequence[int | None]]
    answered: Sequence[AnsweredPairs]


Pair = tuple[int, int]
"""Two tiles, first < second."""

Known = Callable[[int, int], int | None]
"""Returns what is known about a pair: 1 similar, 0 dissimilar, 2 unsure (an `Answer`), or None."""


class Said(NamedTuple):
    """A standing answer as a source sees it.

    Attributes:
      first: a tile.
      second: another one, first < second.
      answer: the answer.
      is_trained: whether models may learn from it; audits and repeats only measure.
      miss_rate: probability that a difference was overlooked, as in a grid.
      is_last: False if the next answer comes from the same choice, about the same tile.
    """

    first: int
    second: int
    answer: Answer
    is_trained: bool = True
    miss_rate: float = 0.0
    is_last: bool = True
