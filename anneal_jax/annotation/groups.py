"""Groups of similar tiles, and the answers that move tiles from one group to another.

A group is a set of tiles joined by "similar" answers. Moving tiles answers "different" for them and the
group they leave, answers "similar" for them and the group they join, and retracts answers that disagree.
The tiles left behind stay together.
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
    """Answers to add and to retract in one step.

    Attributes:
      similar: pairs to answer as similar.
      dissimilar: pairs to answer as different.
      retracted: ids of standing answers that disagree, sorted.
    """

    similar: tuple[Pair, ...]
    dissimilar: tuple[Pair, ...]
    retracted: tuple[int, ...]

    @property
    def num_given(self) -> int:
        """Number of answers to add."""
        return len(self.similar) + len(self.dissimilar)


def act(
    session: AnnotationSession, tab_id: str, chosen: Callable[[StandingAnswers], Act], key: str
) -> dict[str, Any]:
    """Carry out an act for the person on a page; repeating the request has no further effect.

    Args:
      session: holds the answers.
      tab_id: of the page.
      chosen: chooses the answers, given those that stand.
      key: names the request.

    Returns:
      What the page shows.

    Raises:
      StoreError: there is nothing to do, or the answers could not be stored.
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
    """Return the tile that represents a set: the one with the most "similar" answers about the others.

    Ties go to the lowest number.
    """
    return min(tiles, key=lambda tile: (-sum(other in tiles for other in standing.similar_to(tile)), tile))


def moved(standing: StandingAnswers, tiles: Iterable[int], into: int | None) -> Act:
    """Return the act that moves tiles into the group of a tile, or makes a new group of them.

    Args:
      standing: the answers as they are.
      tiles: the tiles to move, from any group or from none.
      into: a tile of the target group; None makes a new group.

    Raises:
      StoreError: there is nothing to move: no tile was given, all are in the target group already, or they
        already form a group.
    """
    target = frozenset() if into is None else frozenset(standing.group_of(into))
    chosen = frozenset(tiles) - target
    if not chosen:
        raise StoreError("there is no tile to move: choose tiles that are not in this group yet.")
    first = next(iter(chosen))
    if into is None and chosen == frozenset(standing.group_of(first)):
        raise StoreError("these tiles are already a group of their own.")
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
    """Return the act that merges several groups, each named by one of its tiles.

    Raises:
      StoreError: they are already one group.
    """
    tiles = [tile for group in groups for tile in standing.group_of(group)]
    return moved(standing, tiles, into)


def _joined(standing: StandingAnswers, pieces: list[frozenset[int]], target: Collection[int]) -> list[Pair]:
    """Return the pairs that join moved pieces to their group, or to the largest of them."""
    head = representative(standing, target or max(pieces, key=lambda piece: (len(piece), -min(piece))))
    others = [piece for piece in pieces if head not in piece]
    return [_pair(head, representative(standing, piece)) for piece in others]


def _rests(standing: StandingAnswers, chosen: frozenset[int]) -> list[frozenset[int]]:
    """Return the tiles that remain in each group that tiles are taken from."""
    rests, seen = [], set()
    for tile in sorted(chosen):
        if tile not in seen:
            group = frozenset(standing.group_of(tile))
            seen |= group
            rests.append(group - chosen)
    return [rest for rest in rests if rest]


def _kept_together(standing: StandingAnswers, rest: frozenset[int]) -> tuple[frozenset[int], list[Pair]]:
    """Return which of the remaining tiles form one group, and the pairs that keep them together.

    A part that was connected to the others only through moved tiles is joined again, unless an answer says
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
    """Return the answers that join moved tiles to other tiles, or separate moved tiles from each other."""
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
    """Split tiles into the components that "similar" answers between them form."""
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
