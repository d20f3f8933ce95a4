"""A simulated annotator that answers from class labels, with errors like a person's if requested."""

from dataclasses import dataclass

from anneal_jax.seeds import Use, host_rng
from anneal_jax.types import Answer, IntArray


@dataclass(frozen=True)
class ClassOracle:
    """Answers "similar" for tiles of the same class; an `Annotator`.

    Attributes:
      labels: int32[N], the class of each tile of the archive.
      wrong_share: share of answers that are the opposite of the truth.
      unsure_share: share of answers that are "unsure".
      seed: determines the pairs with errors; asking again gives the same answer.
    """

    labels: IntArray
    wrong_share: float = 0.0
    unsure_share: float = 0.0
    seed: int = 0

    def __call__(self, first: int, second: int) -> Answer:
        """Answer for one pair of tiles.

        >>> import numpy as np
        >>> ClassOracle(np.array([1, 1], np.int32))(0, 1).name
        'SIMILAR'
        >>> ClassOracle(np.array([1, 1], np.int32), wrong_share=1.0)(0, 1).name
        'DISSIMILAR'
        """
        is_similar = bool(self.labels[first] == self.labels[second])
        if self.wrong_share or self.unsure_share:
            pair = first * len(self.labels) + second
            mood = host_rng(self.seed, pair, Use.ERRORS).random()
            if mood < self.unsure_share:
                return Answer.UNSURE
            is_similar ^= bool(mood < self.unsure_share + self.wrong_share)
        return Answer(int(is_similar))
