"""Glances: several tiles shown at once, and the answers about pairs that one response implies.

A pair shown alone needs no such record: its answer is complete.
"""

import json
import math
import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from anneal_jax.answers import hash_chain
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer

KINDS = ("choice", "grid")
"""`choice`: which of these groups is a tile like? `grid`: which of these tiles are not like this one?"""

MAX_OTHERS = {"choice": 5, "grid": 12}
"""Maximum number of tiles besides the subject."""


class AnsweredGlance(NamedTuple):
    """A glance and the person's response.

    Attributes:
      key: identifies the glance permanently; the keys of its answers derive from it.
      kind: one of `KINDS`.
      subject: the tile asked about; in a grid, the tile that represents the group.
      others: the other tiles; for a choice, one per group, most likely group first.
      picked: ascending positions in `others`: the odd tiles of a grid, or the group of a choice that the
        subject belongs to, if any. None if the person was unsure.
      elapsed_s: seconds it took; None if unknown.
    """

    key: str
    kind: str
    subject: int
    others: tuple[int, ...]
    picked: tuple[int, ...] | None
    elapsed_s: float | None = None

    def said(self) -> list[tuple[int, Answer]]:
        """Return what the glance says about the subject and each other tile, if anything.

        A choice rules out the groups before the picked one, and says nothing about those after it. In a
        grid, each tile that was not picked counts as similar, although it may have been overlooked; these
        come after the picked ones. "Unsure" applies to all tiles of a grid, but only to the most likely
        group of a choice.

        >>> [answer.name for _, answer in AnsweredGlance("tap 1", "choice", 7, (3, 4, 5), (1,)).said()]
        ['DISSIMILAR', 'SIMILAR']
        >>> [answer.name for _, answer in AnsweredGlance("tap 2", "grid", 7, (3, 4, 5), (1,)).said()]
        ['DISSIMILAR', 'SIMILAR', 'SIMILAR']
        """
        if self.picked is None:
            unsure = self.others if self.kind == "grid" else self.others[:1]
            return [(other, Answer.UNSURE) for other in unsure]
        picked = [self.others[place] for place in self.picked]
        if self.kind == "grid":
            alike = [other for other in self.others if other not in picked]
            odd = [(other, Answer.DISSIMILAR) for other in picked]
            return [*odd, *((other, Answer.SIMILAR) for other in alike)]
        refused = self.others[: self.picked[0]] if self.picked else self.others
        return [(other, Answer.DISSIMILAR) for other in refused] + [
            (other, Answer.SIMILAR) for other in picked
        ]

    @property
    def num_clicks(self) -> int:
        """Number of tiles clicked in a grid; 0 for a choice, which takes one tap."""
        return len(self.picked or ()) if self.kind == "grid" else 0

    def is_weak(self, answer: Answer) -> bool:
        """Return whether an answer only says that a tile was not picked, which may have been overlooked."""
        return self.kind == "grid" and answer == Answer.SIMILAR

    def is_last(self, first: int, second: int) -> bool:
        """Return whether no answer after that about a pair is about the same tile.

        A choice asks about its subject, a grid about each of its other tiles.
        """
        return self.kind == "grid" or self.said()[-1][0] in (first, second)

    def answer_key(self, other: int) -> str:
        """Return the key of the answer about the subject and another tile."""
        return f"{self.key}.{self.others.index(other)}"


def append(
    connection: sqlite3.Connection,
    answered: Iterable[tuple[AnsweredGlance, tuple[int, int, Answer], int]],
) -> None:
    """Append the glances behind some answers, and the ids of their answers.

    Args:
      connection: inside the transaction that appended the answers.
      answered: (glance, answer to which pair, id of the answer).

    Raises:
      StoreError: a glance is invalid, or has other answers than its own.
    """
    by_key: dict[str, tuple[AnsweredGlance, dict[tuple[int, int, Answer], int]]] = {}
    for glance, said, answer_id in answered:
        first, ids = by_key.setdefault(glance.key, (checked(glance), {}))
        if glance != first or said in ids:
            raise StoreError(f"key {glance.key!r} belongs to two different glances; neither was stored.")
        ids[said] = answer_id
    for glance, ids in by_key.values():
        if ids.keys() != {(*sorted((glance.subject, other)), answer) for other, answer in glance.said()}:
            raise StoreError(
                f"the answers of the glance {glance.key!r} are incomplete or differ; none was stored."
            )
        try:
            (glance_id,) = hash_chain.append(connection, "glances", [_to_row(glance)])
        except sqlite3.IntegrityError as error:
            raise StoreError(f"key {glance.key!r} belongs to another glance; give each its own.") from error
        hash_chain.append(
            connection, "glance_answers", [(glance_id, answer_id) for answer_id in ids.values()]
        )


def checked(glance: AnsweredGlance) -> AnsweredGlance:
    """Return a glance that can be stored.

    Raises:
      StoreError: it is invalid.
    """
    if glance.key != glance.key.strip() or not glance.key.isprintable() or not glance.key:
        raise StoreError(
            f"the key {glance.key[:40]!r} of a glance must be one line without spaces around it."
        )
    if glance.kind not in KINDS:
        raise StoreError(f"a glance is one of {', '.join(KINDS)}, not {glance.kind!r}.")
    if glance.elapsed_s is not None and not 0 <= glance.elapsed_s < math.inf:
        raise StoreError(f"elapsed_s={glance.elapsed_s} must be a non-negative number.")
    most, num_others = MAX_OTHERS[glance.kind], len(glance.others)
    if not 1 <= num_others <= most or len({glance.subject, *glance.others}) <= num_others:
        raise StoreError(f"a {glance.kind} shows 1 to {most} different tiles besides its subject.")
    picked = glance.picked or ()
    is_subset = list(picked) == sorted({*picked} & {*range(num_others)})
    if not is_subset or (glance.kind == "choice" and len(picked) > 1):
        raise StoreError(f"{list(picked)} cannot be picked in a {glance.kind} of {num_others} tiles.")
    return glance


def from_row(
    key: str, kind: str, subject: int, others: str, picked: str | None, elapsed_s: float | None
) -> AnsweredGlance:
    """Return the glance of a row of the table `glances`."""
    places = None if picked is None else tuple(json.loads(picked))
    return AnsweredGlance(key, kind, subject, tuple(json.loads(others)), places, elapsed_s)


def _to_row(glance: AnsweredGlance) -> tuple[object, ...]:
    picked = None if glance.picked is None else json.dumps(glance.picked)
    return (glance.key, glance.kind, glance.subject, json.dumps(glance.others), picked, glance.elapsed_s)
