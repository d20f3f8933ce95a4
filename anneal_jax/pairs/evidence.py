"""Answers as a graph of images. It only stores answers, and derives nothing."""

import itertools
from collections.abc import Iterable, Mapping
from typing import NamedTuple

Ids = tuple[int, ...]
"""Answer ids."""

_MIN_LOOKED_AT = 64  # images that one side of a search visits before the other side continues

_Joins = dict[int, dict[int, Ids]]


class SignedAnswer(NamedTuple):
    """One sure answer about two different images."""

    first: int
    second: int
    is_similar: bool


class Evidence:
    """A signed multigraph of answers; its memory grows with the answers, not with the archive.

    Attributes:
      answers: every answer by its id.
      similar: image -> image -> ids of the answers that call the two similar; symmetric.
      dissimilar: likewise.
    """

    def __init__(self) -> None:
        self.answers: dict[int, SignedAnswer] = {}
        self.similar: _Joins = {}
        self.dissimilar: _Joins = {}

    def add(self, answer_id: int, answer: SignedAnswer) -> None:
        """Add an answer."""
        self.answers[answer_id] = answer
        joins = self.similar if answer.is_similar else self.dissimilar
        ids = (*self.ids_between(answer.first, answer.second, answer.is_similar), answer_id)
        joins.setdefault(answer.first, {})[answer.second] = ids
        joins.setdefault(answer.second, {})[answer.first] = ids

    def remove(self, answer_id: int) -> SignedAnswer:
        """Remove an answer, and return it."""
        answer = self.answers.pop(answer_id)
        joins = self.similar if answer.is_similar else self.dissimilar
        ids = tuple(other for other in joins[answer.first][answer.second] if other != answer_id)
        for image, other in ((answer.first, answer.second), (answer.second, answer.first)):
            if ids:
                joins[image][other] = ids
            else:
                del joins[image][other]
            if not joins[image]:
                del joins[image]
        return answer

    def label(self, first: int, second: int) -> int | None:
        """Return the label of the pair itself: 1, 0, or None for no answers or contradictory ones."""
        is_similar = second in self.similar.get(first, ())
        is_dissimilar = second in self.dissimilar.get(first, ())
        return None if is_similar == is_dissimilar else int(is_similar)

    def is_answered(self, first: int, second: int) -> bool:
        """Return whether the pair itself has an answer."""
        return second in self.similar.get(first, ()) or second in self.dissimilar.get(first, ())

    def ids_between(self, first: int, second: int, label: int) -> Ids:
        """Return the ids of the answers that give the pair this label."""
        joins = self.similar if label else self.dissimilar
        return joins.get(first, {}).get(second, ())

    def shortest(self, first: int, second: int) -> Ids:
        """Return a shortest chain of "similar" answers from one image to another; empty for one image.

        Raises:
          ValueError: no chain joins them.
        """
        path, _ = search(self.similar, first, second) if first != second else ([first], None)
        if path is None:
            raise ValueError(f"no similar answers join images {first} and {second}")
        return tuple(min(self.similar[one][next_one]) for one, next_one in itertools.pairwise(path))


def search(
    neighbours: Mapping[int, Iterable[int]], start: int, goal: int
) -> tuple[list[int] | None, set[int]]:
    """Search for a shortest path from both ends at once.

    The side that has visited less continues until it has visited twice as much as the other. Two
    unconnected parts are therefore recognised in about the time that the smaller one takes.

    Args:
      neighbours: image -> the images joined to it.
      start: an image.
      goal: another image.

    Returns:
      The images of a shortest path including both ends, or None; and, if there is no path, every image
      reachable from the end that was exhausted first.

    >>> search({1: [2], 2: [1, 3], 3: [2]}, 1, 3)
    ([1, 2, 3], set())
    >>> search({1: [2], 2: [1]}, 1, 3)
    (None, {1, 2})
    """
    came_from = ({start: start}, {goal: goal})
    frontiers = [[start], [goal]]
    while frontiers[0] and frontiers[1]:
        side = int(len(came_from[1]) < len(came_from[0]))
        frontiers[side], meeting = _advance(
            neighbours, frontiers[side], came_from[side], came_from[1 - side]
        )
        if meeting is not None:
            return _walk(came_from[0], meeting)[::-1] + _walk(came_from[1], meeting)[1:], set()
    return None, set(came_from[1] if frontiers[0] else came_from[0])


def _advance(
    neighbours: Mapping[int, Iterable[int]],
    frontier: list[int],
    seen: dict[int, int],
    seen_by_other: Mapping[int, int],
) -> tuple[list[int], int | None]:
    """Visit whole levels until one side has twice as many images as the other, is exhausted or meets it."""
    limit = 2 * len(seen_by_other) + _MIN_LOOKED_AT
    while frontier and len(seen) <= limit:
        reached = []
        for image in frontier:
            for following in neighbours.get(image, ()):
                if following not in seen:
                    seen[following] = image
                    if following in seen_by_other:
                        return reached, following
                    reached.append(following)
        frontier = reached
    return frontier, None


def distances(neighbours: Mapping[int, Iterable[int]], start: int) -> dict[int, int]:
    """Return the number of steps from an image to each reachable image, nearest first.

    >>> distances({1: [2], 2: [1, 3], 3: [2]}, 1)
    {1: 0, 2: 1, 3: 2}
    """
    steps = {start: 0}
    for image in (queue := [start]):
        for following in neighbours.get(image, ()):
            if following not in steps:
                steps[following] = steps[image] + 1
                queue.append(following)
    return steps


def _walk(came_from: Mapping[int, int], image: int) -> list[int]:
    path = [image]
    while came_from[path[-1]] != path[-1]:
        path.append(came_from[path[-1]])
    return path
