"""One open page, and the questions put to it."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from anneal_jax.acquisition.beliefs.glances import Glance
from anneal_jax.annotation.types import Pair

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
      is_check: its answer was implied when it was put, and doubted.
    """

    key: str
    first: int
    second: int
    kind: str
    similarity: float | None
    is_check: bool = False

    @property
    def pairs(self) -> list[Pair]:
        """The pair that it asks about."""
        return [(self.first, self.second)]

    @property
    def tiles_in_question(self) -> frozenset[int]:
        """No tile: any other question may be about the same one."""
        return frozenset()

    def to_json(self) -> dict[str, Any]:
        """Return what the page gets, of which nothing hangs on the kind."""
        return {
            "key": self.key,
            "kind": "pair",
            "subject": self.first,
            "others": [self.second],
            "members": [[]],
            "first": self.first,
            "second": self.second,
        }


class GlanceQuestion(NamedTuple):
    """A choice or a grid put to one tab.

    Attributes:
      key: names its answer for good.
      glance: what is shown, as `acquisition.beliefs.glances` chose it.
      members: for each of `glance.others` of a choice, further tiles of its group.
      similarities: cosine of the subject and each other tile by the model in use; None without a model.
    """

    key: str
    glance: Glance
    members: tuple[tuple[int, ...], ...]
    similarities: Mapping[int, float | None]

    @property
    def kind(self) -> str:
        """As the store keeps it; audits and repeats are always put as pairs."""
        return "training"

    @property
    def is_check(self) -> bool:
        """Whether an answer was implied when it was put; never."""
        return False

    @property
    def pairs(self) -> list[Pair]:
        """The pairs that it asks about, canonical."""
        subject = self.glance.subject
        return [(min(subject, other), max(subject, other)) for other in self.glance.others]

    @property
    def tiles_in_question(self) -> frozenset[int]:
        """The tiles whose groups it asks about."""
        return tiles_in_question(self.glance)

    def to_json(self) -> dict[str, Any]:
        """Return what the page gets."""
        shown = self.glance
        return {
            "key": self.key,
            "kind": shown.kind,
            "subject": shown.subject,
            "others": shown.others,
            "members": self.members,
        }


def tiles_in_question(glance: Glance) -> frozenset[int]:
    """Return the tiles that no other glance may ask about meanwhile; of a grid all of them."""
    return frozenset((glance.subject, *(glance.others if glance.kind == "grid" else ())))


class Tab:
    """One open page: who sits before it, and what it was asked."""

    def __init__(self, annotator: str, mode: str):
        """Begin without questions."""
        self.annotator = annotator
        self.mode = mode
        self.issued: dict[str, Question | GlanceQuestion] = {}
        self.withdrawn: dict[str, Question | GlanceQuestion] = {}
        self._last_seen = time.monotonic()

    @property
    def is_here(self) -> bool:
        """Whether the page spoke lately; the questions of one that did not may be put elsewhere."""
        return time.monotonic() - self._last_seen < _TIMEOUT_S

    def touch(self) -> None:
        """Note that the page spoke."""
        self._last_seen = time.monotonic()

    def find(self, key: str) -> Question | GlanceQuestion | None:
        """Return a question that was put here; one withdrawn meanwhile may still be answered."""
        return self.issued.get(key) or self.withdrawn.get(key)

    def keep(self, kept: Callable[[int, Question | GlanceQuestion], bool]) -> None:
        """Withdraw all other questions; `kept` gets the place and the question."""
        withdrawn = [q for place, q in enumerate(self.issued.values()) if not kept(place, q)]
        for question in withdrawn:
            self.withdrawn[question.key] = self.issued.pop(question.key)
        while len(self.withdrawn) > _MAX_WITHDRAWN:
            self.withdrawn.pop(next(iter(self.withdrawn)))
