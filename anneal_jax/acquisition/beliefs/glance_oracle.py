"""A simulated person who answers glances as an annotator answers pairs, and overlooks some tiles."""

from typing import NamedTuple

from anneal_jax.acquisition.beliefs.glances import MISS_RATE, Glance
from anneal_jax.seeds import Use, host_rng
from anneal_jax.types import Annotator, Answer


class GlanceOracle(NamedTuple):
    """Answers a glance from the answers about its pairs.

    Attributes:
      annotator: answers about one pair of tiles, first < second.
      num_tiles: number of tiles of the archive.
      seed: determines what is overlooked; looking again overlooks the same.
      miss_rate: share of the odd tiles of grids that are overlooked, in [0, 1].
    """

    annotator: Annotator
    num_tiles: int
    seed: int
    miss_rate: float = MISS_RATE

    def look(self, glance: Glance) -> tuple[list[int], bool]:
        """Return which of a glance's other tiles are picked, and whether the person is unsure.

        Of a pair or choice, the first tile that is similar to the subject is picked, and nobody asks about
        those after it. If none is, and the annotator is unsure about one, the person is unsure. In a grid
        the tiles that are dissimilar are picked, except for those that are overlooked.

        >>> from anneal_jax.pairs.oracle import ClassOracle
        >>> oracle = GlanceOracle(ClassOracle([7, 8, 7, 7]), num_tiles=4, seed=0, miss_rate=0.0)
        >>> oracle.look(Glance("choice", 0, (1, 2, 3), 0.0)), oracle.look(Glance("grid", 0, (1, 2, 3), 0.0))
        (([2], False), ([1], False))
        """
        if glance.kind == "grid":
            return [other for other in glance.others if self._is_clicked(glance.subject, other)], False
        is_unsure = False
        for other in glance.others:
            answer = self._about(glance.subject, other)
            if answer == Answer.SIMILAR:
                return [other], False
            is_unsure |= answer == Answer.UNSURE
        return [], is_unsure

    def _is_clicked(self, subject: int, other: int) -> bool:
        pair = min(subject, other) * self.num_tiles + max(subject, other)
        chance = host_rng(self.seed, pair, Use.OVERSIGHTS).random()
        return chance >= self.miss_rate and self._about(subject, other) == Answer.DISSIMILAR

    def _about(self, first: int, second: int) -> Answer:
        return self.annotator(min(first, second), max(first, second))
