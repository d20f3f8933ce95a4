"""Signed union-find: groups of images joined by "similar" answers, and the answers that separate groups."""

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping

from anneal_jax.pairs.evidence import Evidence, SignedAnswer, search

_Set = dict[int, None]
"""A set of numbers. Python's garbage collector skips such a dictionary, but would visit a set: with a
hundred thousand sets it would take a tenth of a second now and then."""

_NOTHING: Mapping[int, _Set] = {}


class Components:
    """Connected components of the "similar" answers, updated as answers are added and removed.

    Each image stores its component, and joining two components rewrites the smaller one (weighted
    quick-find): O(log n) per answer on average, and an image or an answer without a component costs
    nothing. A "dissimilar" answer between two components separates them; inside a component it is refuted
    by the "similar" answers that join its ends, and makes the component contradictory. This depends on the
    answers alone, never on their order.
    """

    def __init__(self) -> None:
        self._component: dict[int, int] = {}
        self._members: dict[int, _Set] = {}
        self._against: dict[int, dict[int, _Set]] = {}
        self._refuted: dict[int, _Set] = {}
        self._fresh = itertools.count()

    def __iter__(self) -> Iterator[int]:
        """Iterate over the components, as arbitrary numbers."""
        return iter(self._members)

    def of(self, image: int) -> int | None:
        """Return the component of an image; None if no answer names it."""
        return self._component.get(image)

    def members(self, component: int) -> Collection[int]:
        """Return the images of a component, in no particular order."""
        return self._members[component]

    def against(self, component: int) -> Mapping[int, Collection[int]]:
        """Return, for each opposed component, the ids of the "dissimilar" answers between the two."""
        return self._against.get(component, _NOTHING)

    def is_contradictory(self, component: int) -> bool:
        """Return whether "similar" answers join two images that another answer calls dissimilar."""
        return component in self._refuted

    def num_contradictory(self) -> int:
        """Return the number of contradictory components."""
        return len(self._refuted)

    def refuted(self) -> list[int]:
        """Return the ids of all "dissimilar" answers inside a component, sorted."""
        return sorted(itertools.chain.from_iterable(self._refuted.values()))

    def add(self, answer_id: int, answer: SignedAnswer) -> frozenset[int]:
        """Add an answer.

        Returns:
          Ids of the "dissimilar" answers that are newly refuted.
        """
        first, second = self._found(answer.first), self._found(answer.second)
        if not answer.is_similar:
            return self._oppose(first, second, answer_id)
        return self._join(first, second) if first != second else frozenset()

    def remove(self, answer_id: int, answer: SignedAnswer, evidence: Evidence) -> None:
        """Remove an answer.

        Args:
          answer_id: its id.
          answer: the answer.
          evidence: all remaining answers, without this one.
        """
        if not answer.is_similar:
            self._unoppose(answer_id, answer)
        elif answer.second not in evidence.similar.get(answer.first, ()):
            path, part = search(evidence.similar, answer.first, answer.second)
            if path is None:
                self._split(part, evidence)
        for image in (answer.first, answer.second):
            if image not in evidence.similar and image not in evidence.dissimilar:
                del self._members[self._component.pop(image)]

    def _found(self, image: int) -> int:
        """Return the component of an image; create one if it has none."""
        component = self._component.get(image)
        return self._found_by([image]) if component is None else component

    def _found_by(self, images: Iterable[int]) -> int:
        component = next(self._fresh)
        self._members[component] = dict.fromkeys(images)
        self._component.update(dict.fromkeys(self._members[component], component))
        return component

    def _oppose(self, first: int, second: int, answer_id: int) -> frozenset[int]:
        if first == second:
            self._refuted.setdefault(first, {})[answer_id] = None
            return frozenset([answer_id])
        ids = self._against.setdefault(first, {}).setdefault(second, {})
        self._against.setdefault(second, {})[first] = ids  # one set, shared by both sides
        ids[answer_id] = None
        return frozenset()

    def _unoppose(self, answer_id: int, answer: SignedAnswer) -> None:
        first, second = self._component[answer.first], self._component[answer.second]
        ids = self._refuted[first] if first == second else self._against[first][second]
        del ids[answer_id]
        if ids:
            return
        if first == second:
            del self._refuted[first]
        else:
            self._drop_edge(first, second)
            self._drop_edge(second, first)

    def _drop_edge(self, component: int, opposed: int) -> None:
        del self._against[component][opposed]
        if not self._against[component]:
            del self._against[component]

    def _weight(self, component: int) -> int:
        return len(self._members[component]) + len(self.against(component))

    def _join(self, first: int, second: int) -> frozenset[int]:
        """Merge two components; the answers that separated them are then refuted."""
        lighter, heavier = sorted((first, second), key=self._weight)
        members = self._members.pop(lighter)
        self._members[heavier].update(members)
        self._component.update(dict.fromkeys(members, heavier))
        fresh = frozenset(self.against(lighter).get(heavier, ()))
        if fresh:
            self._drop_edge(heavier, lighter)
            self._drop_edge(lighter, heavier)
        refuted = dict.fromkeys(fresh) | self._refuted.pop(lighter, {})
        if refuted:
            self._refuted.setdefault(heavier, {}).update(refuted)
        for opposed, ids in self._against.pop(lighter, {}).items():
            self._redirect(opposed, ids, lighter, heavier)
        return fresh

    def _redirect(self, opposed: int, ids: _Set, lighter: int, heavier: int) -> None:
        """Move the answers between `opposed` and `lighter` to `heavier`."""
        del self._against[opposed][lighter]
        standing = self._against.setdefault(heavier, {}).get(opposed, {})
        small, large = sorted((ids, standing), key=len)
        large.update(small)
        self._against[heavier][opposed] = self._against[opposed][heavier] = large

    def _split(self, part: set[int], evidence: Evidence) -> None:
        """Make `part` of one component a component of its own."""
        touched = {
            answer_id
            for image in part
            for ids in evidence.dissimilar.get(image, {}).values()
            for answer_id in ids
        }
        for answer_id in touched:
            self._unoppose(answer_id, evidence.answers[answer_id])
        whole = self._component[next(iter(part))]
        for image in part:
            del self._members[whole][image]
        self._found_by(part)
        for answer_id in touched:
            first, second, _ = evidence.answers[answer_id]
            self._oppose(self._component[first], self._component[second], answer_id)
