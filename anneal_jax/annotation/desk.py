"""The desk: puts questions, takes answers, and knows what follows from them. One thread at a time uses it.

An answer is committed to the store first, then taken into the graph, then acknowledged. All that the desk
holds besides is made from the store, so a new desk on the same store goes on where the old one was killed.
"""

import itertools
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from anneal_jax.annotation.audits import AuditDraws, Precision, draw_audits
from anneal_jax.annotation.questions import (
    GroupQuestions,
    ListedPairs,
    Pair,
    QuestionSource,
    Said,
    cold_start_pairs,
    replayed,
)
from anneal_jax.errors import StoreError
from anneal_jax.pairs import records, writing
from anneal_jax.pairs.agreement import agreements, consistencies
from anneal_jax.pairs.drawing import draw_random_pairs
from anneal_jax.pairs.graph import AnswerGraph
from anneal_jax.pairs.records import TRAINED_KINDS, Answered, AnswerRecord
from anneal_jax.pairs.store import AnswerStore
from anneal_jax.pairs.writing import Given
from anneal_jax.types import Answer, FloatArray, IntArray, PairIndices

AHEAD = 3
"""Questions that a tab holds: one is shown, the others are prefetched."""

AUDIT_EVERY, REPEAT_EVERY = 25, 50
"""One question in so many is an audit, or repeats an old one."""

NEAR_IDENTICAL = 0.9995
"""Cosine of the features from which on two tiles are taken for copies, and never asked about."""

MODES = ("pairs", "groups")

_REPEAT_AFTER = 20  # answers in between
_RANDOM_PAIRS = 5_000  # behind the chosen ones, so that there is always something to ask
_LOOKED_AT = 20_000  # proposals, at most, for one question
_MOST_TABS = 64
_LONGEST_S = 600.0  # whoever takes longer went away
_COUNT_SHARE = 50  # counting what is implied may take this part of the time


class Question(NamedTuple):
    """One question put to one tab.

    Attributes:
      key: names its answer for good.
      first: a tile.
      second: another, first < second.
      kind: as the store keeps it; never told to whoever answers.
      similarity: cosine by the model in use, which was not trained on the answer; None without a model.
      members: in group mode tiles of the group asked about, its founder first.
    """

    key: str
    first: int
    second: int
    kind: str
    similarity: float | None
    members: tuple[int, ...] = ()


class Tab:
    """One open page: who sits before it, and what it was asked."""

    def __init__(self, annotator: str, mode: str):
        """Begin without questions."""
        self.annotator = annotator
        self.mode = mode
        self.issued: dict[str, Question] = {}


class Guide(NamedTuple):
    """Where the next questions come from: the features, or a model, and what is chosen by them.

    Attributes:
      embeddings: float32[N, D], unit norm.
      version: 0 for features alone, else the number of answers the model was trained on.
      sources: by mode.
      audits: the draws that measure it.
    """

    embeddings: FloatArray
    version: int
    sources: Mapping[str, QuestionSource]
    audits: AuditDraws


def make_guide(
    embeddings: FloatArray, *, seed: int, version: int = 0, chosen: Sequence[Pair] = ()
) -> Guide:
    """Choose questions by embeddings: `chosen` ones first, then the cold start, then any.

    Args:
      embeddings: float32[N, D], unit norm; centred features before there is a model.
      seed: of the draws.
      version: number of answers that the model was trained on.
      chosen: the model's most uncertain pairs, the most uncertain first.
    """
    rng = np.random.default_rng([seed, 0xA5C])
    first = cold_start_pairs(embeddings, seed=seed)
    rest = draw_random_pairs(rng, len(embeddings), _RANDOM_PAIRS, known=np.empty(0, np.int64))
    listed = [*chosen, *map(tuple, first.tolist()), *map(tuple, rest.tolist())]
    order = rng.permutation(len(embeddings)).astype(np.int32)
    sources = {"pairs": ListedPairs(listed), "groups": GroupQuestions(embeddings, order)}
    return Guide(embeddings, version, sources, draw_audits(embeddings, seed=seed))


class Desk:
    """Questions, answers and what follows, over one open store."""

    def __init__(self, store: AnswerStore, directions: FloatArray, copies: IntArray, guide: Guide):
        """Take up the answers that stand.

        Args:
          store: open; nobody else writes to it.
          directions: float32[N, F], centred features of unit length; they tell near copies.
          copies: int[N], equal numbers for byte-identical tiles.
          guide: chooses the questions.
        """
        self._store = store
        self._directions = directions
        self._copies = copies
        self._guide = guide
        self._tabs: dict[str, Tab] = {}
        self._reload()

    # What a page asks for.

    def open_tab(self, tab_id: str, annotator: str, mode: str = "pairs") -> dict[str, Any]:
        """Begin, or go on with, a tab, and return what it shows.

        Raises:
          StoreError: the name cannot be stored.
        """
        annotator = writing.text_of("annotator", annotator)
        tab = self._tabs.pop(tab_id, None)
        if tab is None or (tab.annotator, tab.mode) != (annotator, mode):
            tab = Tab(annotator, mode)
        self._tabs[tab_id] = tab
        while len(self._tabs) > _MOST_TABS:
            self._tabs.pop(next(iter(self._tabs)))
        return self.view(tab_id)

    def answer(self, tab_id: str, key: str, said: Answer, elapsed_s: float | None) -> dict[str, Any]:
        """Commit an answer; when this returns, it is on disk. A key that was stored stores nothing.

        Raises:
          StorageFullError, StoreError: it was not stored; the message says why.
        """
        if key in self._keys:
            if self._keys[key] != said:
                raise StoreError("this question has another answer already; undo it first.")
            return self.view(tab_id)
        tab = self._tab(tab_id)
        question = tab.issued.get(key)
        if question is None:
            raise StoreError("this question is not open any more; it was not stored.")
        given = Given(
            question.first,
            question.second,
            said,
            tab.annotator,
            kind=question.kind,
            key=key,
            elapsed_s=None if elapsed_s is None else min(elapsed_s, _LONGEST_S),
            similarity=question.similarity,
        )
        with self._store.changing() as connection:
            (answer_id,) = writing.give(connection, [given])
            record = records.record_of(connection, answer_id)
        assert record is not None
        del tab.issued[key]
        fresh = self._take(record)
        self._bits += record.bits
        self._elapsed_s += record.elapsed_s or 0.0
        self._drop_known()
        return self.view(tab_id) | {"conflict": self._conflict(min(fresh)) if fresh else None}

    def undo(self, tab_id: str, key: str) -> dict[str, Any]:
        """Take back this person's last answer that stands, and put its question again."""
        tab = self._tab(tab_id)
        record = self._store.undo(annotator=tab.annotator, key=key)
        if record is not None and self._forget(record):
            again = self._question(record.first, record.second, record.kind)
            tab.issued = {again.key: again, **dict(itertools.islice(tab.issued.items(), AHEAD - 1))}
        undone = None if record is None else self._told(record)
        return self.view(tab_id) | {"undone": undone}

    def retract(self, tab_id: str, answer_id: int, key: str) -> dict[str, Any]:
        """Take back any one answer.

        Raises:
          StoreError: there is no such answer, or the key is another's.
        """
        record = self._store.retract(answer_id, annotator=self._tab(tab_id).annotator, key=key)
        self._forget(record)
        return self.view(tab_id)

    def correct(self, tab_id: str, answer_id: int, said: Answer, key: str) -> dict[str, Any]:
        """Take an answer back, and give another one for its pair.

        Raises:
          StoreError: as `retract`.
        """
        if key in self._keys:
            return self.view(tab_id)
        tab = self._tab(tab_id)
        with self._store.changing() as connection:
            old = writing.retract(connection, answer_id, tab.annotator)
            given = Given(old.first, old.second, said, tab.annotator, kind=old.kind, key=key)
            (new_id,) = writing.give(connection, [given])
            record = records.record_of(connection, new_id)
        assert record is not None
        self._forget(old)
        fresh = self._take(record)
        self._bits += record.bits
        self._drop_known()
        return self.view(tab_id) | {"conflict": self._conflict(min(fresh)) if fresh else None}

    def set_sentence(self, tab_id: str, sentence: str) -> dict[str, Any]:
        """Say what "similar" means; another sentence begins a new set, and nothing is known any more.

        Raises:
          StoreError: the sentence is empty, too long or not one line.
        """
        if self._store.set_sentence(sentence) != self._set_id:
            for tab in self._tabs.values():
                tab.issued.clear()
            self._reload()
        self._is_sentence_settled = True
        return self.view(tab_id)

    def view(self, tab_id: str) -> dict[str, Any]:
        """Return what a tab shows: its questions and the counters. Kinds and similarities stay here."""
        tab = self._tab(tab_id)
        self._fill(tab)
        shown = [
            {"key": q.key, "first": q.first, "second": q.second, "members": q.members[:6]}
            for q in tab.issued.values()
        ]
        return {"questions": shown, "mode": tab.mode, **self.counters(tab.annotator)}

    def counters(self, annotator: str) -> dict[str, Any]:
        """Return how far the present set is."""
        refuted = self._graph.contradictions()
        return {
            "sentence": self._sentence,
            "sentence_is_settled": self._is_sentence_settled or bool(self._standing),
            "num_answers": len(self._standing),
            "num_known": self._num_known(),
            "bits_spent": round(self._bits, 1),
            "minutes": round(self._elapsed_s / 60, 1),
            "num_contradictions": len(refuted),
            "model_answers": self._guide.version,
            "quality": self.precision()._asdict(),
            "annotator": annotator,
        }

    def contradiction(self) -> dict[str, Any] | None:
        """Return the oldest contradiction that nobody has resolved."""
        refuted = self._graph.contradictions()
        return self._conflict(refuted[0]) if refuted else None

    def answers(self) -> list[dict[str, Any]]:
        """Return the standing answers, the newest first."""
        return [self._told(record) for record in reversed(self._standing.values())]

    def people(self) -> dict[str, Any]:
        """Return how far people agree with each other, and each with their own repeated answers."""
        standing = list(self._standing.values())
        return {
            "agreement": [row._asdict() for row in agreements(standing)],
            "consistency": [row._asdict() for row in consistencies(standing)],
        }

    # What the background needs.

    @property
    def guide(self) -> Guide:
        """What chooses the questions now."""
        return self._guide

    @property
    def set_id(self) -> int:
        """Number of the present set of answers."""
        return self._set_id

    def num_trainable(self) -> int:
        """Return the number of answers to train on; 0 while all of them are one word."""
        said = [answer.is_similar for answer in self._graph.answers.values()]
        return len(said) if 0 < sum(said) < len(said) else 0

    def trainable(self) -> Answered:
        """Return what may be trained on."""
        return self._store.answered(2**31 - 1)

    def reserved(self) -> PairIndices:
        """Return int32[P, 2], pairs that the background may not choose: audited or unsure."""
        pairs = [pair for pair, ids in self._by_pair.items() if not self._is_trained(ids[-1])]
        return np.array(sorted(pairs), np.int32).reshape(-1, 2)

    def precision(self) -> Precision:
        """Return precision@5 of the model in use, by audits."""
        return self._guide.audits.precision(self._label)

    def adopt(self, guide: Guide) -> None:
        """Ask by another model from the next question on; what is shown already stays."""
        self._guide = guide
        self._restart_sources()
        for tab in self._tabs.values():
            tab.issued = dict(itertools.islice(tab.issued.items(), 1))

    # Inside.

    def _tab(self, tab_id: str) -> Tab:
        if tab_id not in self._tabs:
            raise StoreError("this page is not known to the server any more; load it again.")
        return self._tabs[tab_id]

    def _reload(self) -> None:
        """Make everything anew from the store."""
        self._set_id, self._sentence = self._store.present_set(), self._store.sentence()
        tally = self._store.tally()
        self._bits, self._elapsed_s = tally.bits_spent, tally.elapsed_s
        self._keys = {record.key: record.answer for record in self._store.records()}
        self._graph = AnswerGraph("closure")
        self._standing: dict[int, AnswerRecord] = {}
        self._by_pair: dict[Pair, list[int]] = {}
        self._count, self._counted_at, self._count_s = 0, 0.0, 0.0
        self._is_sentence_settled = self._set_id > 1
        self._states: dict[str, Any] = {}
        for record in self._store.standing():
            self._take(record)
        self._restart_sources()
        self._turn = len(self._standing)

    def _restart_sources(self) -> None:
        said = [Said(record.first, record.second, record.answer) for record in self._standing.values()]
        self._states = {mode: replayed(source, said) for mode, source in self._guide.sources.items()}

    def _take(self, record: AnswerRecord) -> frozenset[int]:
        """Take a stored answer in; return the answers it contradicts that were not contradicted before."""
        self._keys[record.key] = record.answer
        if record.undone_at is not None or record.answer_id in self._standing:
            return frozenset()
        self._standing[record.answer_id] = record
        self._by_pair.setdefault((record.first, record.second), []).append(record.answer_id)
        for mode, state in self._states.items():
            said = Said(record.first, record.second, record.answer)
            self._states[mode] = self._guide.sources[mode].absorb(state, said)
        if not self._is_trained(record.answer_id):
            return frozenset()
        is_similar = record.answer == Answer.SIMILAR
        return self._graph.insert(record.answer_id, record.first, record.second, is_similar=is_similar)

    def _forget(self, record: AnswerRecord) -> bool:
        """Let go of an answer that was taken back; False where that was done before."""
        if record.answer_id not in self._standing:
            return False
        if self._is_trained(record.answer_id):
            self._graph.retract(record.answer_id)
        del self._standing[record.answer_id]
        ids = self._by_pair[record.first, record.second]
        ids.remove(record.answer_id)
        if not ids:
            del self._by_pair[record.first, record.second]
        self._restart_sources()
        self._counted_at = 0.0
        return True

    def _is_trained(self, answer_id: int) -> bool:
        record = self._standing[answer_id]
        return record.kind in TRAINED_KINDS and record.answer != Answer.UNSURE

    def _label(self, first: int, second: int) -> int | None:
        """Return what is known of a pair, by answers of any kind: 1, 0, 2 for unsure, or None."""
        implied = self._graph.implied(first, second)
        ids = self._by_pair.get((first, second))
        return implied if implied is not None or not ids else int(self._standing[ids[-1]].answer)

    def _known(self, first: int, second: int) -> int | None:
        """Return the label for those who choose questions: an audit tells them nothing but to keep off."""
        implied = self._graph.implied(first, second)
        if implied is not None or (first, second) not in self._by_pair:
            return implied
        return int(Answer.UNSURE)

    def _fill(self, tab: Tab) -> None:
        if not self._is_sentence_settled and not self._standing:
            return
        while len(tab.issued) < AHEAD:
            question = self._next(tab)
            if question is None:
                return
            tab.issued[question.key] = question

    def _next(self, tab: Tab) -> Question | None:
        self._turn += 1
        taken = {(q.first, q.second) for other in self._tabs.values() for q in other.issued.values()}
        if self._turn % AUDIT_EVERY == 0:
            for pair in self._guide.audits.open_pairs(self._label):
                if self._may_ask(pair, taken):
                    return self._question(*pair, "audit")
        if self._turn % REPEAT_EVERY == REPEAT_EVERY // 2 and (old := self._old_pair()) and old not in taken:
            return self._question(*old, "repeat")
        source = self._guide.sources[tab.mode]
        state, proposals = source.propose(self._states[tab.mode], self._known)
        self._states[tab.mode] = state
        for pair in itertools.islice(proposals, _LOOKED_AT):
            if self._known(*pair) is None and self._may_ask(pair, taken):
                members = source.members(state, pair) if isinstance(source, GroupQuestions) else ()
                return self._question(*pair, "training")._replace(members=members)
        return None

    def _may_ask(self, pair: Pair, taken: set[Pair]) -> bool:
        first, second = pair
        is_copy = float(self._directions[first] @ self._directions[second]) >= NEAR_IDENTICAL
        return pair not in taken and not is_copy and self._copies[first] != self._copies[second]

    def _old_pair(self) -> Pair | None:
        """Return a pair that was answered a while ago and was not repeated yet."""
        old = list(itertools.islice(self._standing.values(), max(0, len(self._standing) - _REPEAT_AFTER)))
        if not old:
            return None
        record = old[self._turn * 7919 % len(old)]  # a prime: other turns, other answers
        pair = record.first, record.second
        return pair if self._is_trained(record.answer_id) and len(self._by_pair[pair]) == 1 else None

    def _question(self, first: int, second: int, kind: str) -> Question:
        embeddings = self._guide.embeddings
        similarity = float(embeddings[first] @ embeddings[second]) if self._guide.version else None
        return Question(secrets.token_hex(16), first, second, kind, similarity)

    def _drop_known(self) -> None:
        """Withdraw questions whose answer follows by now."""
        for tab in self._tabs.values():
            for key, question in list(tab.issued.items()):
                if question.kind == "training" and self._known(question.first, question.second) is not None:
                    del tab.issued[key]

    def _num_known(self) -> int:
        """Return the number of pairs that are answered or implied; of many answers, not counted each time."""
        now = time.monotonic()
        if now - self._counted_at >= _COUNT_SHARE * self._count_s:
            self._count = self._graph.num_derived() + len(self._by_pair)
            self._counted_at, self._count_s = time.monotonic(), time.monotonic() - now
        return self._count

    def _conflict(self, answer_id: int) -> dict[str, Any]:
        return {"chain": [self._told(self._standing[key]) for key in self._graph.chain(answer_id)]}

    def _told(self, record: AnswerRecord) -> dict[str, Any]:
        """Return an answer as pages show it."""
        names = self._store.image_ids
        return {
            "answer_id": record.answer_id,
            "first": record.first,
            "second": record.second,
            "names": [names[record.first], names[record.second]],
            "answer": record.answer.name.lower(),
            "kind": record.kind,
            "annotator": record.annotator,
            "answered_at": record.answered_at,
        }
