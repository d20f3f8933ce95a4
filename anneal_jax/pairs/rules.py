"""What answers imply about pairs that were not asked: nothing, one step, or the closure.

- `none`: nothing.
- `one_step`: the consequences of two answers that share an image, but not of derived pairs.
- `closure`: everything. Images joined by "similar" answers over any distance form one group, and one
"dissimilar" answer between two groups separates all their images.

Under `one_step` a pair with both labels implied is left out. Under `closure` a group with a "dissimilar"
answer inside contradicts itself: both labels are implied for each of its pairs. It implies nothing, neither
inside nor towards other groups, until one of its answers is retracted.

Source: henkel2023anneal, section 2.3, for `one_step`; `closure`, and both treatments of
contradictions, are this project's.
"""

import itertools
from collections.abc import Callable, Container, Iterator, Mapping
from typing import NamedTuple

from anneal_jax.pairs.components import Components
from anneal_jax.pairs.evidence import Evidence, Ids, distances

Derived = Iterator[tuple[int, int, int]]
"""Triples (first, second, label) with first < second."""


class Rule(NamedTuple):
    """How pairs follow from answers. The functions are never called for a pair that was itself answered.

    Attributes:
      implied: returns the label of a pair, or None.
      explain: returns the ids of a chain of answers from which the label of an implied pair follows.
      derived: yields every implied pair once.
      count: returns the number of implied pairs.
    """

    implied: Callable[[Evidence, Components, int, int], int | None]
    explain: Callable[[Evidence, Components, int, int], Ids]
    derived: Callable[[Evidence, Components], Derived]
    count: Callable[[Evidence, Components], int]


# One step.


def _said(evidence: Evidence, image: int) -> dict[int, int]:
    """Return the label of `image` and each neighbour whose answers agree."""
    similar, dissimilar = evidence.similar.get(image, {}), evidence.dissimilar.get(image, {})
    said = dict.fromkeys(similar, 1) | dict.fromkeys(dissimilar, 0)
    for both in similar.keys() & dissimilar.keys():
        del said[both]
    return said


def _step_labels(evidence: Evidence, first: int, second: int) -> dict[int, int]:
    """Return the label that each image between the two implies for them."""
    one, other = _said(evidence, first), _said(evidence, second)
    return {
        image: min(one[image], other[image])
        for image in one.keys() & other.keys()
        if one[image] or other[image]
    }


def _step_implied(evidence: Evidence, _: Components, first: int, second: int) -> int | None:
    labels = set(_step_labels(evidence, first, second).values())
    return labels.pop() if len(labels) == 1 else None


def _step_explain(evidence: Evidence, _: Components, first: int, second: int) -> Ids:
    between = min(_step_labels(evidence, first, second))
    steps = []
    for end in (first, second):
        label = evidence.label(end, between)
        assert label is not None
        steps.append(min(evidence.ids_between(end, between, label)))
    return tuple(steps)


def _step_derived(evidence: Evidence, _: Components) -> Derived:
    for first in sorted(evidence.similar.keys() | evidence.dissimilar.keys()):
        found: dict[int, set[int]] = {}
        for between, label in _said(evidence, first).items():
            for second, other_label in _said(evidence, between).items():
                if second > first and (label or other_label):
                    found.setdefault(second, set()).add(min(label, other_label))
        for second, labels in sorted(found.items()):
            if len(labels) == 1 and not evidence.is_answered(first, second):
                yield first, second, labels.pop()


def _step_count(evidence: Evidence, components: Components) -> int:
    """Count by listing, because no closed form is known; time grows with the number of two-answer paths."""
    return sum(1 for _ in _step_derived(evidence, components))


# The closure.


def _closure_implied(_: Evidence, components: Components, first: int, second: int) -> int | None:
    one, other = components.of(first), components.of(second)
    if one is None or other is None:
        return None
    if components.is_contradictory(one) or components.is_contradictory(other):
        return None
    if one == other:
        return 1
    return 0 if other in components.against(one) else None


def _closure_explain(evidence: Evidence, components: Components, first: int, second: int) -> Ids:
    one, other = components.of(first), components.of(second)
    assert one is not None and other is not None
    if one == other:
        return evidence.shortest(first, second)
    from_first, from_second = distances(evidence.similar, first), distances(evidence.similar, second)

    def ends(answer_id: int) -> tuple[int, int]:
        near, far, _ = evidence.answers[answer_id]
        return (near, far) if near in from_first else (far, near)

    def length(answer_id: int) -> int:
        near, far = ends(answer_id)
        return from_first[near] + from_second[far]

    bridge = min(components.against(one)[other], key=lambda answer_id: (length(answer_id), answer_id))
    near, far = ends(bridge)
    return (*evidence.shortest(first, near), bridge, *evidence.shortest(far, second))


def _blocks(components: Components) -> Iterator[tuple[int, int]]:
    """Yield pairs of components, or a component twice, for which all pairs of images are implied."""
    sound = [component for component in components if not components.is_contradictory(component)]
    for component in sound:
        yield component, component
        for opposed in components.against(component):
            if component < opposed and not components.is_contradictory(opposed):
                yield component, opposed


def _closure_derived(evidence: Evidence, components: Components) -> Derived:
    for one, other in _blocks(components):
        if one == other:
            pairs = itertools.combinations(components.members(one), 2)
        else:
            pairs = itertools.product(components.members(one), components.members(other))
        for first, second in pairs:
            if not evidence.is_answered(first, second):
                yield min(first, second), max(first, second), int(one == other)


def _closure_count(evidence: Evidence, components: Components) -> int:
    """Count from the sizes of groups; the time grows with the answers, not with the pairs."""
    sizes = {
        component: len(components.members(component))
        for component in components
        if not components.is_contradictory(component)
    }
    within = sum(size * (size - 1) // 2 for size in sizes.values())
    between = sum(
        size * sizes.get(opposed, 0) for one, size in sizes.items() for opposed in components.against(one)
    )
    return within + between // 2 - _closure_answered(evidence, components, sizes)


def _closure_answered(evidence: Evidence, components: Components, sound: Container[int | None]) -> int:
    """Count the answered pairs that are also implied: all those between sound groups."""
    if not components.num_contradictory():
        return sum(sum(map(len, joins.values())) for joins in (evidence.similar, evidence.dissimilar)) // 2
    return sum(
        components.of(first) in sound and components.of(second) in sound
        for joins in (evidence.similar, evidence.dissimilar)
        for first, others in joins.items()
        for second in others
        if first < second
    )


RULES: Mapping[str, Rule] = {
    "none": Rule(lambda *_: None, lambda *_: (), lambda *_: iter(()), lambda *_: 0),
    "one_step": Rule(_step_implied, _step_explain, _step_derived, _step_count),
    "closure": Rule(_closure_implied, _closure_explain, _closure_derived, _closure_count),
}
"""Rules by the value of the setting `transitive`."""
