"""An annotation session issues questions, stores answers and tracks what they imply, in one thread.

An answer is committed to the store first, then added to the graph, then acknowledged. A session makes
everything else that it holds from the store, so a new one continues where the old one was killed.
"""

from collections.abc import Container, Sequence
from typing import Any

from anneal_jax.acquisition.beliefs.glances import Glance
from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import Beliefs
from anneal_jax.annotation.open_tabs import AHEAD, OpenTabs, open_question
from anneal_jax.annotation.questions.audits import Precision
from anneal_jax.annotation.questions.plan import SILENT, QuestionPlan
from anneal_jax.annotation.questions.scheduler import QuestionScheduler
from anneal_jax.annotation.standing_answers import StandingAnswers
from anneal_jax.annotation.tab import GlanceQuestion, Question
from anneal_jax.annotation.types import Evidence, Pair
from anneal_jax.answers.agreement import agreements, consistencies
from anneal_jax.answers.file_answers import FileAnswer, file_answers, undo_of_file
from anneal_jax.answers.glances import AnsweredGlance
from anneal_jax.answers.reading import Answered, AnswerRecord
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.experiments.answered_workdir import EVERY_ROUND
from anneal_jax.types import Answer, FloatArray, IntArray, PairIndices

_MAX_ELAPSED_S = 600.0  # a longer time means that the person went away


class AnnotationSession:
    """Questions, answers and their implications, over one open store."""

    def __init__(
        self,
        store: AnswerStore,
        directions: FloatArray,
        copies: IntArray,
        plan: QuestionPlan,
        *,
        checks: bool = True,
    ):
        """Load the standing answers.

        Args:
          store: an open store that nobody else writes to.
          directions: float32[N, F], centred features of unit length; they identify near copies.
          copies: int[N], equal numbers for byte-identical tiles.
          plan: chooses the questions of this set, and of any later set until one of its models is adopted.
          checks: whether an implied pair may be asked once if the beliefs disagree with what implies it.
        """
        self._store = store
        self._scheduler = QuestionScheduler(directions, copies, checks=checks)
        self._features = self._plan = self._plan_before = plan
        # The plans of the sets that were left, in case somebody returns to them.
        self._left: dict[int, QuestionPlan] = {}
        self._tabs = OpenTabs()
        self._reload()

    # Requests of a page.

    def open_tab(self, tab_id: str, annotator: str, mode: str = "pairs") -> dict[str, Any]:
        """Open a tab or continue with it, and return what it shows.

        Raises:
          StoreError: the person's name cannot be stored.
        """
        self._tabs.open(tab_id, annotator, mode)
        return self.view(tab_id)

    def answer(self, tab_id: str, key: str, said: Answer, elapsed_s: float | None) -> dict[str, Any]:
        """Commit an answer, which is on disk when this returns. A key that was stored stores nothing.

        A repeated request gets the reply to the first one, including any contradiction that the answer
        caused.

        Raises:
          StorageFullError, StoreError: it was not stored; the message says why.
        """
        if key in self._keys:
            return self._again(tab_id, key, said)
        tab = self._tabs[tab_id]
        question = open_question(tab, key, Question)
        given = Given(
            question.first,
            question.second,
            said,
            tab.annotator,
            kind=question.kind,
            key=key,
            elapsed_s=_counted(elapsed_s),
            similarity=question.similarity,
        )
        record = self._store.add(given)
        tab.issued.pop(key, None)
        conflict = self._add_answers([record])
        return self.view(tab_id) | conflict

    def answer_glance(
        self, tab_id: str, key: str, picked: Sequence[int] | None, elapsed_s: float | None
    ) -> dict[str, Any]:
        """Commit the answer to a choice or a grid: the answers for all of its pairs, or none.

        Args:
          tab_id: id of the page.
          key: key of the question; one that is already stored stores nothing and gets the first reply
            again.
          picked: positions in the question's `others`: one or none for a choice, the odd ones for a grid.
            None if the person is unsure.
          elapsed_s: seconds from question to answer; None if unknown.

        Raises:
          StorageFullError, StoreError: it was not stored; the message says why.
        """
        places = None if picked is None else tuple(sorted({*picked}))
        if key in self._glances:
            if self._glances[key][0].picked != places:
                raise StoreError("this question has another answer already; undo it first.")
            refuted = (self._standing.conflict_with(answer_id) for answer_id in self._glances[key][1])
            return self.view(tab_id) | {"conflict": next(filter(None, refuted), None)}
        tab = self._tabs[tab_id]
        question = open_question(tab, key, GlanceQuestion)
        kind, subject, others, _ = question.glance
        answered = AnsweredGlance(key, kind, subject, others, places, _counted(elapsed_s))
        records = self._store.add_glance(
            answered, annotator=tab.annotator, similarities=question.similarities
        )
        tab.issued.pop(key, None)
        conflict = self._add_answers(records)
        return self.view(tab_id) | conflict

    def undo(self, tab_id: str, key: str) -> dict[str, Any]:
        """Undo what this person did last: a change of sets, a mark, an act, or a whole glance.

        The question of an undone glance is asked again.
        """
        tab = self._tabs[tab_id]
        if self._store.undo_set_change(annotator=tab.annotator, key=key):
            self.take_up_set()
            return self.view(tab_id) | {"undone": {"sentence": self._sentence}}
        if (of_file := undo_of_file(self._store, annotator=tab.annotator, key=key)) is not None:
            return self.view(tab_id) | {"undone": self._of_file_to_json(of_file)}
        records = self._store.undo(annotator=tab.annotator, key=key)
        if not records:
            return self.view(tab_id) | {"undone": None}
        if self._store.is_of_act(records[0].answer_id):
            self.catch_up()
        else:
            removed = [record for record in reversed(records) if self._remove_answer(record)]
            if removed and tab.mode != SILENT:
                again = self._again_of(removed[-1])
                tab.keep(lambda place, _: place < AHEAD - 1)
                tab.issued = {again.key: again, **tab.issued}
        undone = {**self._standing.to_json(records[0]), "num_answers": len(records)}
        return self.view(tab_id) | {"undone": undone}

    def _again_of(self, record: AnswerRecord) -> Question | GlanceQuestion:
        """Return the question of an answer, to be asked again."""
        if record.glance is None:
            return self._scheduler.question(record.first, record.second, record.kind)
        _, kind, subject, others, *_ = record.glance
        return self._scheduler.glance_question(Glance(kind, subject, others, 0.0))

    def retract(self, tab_id: str, answer_id: int, key: str) -> dict[str, Any]:
        """Retract an answer.

        Raises:
          StoreError: this set has no such answer, or the key belongs to something else.
        """
        tab = self._tabs[tab_id]
        self._require_here(answer_id)
        self._remove_answer(self._store.retract(answer_id, annotator=tab.annotator, key=key))
        return self.view(tab_id)

    def correct(self, tab_id: str, answer_id: int, said: Answer, key: str) -> dict[str, Any]:
        """Retract an answer and store another one for its pair.

        Raises:
          StoreError: as `retract`, or the answer is already retracted, so there is nothing to correct.
        """
        if key in self._keys:
            return self._again(tab_id, key, said)
        tab = self._tabs[tab_id]
        self._require_here(answer_id)
        old, record = self._store.replace(answer_id, said, annotator=tab.annotator, key=key)
        self._remove_answer(old)
        conflict = self._add_answers([record])
        return self.view(tab_id) | conflict

    def volunteer(self, tab_id: str, pair: Pair, said: Answer, key: str) -> dict[str, Any]:
        """Store an answer that nobody asked for, such as a mark on a search result, and return its id too.

        Raises:
          StoreError: both tiles are the same, or the answer could not be stored.
        """
        if key in self._keys:
            return self._again(tab_id, key, said, pair)
        given = Given(pair[0], pair[1], said, self._tabs[tab_id].annotator, key=key)
        record = self._store.add(given)
        conflict = self._add_answers([record])
        return self.view(tab_id) | conflict | {"answer_id": record.answer_id}

    def require_set(self, set_id: int) -> None:
        """Refuse a request from a page that shows the sentence of another set than the current one.

        Raises:
          StoreError: it is another set.
        """
        if set_id != self._set_id:
            raise StoreError(f"the sentence is now {self._sentence!r}; reload this page.")

    def view(self, tab_id: str) -> dict[str, Any]:
        """Return what a tab shows: its questions and the counters, but no kinds or similarities."""
        tab = self._tabs[tab_id]
        if self.is_settled:
            self._tabs.fill(tab, self._scheduler, self._standing.records)
        shown = [question.to_json() for question in tab.issued.values()]
        return {"questions": shown, "mode": tab.mode, **self.counters(tab.annotator)}

    def counters(self, annotator: str) -> dict[str, Any]:
        """Return the progress of the current set."""
        refuted = self._standing.contradictions()
        return {
            "set_id": self._set_id,
            "sentence": self._sentence,
            "sentence_is_settled": self.is_settled,
            "num_answers": self._standing.num_answers,
            "num_labels": self._standing.num_labels,
            "num_known": self._standing.num_known(),
            "bits_spent": round(self._bits, 1),
            "minutes": round(self._elapsed_s / 60, 1),
            "num_contradictions": len(refuted),
            "model_answers": self._plan.version,
            "quality": self.precision()._asdict(),
            "annotator": annotator,
        }

    def answers(self) -> list[dict[str, Any]]:
        """Return the standing answers, including those about files, newest first."""
        about_pairs = [
            ((record.answer_id, 0), self._standing.to_json(record)) for record in self._standing.records
        ]
        about_files = [
            ((said.last_answer, said.file_answer_id), self._of_file_to_json(said))
            for said in file_answers(self._store)
        ]
        in_order = sorted([*about_pairs, *about_files], key=lambda row: row[0], reverse=True)
        return [row for _, row in in_order]

    def people(self) -> dict[str, Any]:
        """Return how often people agree with each other, and with their own repeated answers."""
        standing = self._standing.records
        return {
            "agreement": [row._asdict() for row in agreements(standing)],
            "consistency": [row._asdict() for row in consistencies(standing)],
        }

    @property
    def store(self) -> AnswerStore:
        """The store of answers; after changing it, call `begin_anew`, `take_up_set` or `catch_up`."""
        return self._store

    @property
    def is_settled(self) -> bool:
        """Whether anybody has defined "similar" yet."""
        return self._is_sentence_settled or bool(self._standing)

    def annotator_of(self, tab_id: str) -> str:
        """Return the name of the person who uses a page.

        Raises:
          StoreError: the page is unknown.
        """
        return self._tabs[tab_id].annotator

    def beliefs(self) -> tuple[BeliefSession, Beliefs] | None:
        """Return the beliefs from which questions are chosen; None if no source uses beliefs."""
        return self._scheduler.beliefs()

    def begin_anew(self) -> None:
        """Reload the store and choose new questions.

        After a change of sets nothing of the old set remains: no model and no open question.
        """
        set_before, set_now = self._set_id, self._store.present_set()
        self._tabs.keep(lambda *_: False)
        if set_now != set_before:
            self._left[set_before] = self._plan
            self._plan = self._plan_before = self._left.get(set_now, self._features)
            self._tabs.forget_withdrawn()
        self._reload()

    def take_up_set(self) -> None:
        """Reload the id and the sentence of the current set."""
        if self._store.present_set() != self._set_id:
            self.begin_anew()
        self._sentence, self._is_sentence_settled = self._store.sentence(), self._store.is_settled()

    def catch_up(self) -> None:
        """Follow the store after several answers were added or retracted."""
        stored = {record.answer_id: record for record in self._store.standing()}
        held = {record.answer_id for record in self._standing.records}
        gone, come = held - stored.keys(), [row for key, row in stored.items() if key not in held]
        self._standing.change(gone, come)
        if gone:
            self._scheduler.remove_answer(*gone)
        for record in come:
            self._note(record)
        self._tabs.withdraw_known(self._scheduler)
        self._drop_model_of_undone()

    # For background training.

    def finish_beliefs(self) -> None:
        """Do what takes long about the newest answer before anybody waits for it."""
        self._scheduler.finish()

    @property
    def plan(self) -> QuestionPlan:
        """The plan that chooses the questions now."""
        return self._plan

    @property
    def plan_before(self) -> QuestionPlan:
        """The plan in use before the last model was adopted or dropped."""
        return self._plan_before

    @property
    def standing(self) -> StandingAnswers:
        """The standing answers and what they imply."""
        return self._standing

    @property
    def set_id(self) -> int:
        """Id of the current set of answers."""
        return self._set_id

    @property
    def sentence(self) -> str:
        """Definition of "similar" in the current set."""
        return self._sentence

    def trainable(self) -> Answered:
        """Return the answers that may be trained on."""
        return self._store.answered(EVERY_ROUND)

    def reserved(self) -> PairIndices:
        """Return int32[P, 2], pairs that background training may not choose: audited or unsure."""
        return self._standing.reserved()

    def precision(self) -> Precision:
        """Return precision@5 of the model in use, measured by audits."""
        return self._plan.audits.precision(self._scheduler.audit_label)

    def evidence(self, taught: Container[Pair], plans: Sequence[QuestionPlan]) -> Evidence:
        """Return evidence for comparing models, one of them trained on answers about the pairs `taught`."""
        audits = [[self._standing.audited(*pair) for pair in plan.audits.pairs] for plan in plans]
        answered = [self._standing.held_out(taught, kind) for kind in ("training", "volunteered")]
        return Evidence(audits, answered)

    def adopt(self, plan: QuestionPlan) -> None:
        """Use another model from the next question on; questions already shown stay."""
        self._plan_before, self._plan = self._plan, plan
        self._scheduler.follow(plan)
        self._tabs.keep(lambda place, _: place == 0)

    # Internal.

    def _of_file_to_json(self, said: FileAnswer) -> dict[str, Any]:
        """Return an answer about a file as pages show it."""
        return {
            "file": said.file_id,
            "tile": said.tile,
            "names": [f"File {said.file_id}", self._store.image_ids[said.tile]],
            "answer": said.answer.name.lower(),
            "annotator": said.annotator,
            "answered_at": said.answered_at,
        }

    def _require_here(self, answer_id: int) -> None:
        """Refuse an answer of another set; the store refuses one that does not exist."""
        if (record := self._store.find(answer_id)) is not None:
            self.require_set(record.set_id)

    def _again(self, tab_id: str, key: str, said: Answer, pair: Pair | None = None) -> dict[str, Any]:
        """Return the reply to a repeated request; its first reply may have been lost."""
        record = self._keys[key]
        is_same = record.answer == said and (pair is None or {*pair} == {record.first, record.second})
        if not is_same:
            raise StoreError("this question has another answer already; undo it first.")
        conflict = self._standing.conflict_with(record.answer_id)
        return self.view(tab_id) | {"conflict": conflict, "answer_id": record.answer_id}

    def _reload(self) -> None:
        """Rebuild everything from the store."""
        self._set_id, self._sentence = self._store.present_set(), self._store.sentence()
        self._is_sentence_settled = self._store.is_settled()
        tally = self._store.tally()
        self._bits, self._elapsed_s = tally.bits_spent, tally.elapsed_s
        self._keys, self._glances = {}, {}
        for record in self._store.records():
            self._note_keys(record)
        self._standing = StandingAnswers(self._store.standing(), self._store.image_ids)
        self._scheduler.begin(self._standing, self._plan)
        self._drop_model_of_undone()

    def _note_keys(self, record: AnswerRecord) -> None:
        self._keys[record.key] = record
        if record.glance is not None:
            self._glances.setdefault(record.glance.key, (record.glance, []))[1].append(record.answer_id)

    def _add_answers(self, records: Sequence[AnswerRecord]) -> dict[str, Any]:
        """Add the stored answers of one glance; return the contradiction that they cause, if any."""
        fresh = frozenset[int]().union(*(self._take_in(record) for record in records))
        self._tabs.withdraw_known(self._scheduler)
        return {"conflict": self._standing.conflict(min(fresh)) if fresh else None}

    def _take_in(self, record: AnswerRecord) -> frozenset[int]:
        """Add a stored answer; return the ids of the answers that it contradicts."""
        self._note(record)
        return self._standing.add_answer(record)

    def _note(self, record: AnswerRecord) -> None:
        """Count an answer and pass it to the scheduler."""
        self._note_keys(record)
        self._bits += record.bits
        self._elapsed_s += record.elapsed_s or 0.0
        self._scheduler.add_answer(record)

    def _remove_answer(self, record: AnswerRecord) -> bool:
        """Remove a retracted answer; False if it was removed before."""
        was_standing = self._standing.remove_answer(record.answer_id)
        if was_standing:
            self._scheduler.remove_answer(record.answer_id)
            self._drop_model_of_undone()
        return was_standing

    def _drop_model_of_undone(self) -> None:
        """Return to the features if the model in use was trained on an answer that no longer stands."""
        if not self._standing.stand(self._plan.answer_ids):
            self.adopt(self._features)


def _counted(elapsed_s: float | None) -> float | None:
    return None if elapsed_s is None else min(elapsed_s, _MAX_ELAPSED_S)
