"""One open page and its questions."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from anneal_jax.acquisition.beliefs.glances import Glance
from anneal_jax.annotation.types import Pair

_MAX_WITHDRAWN = 16
_TIMEOUT_S = 600.0  # a page silent for longer was left or reloaded


class Question(NamedTuple):
    """A question shown in one tab.

    Attributes:
      key: identifies its answer permanently.
      first: a tile.
      second: another, first < second.
      kind: as the store records it; never shown to the person who answers.
      similarity: cosine by the model in use, which was not trained on the answer; None without a model.
      is_check: whether its answer was already implied when asked, but doubted.
    """

    key: str
    first: int
    second: int
    kind: str
    similarity: float | None
    is_check: bool = False

    @property
    def pairs(self) -> list[Pair]:
        """The pair asked about."""
        return [(self.first, self.second)]

    @property
    def tiles_in_question(self) -> frozenset[int]:
        """No tiles: other questions may be about the same ones."""
        return frozenset()

    def to_json(self) -> dict[str, Any]:
        """Return what is sent to the page; nothing in it depends on the kind."""
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
    """A choice or a grid shown in one tab.

    Attributes:
      key: identifies its answer permanently.
      glance: what is shown, as `acquisition.beliefs.glances` chose it.
      members: further tiles of the group, for each of the `glance.others` of a choice.
      similarities: cosine of the subject and each other tile under the model in use; None without a model.
    """

    key: str
    glance: Glance
    members: tuple[tuple[int, ...], ...]
    similarities: Mapping[int, float | None]

    @property
    def kind(self) -> str:
        """Kind as the store records it; audits and repeats are always asked as pairs."""
        return "training"

    @property
    def is_check(self) -> bool:
        """Whether an answer was already implied when asked; never for a glance."""
        return False

    @property
    def pairs(self) -> list[Pair]:
        """The pairs asked about, canonical."""
        subject = self.glance.subject
        return [(min(subject, other), max(subject, other)) for other in self.glance.others]

    @property
    def tiles_in_question(self) -> frozenset[int]:
        """The tiles whose groups are asked about."""
        return tiles_in_question(self.glance)

    def to_json(self) -> dict[str, Any]:
        """Return what is sent to the page."""
        shown = self.glance
        return {
            "key": self.key,
            "kind": shown.kind,
            "subject": shown.subject,
            "others": shown.others,
            "members": self.members,
        }


def tiles_in_question(glance: Glance) -> frozenset[int]:
    """Return the tiles that no other glance may ask about meanwhile; for a grid, all of them."""
    return frozenset((glance.subject, *(glance.others if glance.kind == "grid" else ())))


class Tab:
    """One open page: its person and its questions."""

    def __init__(self, annotator: str, mode: str):
        """Open without questions."""
        self.annotator = annotator
        self.mode = mode
        self.issued: dict[str, Question | GlanceQuestion] = {}
        self.withdrawn: dict[str, Question | GlanceQuestion] = {}
        self._last_seen = time.monotonic()

    @property
    def is_here(self) -> bool:
        """Whether the page sent a request recently; if not, its questions may be asked elsewhere."""
        return time.monotonic() - self._last_seen < _TIMEOUT_S

    def touch(self) -> None:
        """Record a request from the page."""
        self._last_seen = time.monotonic()

    def find(self, key: str) -> Question | GlanceQuestion | None:
        """Return a question that was asked here; one withdrawn meanwhile may still be answered."""
        return self.issued.get(key) or self.withdrawn.get(key)

    def keep(self, kept: Callable[[int, Question | GlanceQuestion], bool]) -> None:
        """Keep the questions for which `kept(position, question)` holds, and withdraw the others."""
        withdrawn = [q for place, q in enumerate(self.issued.values()) if not kept(place, q)]
        for question in withdrawn:
            self.withdrawn[question.key] = self.issued.pop(question.key)
        while len(self.withdrawn) > _MAX_WITHDRAWN:
            self.withdrawn.pop(next(iter(self.withdrawn)))
