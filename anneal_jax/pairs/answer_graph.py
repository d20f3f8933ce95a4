"""The answer graph: what is known about any pair, why, and which answers contradict each other."""

from collections.abc import Collection, Iterator, Mapping

from anneal_jax.errors import unknown_name
from anneal_jax.pairs.components import Components
from anneal_jax.pairs.evidence import Evidence, Ids, SignedAnswer
from anneal_jax.pairs.rules import RULES


class AnswerGraph:
    """Answers, their implications and their contradictions, updated as answers are added and removed.

    The caller chooses the id of every answer. Several answers may be about one pair; if they differ, the
    pair itself has no label. A contradiction is a "dissimilar" answer whose two images are joined by
    "similar" answers. The graph keeps all of its answers; the rule decides what they still imply (`rules`).
    The result does not depend on the order of the answers, so removing one leaves the graph as if it had
    never been added.

    Args:
      transitive: the rule, `none`, `one_step` or `closure`. Contradictions do not depend on it.

    Raises:
      ConfigError: there is no such rule.

    >>> graph = AnswerGraph("closure")
    >>> for answer_id, pair, is_similar in [(7, (0, 1), True), (8, (1, 2), True), (9, (2, 3), False)]:
    ...     assert not graph.insert(answer_id, *pair, is_similar=is_similar)
    >>> graph.implied(0, 3), graph.explain(0, 3), graph.num_derived()
    (0, (7, 8, 9), 3)
    >>> sorted(graph.insert(10, 3, 0, is_similar=True))
    [9]
    >>> graph.chain(9), graph.implied(0, 2)
    ((8, 7, 10, 9), None)
    >>> graph.retract(10)
    >>> graph.implied(0, 3)
    0
    """

    def __init__(self, transitive: str = "closure"):
        if transitive not in RULES:
            raise unknown_name("transitive", transitive, RULES)
        self._rule = RULES[transitive]
        self._evidence = Evidence()
        self._components = Components()

    def __len__(self) -> int:
        return len(self._evidence.answers)

    @property
    def answers(self) -> Mapping[int, SignedAnswer]:
        """The answers by id."""
        return self._evidence.answers

    def insert(self, answer_id: int, first: int, second: int, *, is_similar: bool) -> frozenset[int]:
        """Add an answer.

        Args:
          answer_id: a new id.
          first: an image.
          second: another image.
          is_similar: the answer.

        Returns:
          Ids of the "dissimilar" answers that are newly contradicted, perhaps this one; `chain` returns the
          answers involved. Empty if the answer contradicts nothing.

        Raises:
          ValueError: the id is in use, or both images are the same.
        """
        if answer_id in self._evidence.answers:
            raise ValueError(f"answer {answer_id} is already in the graph.")
        if first == second:
            raise ValueError(f"answer {answer_id} joins image {first} with itself.")
        answer = SignedAnswer(min(first, second), max(first, second), bool(is_similar))
        self._evidence.add(answer_id, answer)
        return self._components.add(answer_id, answer)

    def retract(self, answer_id: int) -> None:
        """Remove an answer, with everything that followed from it.

        Its group is searched from both ends of the answer, and split if nothing else joins them; other
        groups are not visited.

        Raises:
          KeyError: there is no such answer.
        """
        answer = self._evidence.remove(answer_id)
        self._components.remove(answer_id, answer, self._evidence)

    def groups(self) -> Iterator[Collection[int]]:
        """Iterate over the groups that "similar" answers form; an image without any is a group of one.

        >>> graph = AnswerGraph()
        >>> _ = graph.insert(1, 4, 2, is_similar=True), graph.insert(2, 2, 3, is_similar=False)
        >>> sorted(sorted(group) for group in graph.groups())
        [[2, 4], [3]]
        """
        return (self._components.members(component) for component in self._components)

    def group_of(self, image: int) -> Collection[int]:
        """Return the group of an image; the image alone if no answer names it."""
        component = self._components.of(image)
        return (image,) if component is None else self._components.members(component)

    def similar_to(self, image: int) -> Mapping[int, Ids]:
        """Return, for each image, the ids of the answers that call it similar to this one."""
        return self._evidence.similar.get(image, {})

    def dissimilar_to(self, image: int) -> Mapping[int, Ids]:
        """Return, for each image, the ids of the answers that call it dissimilar to this one."""
        return self._evidence.dissimilar.get(image, {})

    def implied(self, first: int, second: int) -> int | None:
        """Return the label of two different images: 1, 0, or None if unknown.

        Answers about the pair itself take precedence over what the rule derives.
        """
        if self._evidence.is_answered(first, second):
            return self._evidence.label(first, second)
        return self._rule.implied(self._evidence, self._components, first, second)

    def explain(self, first: int, second: int) -> Ids:
        """Return the ids of a chain of answers from which the label of a pair follows.

        Returns:
          A shortest chain; one id if the pair itself was answered; empty if nothing is known.
        """
        label = self.implied(first, second)
        if label is None:
            return ()
        if direct := self._evidence.ids_between(first, second, label):
            return (min(direct),)
        return self._rule.explain(self._evidence, self._components, first, second)

    def contradictions(self) -> list[int]:
        """Return the sorted ids of all "dissimilar" answers whose images "similar" answers join."""
        return self._components.refuted()

    def chain(self, answer_id: int) -> Ids:
        """Return the answers of one contradiction, at least one of which is wrong.

        Args:
          answer_id: a "dissimilar" answer from `contradictions`.

        Returns:
          Ids of a shortest chain of "similar" answers that joins its images, then its own id.
        """
        first, second, _ = self._evidence.answers[answer_id]
        return (*self._evidence.shortest(first, second), answer_id)

    def derived_pairs(self) -> Iterator[tuple[int, int, int]]:
        """Yield (first, second, label) of every implied pair that was not itself answered, each once."""
        return self._rule.derived(self._evidence, self._components)

    def num_derived(self) -> int:
        """Return the number of `derived_pairs`; for the closure without listing them."""
        return self._rule.count(self._evidence, self._components)
