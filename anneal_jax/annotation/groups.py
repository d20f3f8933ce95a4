"""The groups that the answers tell of, and which answers put tiles into another one.

A group is the tiles that "similar" answers join. A person who moves tiles says no of them and the group
they leave, and yes of them and the group they come to; answers that say otherwise are taken back. What
stays behind stays together.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, NamedTuple

from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.standing_answers import StandingAnswers
from anneal_jax.annotation.types import Pair
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer


class Act(NamedTuple):
    """Answers to give, and to take back, at once.

    Attributes:
      similar: pairs that are called similar.
      dissimilar: pairs that are called different.
      retracted: ids of standing answers that say otherwise, sorted.
    """

    similar: tuple[Pair, ...]
    dissimilar: tuple[Pair, ...]
    retracted: tuple[int, ...]

    @property
    def num_given(self) -> int:
        """How many answers are given."""
        return len(self.similar) + len(self.dissimilar)


def act(
    session: AnnotationSession, tab_id: str, chosen: Callable[[StandingAnswers], Act], key: str
) -> dict[str, Any]:
    """Carry out an act as the person before a page; a repeated request does not repeat it.

    Args:
      session: holds the answers.
      tab_id: of the page.
      chosen: chooses the answers by those that stand.
      key: names the request.

    Returns:
      What the page shows.

    Raises:
      StoreError: there is nothing to do, or it was not stored.
    """
    annotator = session.annotator_of(tab_id)
    if not session.store.has_act(key):
        found = chosen(session.standing)
        said = [(Answer.SIMILAR, found.similar), (Answer.DISSIMILAR, found.dissimilar)]
        given = [Given(*pair, answer, annotator) for answer, pairs in said for pair in pairs]
        session.store.give_together(given, found.retracted, annotator=annotator, key=key)
        session.catch_up()
    return session.view(tab_id)


def representative(standing: StandingAnswers, tiles: Collection[int]) -> int:
    """Return the tile that stands for some: that with most "similar" answers about others of them.

    Of several it is the first by number.
    """
    return min(tiles, key=lambda tile: (-sum(other in tiles for other in standing.similar_to(tile)), tile))


def moved(standing: StandingAnswers, tiles: Iterable[int], into: int | None) -> Act:
    """Return what puts tiles into the group of a tile, or makes a group of them.

    Args:
      standing: the answers as they are.
      tiles: to be moved, out of whatever groups, or of none.
      into: a tile of the group that they go to; None is a new group.

    Raises:
      StoreError: there is nothing to move: no tile, all are in that group, or they are a group already.
    """
    target = frozenset() if into is None else frozenset(standing.group_of(into))
    chosen = frozenset(tiles) - target
    if not chosen:
        raise StoreError("there is no tile to move: choose some that are not in this group yet.")
    first = next(iter(chosen))
    if into is None and chosen == frozenset(standing.group_of(first)):
        raise StoreError("these tiles are a group of their own already.")
    pieces = _pieces(standing, chosen)
    similar = _joined(standing, pieces, target)
    dissimilar: list[Pair] = []
    for rest in _rests(standing, chosen):
        kept, links = _kept_together(standing, rest)
        similar += links
        stays = representative(standing, kept)
        left = [piece for piece in pieces if next(iter(piece)) in standing.group_of(stays)]
        dissimilar += [_pair(representative(standing, piece), stays) for piece in left]
    return Act(tuple(similar), tuple(dissimilar), _contradicting(standing, chosen, target))


def merged(standing: StandingAnswers, groups: Iterable[int], into: int) -> Act:
    """Return what makes one group of several, each named by one of its tiles.

    Raises:
      StoreError: they are one group already.
    """
    tiles = [tile for group in groups for tile in standing.group_of(group)]
    return moved(standing, tiles, into)


def _joined(standing: StandingAnswers, pieces: list[frozenset[int]], target: Collection[int]) -> list[Pair]:
    """Return the pairs that join moved pieces to their group, or to the largest of them."""
    head = representative(standing, target or max(pieces, key=lambda piece: (len(piece), -min(piece))))
    others = [piece for piece in pieces if head not in piece]
    return [_pair(head, representative(standing, piece)) for piece in others]


def _rests(standing: StandingAnswers, chosen: frozenset[int]) -> list[frozenset[int]]:
    """Return what stays of each group that tiles are taken from."""
    rests, seen = [], set()
    for tile in sorted(chosen):
        if tile not in seen:
            group = frozenset(standing.group_of(tile))
            seen |= group
            rests.append(group - chosen)
    return [rest for rest in rests if rest]


def _kept_together(standing: StandingAnswers, rest: frozenset[int]) -> tuple[frozenset[int], list[Pair]]:
    """Return which of the tiles that stay are one group, and the pairs that keep them so.

    A part that hung together with the others by moved tiles alone is joined again, unless an answer says
    that it is different.
    """
    first, *others = sorted(_pieces(standing, rest), key=lambda piece: (-len(piece), min(piece)))
    head, kept, links = representative(standing, first), first, []
    for piece in others:
        if not any(kept & standing.dissimilar_to(tile).keys() for tile in piece):
            links.append(_pair(head, representative(standing, piece)))
            kept |= piece
    return kept, links


def _contradicting(
    standing: StandingAnswers, chosen: frozenset[int], target: Collection[int]
) -> tuple[int, ...]:
    """Return the answers that join moved tiles to others, or keep them apart from each other."""
    together = chosen.union(target)
    ids = {
        answer_id
        for tile in chosen
        for joins, is_wrong in (
            (standing.similar_to(tile), lambda other: other not in chosen),
            (standing.dissimilar_to(tile), lambda other: other in together),
        )
        for answer_id in _ids_of(joins, is_wrong)
    }
    return tuple(sorted(ids))


def _ids_of(joins: Mapping[int, tuple[int, ...]], is_wrong: Callable[[int], bool]) -> Iterable[int]:
    return (answer_id for other, ids in joins.items() if is_wrong(other) for answer_id in ids)


def _pieces(standing: StandingAnswers, tiles: frozenset[int]) -> list[frozenset[int]]:
    """Divide tiles into those that "similar" answers about tiles of theirs alone join."""
    pieces, left = [], set(tiles)
    while left:
        piece = [min(left)]
        left.remove(piece[0])
        for tile in piece:
            reached = left.intersection(standing.similar_to(tile))
            piece += sorted(reached)
            left -= reached
        pieces.append(frozenset(piece))
    return pieces


def _pair(first: int, second: int) -> Pair:
    return (first, second) if first < second else (second, first)
