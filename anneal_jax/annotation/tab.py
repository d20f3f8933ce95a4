"""One open page, and the questions put to it."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

_MAX_WITHDRAWN = 16
_TIMEOUT_S = 600.0  # whoever says nothing for longer went away, or loaded the page again


class Question(NamedTuple):
    """One question put to one tab.

    Attributes:
      key: names its answer for good.
      first: a tile.
      second: another, first < second.
      kind: as the store keeps it; never shown to whoever answers.
      similarity: cosine by the model in use, which was not trained on the answer; None without a model.
      group: in group mode the tile in question, then tiles of the group it is compared with, its founder
        first.
      is_check: its answer was implied when it was put, and doubted.
    """

    key: str
    first: int
    second: int
    kind: str
    similarity: float | None
    group: tuple[int, ...] = ()
    is_check: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return what the page gets, of which nothing hangs on the kind.

        In group mode the tile in question and the group's founder stand for the pair, as they do in the
        questions that are asked to find groups.
        """
        first, second = sorted(self.group[:2] or (self.first, self.second))
        return {"key": self.key, "first": first, "second": second, "members": self.group[1:]}


class Tab:
    """One open page: who sits before it, and what it was asked."""

    def __init__(self, annotator: str, mode: str):
        """Begin without questions."""
        self.annotator = annotator
        self.mode = mode
        self.issued: dict[str, Question] = {}
        self.withdrawn: dict[str, Question] = {}
        self._last_seen = time.monotonic()

    @property
    def is_here(self) -> bool:
        """Whether the page spoke lately; the questions of one that did not may be put elsewhere."""
        return time.monotonic() - self._last_seen < _TIMEOUT_S

    def touch(self) -> None:
        """Note that the page spoke."""
        self._last_seen = time.monotonic()

    def find(self, key: str) -> Question | None:
        """Return a question that was put here; one withdrawn meanwhile may still be answered."""
        return self.issued.get(key) or self.withdrawn.get(key)

    def keep(self, kept: Callable[[int, Question], bool]) -> None:
        """Withdraw all other questions; `kept` gets the place and the question."""
        withdrawn = [q for place, q in enumerate(self.issued.values()) if not kept(place, q)]
        for question in withdrawn:
            self.withdrawn[question.key] = self.issued.pop(question.key)
        while len(self.withdrawn) > _MAX_WITHDRAWN:
            self.withdrawn.pop(next(iter(self.withdrawn)))
