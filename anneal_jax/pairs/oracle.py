"""A simulated annotator that answers from class labels."""

from dataclasses import dataclass

from anneal_jax.types import Answer, IntArray


@dataclass(frozen=True)
class ClassOracle:
    """Answers "similar" for tiles of one class; an `Annotator`.

    Attributes:
      labels: int32[N], the class of each tile of the archive.
    """

    labels: IntArray

    def __call__(self, first: int, second: int) -> Answer:
        """Answer for one pair of tiles."""
        return Answer(int(self.labels[first] == self.labels[second]))
