"""The standing answers of the current set and what they imply, held in memory next to the store."""

from collections import Counter
from collections.abc import Collection, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from anneal_jax.acquisition.beliefs.glances import MISS_RATE
from anneal_jax.annotation.types import AnsweredPairs, Pair, Said
from anneal_jax.answers.reading import TRAINED_KINDS, AnswerRecord
from anneal_jax.pairs.answer_graph import AnswerGraph
from anneal_jax.types import Answer, PairIndices

_MANY = 64  # from this many removals on, rebuilding from the others is faster
_COUNTED_EACH_TIME = 1_000  # with n times as many answers, implied pairs are counted every n-th time


class StandingAnswers:
    """The standing answers of one set, and the graph of those that may be trained on."""

    def __init__(self, records: Iterable[AnswerRecord], image_ids: Sequence[str]):
        """Add answers in the order given."""
        self._image_ids = image_ids
        self._begin(records)

    def _begin(self, records: Iterable[AnswerRecord]) -> None:
        self._graph = AnswerGraph("closure")
        self._standing: dict[int, AnswerRecord] = {}
        self._by_pair: dict[Pair, list[int]] = {}
        self._labels: set[int] = set()  # answers that came from class labels
        self._labelled: Counter[int] = Counter()  # number of them at each tile
        self._untrained: set[int] = set()  # audits, repeats and unsure answers
        self._count, self._counted = 0, -1
        for record in records:
            self.add_answer(record)

    def __len__(self) -> int:
        return len(self._standing)

    @property
    def num_answers(self) -> int:
        """Number of answers given pair by pair, not as class labels."""
        return len(self) - len(self._labels)

    @property
    def num_labels(self) -> int:
        """Number of tiles with a class label."""
        return len(self._labelled)

    def are_labelled(self, first: int, second: int) -> bool:
        """Return whether both tiles have a class label."""
        return self._labelled[first] > 0 and self._labelled[second] > 0

    @property
    def records(self) -> list[AnswerRecord]:
        """The answers, in the order given."""
        return list(self._standing.values())

    @property
    def tiles(self) -> set[int]:
        """The tiles that occur in an answer."""
        return {tile for pair in self._by_pair for tile in pair}

    @property
    def said(self) -> list[tuple[int, Said]]:
        """The answers by their ids, as sources of questions see them, in the order given."""
        return [(record.answer_id, said_of(record)) for record in self._standing.values()]

    def add_answer(self, record: AnswerRecord) -> frozenset[int]:
        """Add a stored answer.

        Returns:
          Ids of the "dissimilar" answers that this one newly contradicts.
        """
        if record.undone_at is not None or record.answer_id in self._standing:
            return frozenset()
        self._standing[record.answer_id] = record
        self._by_pair.setdefault((record.first, record.second), []).append(record.answer_id)
        if record.kind == "label":
            self._labels.add(record.answer_id)
            self._labelled.update((record.first, record.second))
        if not _is_trained(record):
            self._untrained.add(record.answer_id)
            return frozenset()
        is_similar = record.answer == Answer.SIMILAR
        return self._graph.insert(record.answer_id, record.first, record.second, is_similar=is_similar)

    def remove_answer(self, answer_id: int) -> bool:
        """Remove a retracted answer; False if it was removed before."""
        record = self._standing.pop(answer_id, None)
        if record is None:
            return False
        if record.kind == "label":
            self._labels.remove(answer_id)
            self._labelled -= Counter((record.first, record.second))
        if _is_trained(record):
            self._graph.retract(answer_id)
        self._untrained.discard(answer_id)
        pair = record.first, record.second
        self._by_pair[pair].remove(answer_id)
        if not self._by_pair[pair]:
            del self._by_pair[pair]
        self._counted = -1
        return True

    def change(self, gone: Collection[int], come: Iterable[AnswerRecord]) -> None:
        """Remove answers by id and add others; if there are many, rebuild from scratch."""
        if len(gone) > _MANY:
            self._begin([*(row for key, row in self._standing.items() if key not in gone), *come])
            return
        for answer_id in gone:
            self.remove_answer(answer_id)
        for record in come:
            self.add_answer(record)

    def label(self, first: int, second: int) -> int | None:
        """Return the label of a pair from answers of any kind: 1, 0, 2 for unsure, or None."""
        implied = self._graph.implied(first, second)
        ids = self._by_pair.get((first, second))
        return implied if implied is not None or not ids else int(self._standing[ids[-1]].answer)

    def audited(self, first: int, second: int) -> int | None:
        """Return the label of a pair from audits alone, which no model was trained on: 1, 0, 2 or None."""
        ids = self._by_pair.get((first, second), [])
        is_held_out = all(self._standing[answer_id].kind == "audit" for answer_id in ids)
        return int(self._standing[ids[-1]].answer) if ids and is_held_out else None

    def newest(self, first: int, second: int) -> int | None:
        """Return the id of the last standing answer about a pair; None if there is none."""
        ids = self._by_pair.get((first, second))
        return ids[-1] if ids else None

    def known(self, first: int, second: int) -> int | None:
        """Return the label for sources of questions: an audited pair has none, but must not be asked."""
        implied = self._graph.implied(first, second)
        if implied is not None or (first, second) not in self._by_pair:
            return implied
        return int(Answer.UNSURE)

    def was_asked(self, first: int, second: int) -> bool:
        """Return whether somebody has answered a pair, whatever the answer."""
        return (first, second) in self._by_pair

    def held_out(self, taught: Container[Pair], kind: str) -> AnsweredPairs:
        """Return the answers that are new to a model trained on answers about some pairs.

        Args:
          taught: the pairs that the model was trained on.
          kind: kind of the answers, such as `training` for questions and `volunteered` for marks.

        Returns:
          The last answer about every other pair, if it is of this kind and sure.
        """
        pairs = {
            pair: int(record.answer)
            for pair, ids in self._by_pair.items()
            if pair not in taught
            and (record := self._standing[ids[-1]]).kind == kind
            and record.answer != Answer.UNSURE
        }
        return AnsweredPairs(
            np.array([*pairs], np.int32).reshape(-1, 2), np.array([*pairs.values()], np.int8)
        )

    def stand(self, answer_ids: Iterable[int]) -> bool:
        """Return whether all of these answers still stand."""
        return all(answer_id in self._standing for answer_id in answer_ids)

    def num_asked(self, answer_ids: Iterable[int]) -> int:
        """Return how many of these answers stand and were asked for; marks were not."""
        records = (self._standing.get(answer_id) for answer_id in answer_ids)
        return sum(record is not None and record.kind == "training" for record in records)

    def first_of_group(self) -> dict[int, int]:
        """Return the first tile of the group for each tile that answers call similar to another."""
        firsts = ((min(group), group) for group in self._graph.groups() if len(group) > 1)
        return {tile: first for first, group in firsts for tile in group}

    def reserved(self) -> PairIndices:
        """Return int32[P, 2], pairs that may not be chosen: audited or unsure."""
        pairs = [pair for pair, ids in self._by_pair.items() if not _is_trained(self._standing[ids[-1]])]
        return np.array(sorted(pairs), np.int32).reshape(-1, 2)

    def old_pair(self, turn: int, *, after: int) -> Pair | None:
        """Return a pair answered more than `after` answers ago and never repeated; it depends on `turn`."""
        ids = [answer_id for answer_id in self._standing if answer_id not in self._labels][:-after]
        if not ids:
            return None
        record = self._standing[ids[turn * 7919 % len(ids)]]  # a prime, to scatter the choice
        pair = record.first, record.second
        return pair if _is_trained(record) and len(self._by_pair[pair]) == 1 else None

    def trainable_ids(self) -> frozenset[int]:
        """Return the ids of the answers to train on; none while all of them are the same answer."""
        answers = self._graph.answers
        is_mixed = 0 < sum(answer.is_similar for answer in answers.values()) < len(answers)
        return frozenset(answers) if is_mixed else frozenset()

    def num_known(self) -> int:
        """Return the number of pairs answered surely or implied; with many answers it lags a little."""
        if self._counted < 0 or len(self) - self._counted >= max(1, len(self) // _COUNTED_EACH_TIME):
            odd = {(self._standing[key].first, self._standing[key].second) for key in self._untrained}
            not_said = sum(not self._is_said(*pair) for pair in odd)
            self._count = self._graph.num_derived() + len(self._by_pair) - not_said
            self._counted = len(self)
        return self._count

    def _is_said(self, first: int, second: int) -> bool:
        """Return whether a pair is known by its own answers alone: sure ones, and no others imply it."""
        is_trained = any(_is_trained(self._standing[key]) for key in self._by_pair[first, second])
        is_derived = not is_trained and self._graph.implied(first, second) is not None
        return not is_derived and self.label(first, second) != Answer.UNSURE

    def about(self, first: int, second: int) -> list[AnswerRecord]:
        """Return the answers of every kind about a pair, first < second, in the order given."""
        return [self._standing[answer_id] for answer_id in self._by_pair.get((first, second), ())]

    def groups(self) -> Iterator[Collection[int]]:
        """Iterate over the groups that "similar" answers form; a tile without any is a group of one."""
        return self._graph.groups()

    def group_of(self, tile: int) -> Collection[int]:
        """Return the group of a tile; the tile alone if no answer names it."""
        return self._graph.group_of(tile)

    def similar_to(self, tile: int) -> Mapping[int, tuple[int, ...]]:
        """Return, for each tile, the ids of the answers that call it similar to this one."""
        return self._graph.similar_to(tile)

    def dissimilar_to(self, tile: int) -> Mapping[int, tuple[int, ...]]:
        """Return, for each tile, the ids of the answers that call it dissimilar to this one."""
        return self._graph.dissimilar_to(tile)

    def contradictions(self) -> list[int]:
        """Return the ids of the "dissimilar" answers that others contradict, sorted."""
        return self._graph.contradictions()

    def chain(self, answer_id: int) -> list[AnswerRecord]:
        """Return the answers of a contradiction, given its "dissimilar" one; at least one is wrong."""
        return [self._standing[key] for key in self._graph.chain(answer_id)]

    def conflict(self, answer_id: int) -> dict[str, Any]:
        """Return a contradiction as pages show it: a chain of answers, at least one of which is wrong."""
        return {"answer_id": answer_id, "chain": [self.to_json(said) for said in self.chain(answer_id)]}

    def conflict_with(self, answer_id: int) -> dict[str, Any] | None:
        """Return a contradiction that involves an answer; None if there is none."""
        refuted = self._graph.contradictions() if answer_id in self._standing else []
        found = next((key for key in refuted if answer_id in self._graph.chain(key)), None)
        return None if found is None else self.conflict(found)

    def to_json(self, record: AnswerRecord) -> dict[str, Any]:
        """Return an answer as pages show it. Whether it was an audit need no longer be hidden."""
        return {
            "answer_id": record.answer_id,
            "first": record.first,
            "second": record.second,
            "names": [self._image_ids[record.first], self._image_ids[record.second]],
            "answer": record.answer.name.lower(),
            "kind": record.kind,
            "annotator": record.annotator,
            "answered_at": record.answered_at,
        }


def said_of(record: AnswerRecord) -> Said:
    """Return an answer as sources of questions see it."""
    is_trained, miss_rate, is_last = record.kind in TRAINED_KINDS, 0.0, True
    if record.glance is not None:
        # "Unsure" about a grid says nothing about any tile, but the same question is not asked again.
        is_trained &= record.glance.kind != "grid" or record.answer != Answer.UNSURE
        miss_rate = MISS_RATE if record.is_weak else 0.0
        is_last = record.glance.is_last(record.first, record.second)
    return Said(record.first, record.second, record.answer, is_trained, miss_rate, is_last)


def _is_trained(record: AnswerRecord) -> bool:
    return record.kind in TRAINED_KINDS and record.answer != Answer.UNSURE
