"""A glance: several tiles shown at once, and the answers about pairs that one look at them gives.

A pair shown alone needs no record of its own: its answer says all there is.
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
"""Tiles beside the subject, at most."""


class AnsweredGlance(NamedTuple):
    """What was shown at once, and what the person made of it.

    Attributes:
      key: names the glance for good; its answers are named after it.
      kind: one of `KINDS`.
      subject: the tile asked about; in a grid the one that stands for the group.
      others: the tiles beside it, of a choice one for each group, the likeliest group first.
      picked: places in `others`, ascending: of a grid the odd ones, of a choice the one group that the
        subject is like, or none of them. None: the person was unsure.
      elapsed_s: seconds it took; None if unknown.
    """

    key: str
    kind: str
    subject: int
    others: tuple[int, ...]
    picked: tuple[int, ...] | None
    elapsed_s: float | None = None

    def said(self) -> list[tuple[int, Answer]]:
        """Return what the glance says of the subject and each other tile, as far as it says anything.

        A choice denies the groups before the one that was picked, and says nothing of those behind it. Of a
        grid, each tile that was not picked is called similar, though it may have been overlooked; it comes
        after those that were picked. Who is unsure is unsure of all tiles of a grid, of a choice no more
        than of the likeliest group.

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

    def answer_key(self, other: int) -> str:
        """Return the key of the answer about the subject and another tile."""
        return f"{self.key}.{self.others.index(other)}"


def append(
    connection: sqlite3.Connection,
    answered: Iterable[tuple[AnsweredGlance, tuple[int, int, Answer], int]],
) -> None:
    """Append the glances that answers came from, and which answers those are.

    Args:
      connection: inside the transaction that appended the answers.
      answered: (glance, what was said of which pair, id of the answer).

    Raises:
      StoreError: a glance is none, or brings other answers than its own.
    """
    by_key: dict[str, tuple[AnsweredGlance, dict[tuple[int, int, Answer], int]]] = {}
    for glance, said, answer_id in answered:
        first, ids = by_key.setdefault(glance.key, (checked(glance), {}))
        if glance != first or said in ids:
            raise StoreError(f"key {glance.key!r} names two different glances; none was stored.")
        ids[said] = answer_id
    for glance, ids in by_key.values():
        if ids.keys() != {(*sorted((glance.subject, other)), answer) for other, answer in glance.said()}:
            raise StoreError(
                f"the answers of the glance {glance.key!r} are not all there, or not as it says; none was "
                "stored."
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
      StoreError: it is none.
    """
    if glance.key != glance.key.strip() or not glance.key.isprintable() or not glance.key:
        raise StoreError(
            f"the key {glance.key[:40]!r} of a glance must be one line without spaces around it."
        )
    if glance.kind not in KINDS:
        raise StoreError(f"a glance is one of {', '.join(KINDS)}, not {glance.kind!r}.")
    if glance.elapsed_s is not None and not 0 <= glance.elapsed_s < math.inf:
        raise StoreError(f"elapsed_s={glance.elapsed_s} must be a number that is not negative.")
    most, num_others = MAX_OTHERS[glance.kind], len(glance.others)
    if not 1 <= num_others <= most or len({glance.subject, *glance.others}) <= num_others:
        raise StoreError(f"a {glance.kind} shows 1 to {most} different tiles beside its subject.")
    picked = glance.picked or ()
    is_subset = list(picked) == sorted({*picked} & {*range(num_others)})
    if not is_subset or (glance.kind == "choice" and len(picked) > 1):
        raise StoreError(f"of a {glance.kind} of {num_others} tiles nobody can pick {list(picked)}.")
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
