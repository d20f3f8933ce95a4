"""The durable store of questions and answers: one SQLite file, nothing acknowledged is ever lost.

Rows are only ever added (`schema`), each with a checksum chained to the row before it (`hash_chain`); the
file as a whole is sealed while it is closed (`sealed_file`).
"""

import pathlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from anneal_jax.answers import acts, reading, schema, sets, writing
from anneal_jax.answers.glances import AnsweredGlance, checked
from anneal_jax.answers.reading import (
    Answered,
    AnswerRecord,
    Looks,
    Question,
    Tally,
)
from anneal_jax.answers.sealed_file import SealedFile
from anneal_jax.answers.sets import AnswerSet
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer, FloatArray, PairIndices


class AnswerStore(SealedFile):
    """Questions and answers of one workdir.

    Every method opens its own short transaction; a reader never blocks the writer for long. One process
    at a time should write (`anneal_jax.files.workdir.locked`); where two do, each answer still counts once.

    Answers belong to a set, and a set to the sentence that says what "similar" means. All methods but
    `records`, `find`, `sets` and `sentences` speak of the present set.

    A question has one answer at most that stands. The same answer again, or a request with a `key` that
    was seen before, stores nothing and returns what the first one returned; another answer is refused until
    the first is retracted. The same pair may be asked again as another question.

    An unsure answer is never trained on, and its pair is not asked again by any later round of its set;
    only a `repeat` may.

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = AnswerStore(f"{folder}/answers.sqlite", ["a.png", "b.png", "c.png"])
    ...     store.add_round(0, np.array([[0, 1], [1, 2]], np.int32))
    ...     first, second = store.unanswered(0)
    ...     once = store.record(first.question_id, Answer.SIMILAR, annotator="Ada", key="tap 1")
    ...     again = store.record(first.question_id, Answer.SIMILAR, annotator="Ada", key="tap 1")
    ...     (undone,) = store.undo(annotator="Ada")
    ...     once == again == undone.answer_id, store.unanswered(0) == [first, second], store.tally()
    (True, True, Tally(num_answers=0, num_unsure=0, bits_spent=1.0, elapsed_s=0.0))
    """

    def __init__(self, path: str | pathlib.Path, image_ids: Sequence[str], *, read_only: bool = False):
        """Open the store, creating it for an archive with these tile names, and verify it.

        A file of an older version is migrated in one transaction.

        Args:
          path: path of the file.
          image_ids: names of the archive's tiles.
          read_only: write nothing, not even next to the file, which must exist and have this version.

        Raises:
          StoreError: the file is damaged, of another version, or belongs to another archive.
        """
        super().__init__(path, read_only=read_only)
        self._image_ids = tuple(image_ids)
        if self._read_seal() and not self.path.exists():
            raise StoreError(f"the answer store {self.path} is missing; restore it next to its seal.")
        with self._transaction() as connection:
            self._require_seal()
            if read_only:
                schema.verify(connection, self.path, self._image_ids)
            elif schema.prepare(connection, self.path, self._image_ids):
                self._break_seal()

    @property
    def image_ids(self) -> Sequence[str]:
        """Names of the archive's tiles."""
        return self._image_ids

    # Sets.

    def sentence(self) -> str:
        """Return the definition of "similar" in the current set."""
        with self._transaction() as connection:
            return reading.current_set(connection)[1]

    def present_set(self) -> int:
        """Return the number of the current set, from 1."""
        with self._transaction() as connection:
            return reading.current_set(connection)[0]

    def sentences(self) -> dict[int, str]:
        """Return the sentence of every set by its number, from 1."""
        with self._transaction() as connection:
            return reading.sentences(connection)

    def sentences_by_earlier(self) -> dict[str, str]:
        """Map every earlier sentence of a renamed set, folded (`text.folded`), to its current one."""
        with self._transaction() as connection:
            return sets.sentences_by_earlier(connection)

    def is_settled(self) -> bool:
        """Return whether anybody has defined "similar", even if by accepting the default."""
        with self._transaction() as connection:
            return reading.is_settled(connection)

    def set_sentence(self, sentence: str) -> int:
        """Define "similar": switch to the set of this sentence, or begin it if there is none.

        The answers of all other sets stay in the file, but are not trained on meanwhile.

        Returns:
          The number of the current set, from 1.

        Raises:
          StoreError: the sentence is empty, longer than 500 characters or has several lines.
        """
        with self.changing() as connection:
            return sets.say_sentence(connection, sentence)

    def sets(self) -> list[AnswerSet]:
        """Return the current set and all sets with answers, in the order begun."""
        with self._transaction() as connection:
            return sets.listed(connection)

    def begin_set(self, sentence: str, *, annotator: str, key: str | None = None) -> int:
        """Begin a set for another sentence, switch to it, and return its number.

        Raises:
          StoreError: `set_sentence` would refuse the sentence, or a set with answers has it.
        """
        with self.changing() as connection:
            return sets.begin_set(connection, sentence, annotator=annotator, key=key)

    def go_to_set(self, set_id: int, *, annotator: str, key: str | None = None) -> None:
        """Switch to another set and its answers.

        Raises:
          StoreError: there is no such set.
        """
        with self.changing() as connection:
            sets.go_to_set(connection, set_id, annotator=annotator, key=key)

    def rename_set(self, sentence: str, *, annotator: str, key: str | None = None) -> None:
        """Reword the definition of "similar" in the current set and keep its answers.

        Raises:
          StoreError: as `begin_set`.
        """
        with self.changing() as connection:
            sets.rename_set(connection, sentence, annotator=annotator, key=key)

    def undo_set_change(self, *, annotator: str, key: str | None = None) -> bool:
        """Undo a person's last `begin_set`, `go_to_set` or `rename_set`, if nobody answered since.

        Returns:
          Whether there was one, or this key undid it before.
        """
        with self.changing() as connection:
            return sets.undo_change(connection, annotator=annotator, key=key)

    # Questions.

    def add_round(
        self,
        round_index: int,
        pair_indices: PairIndices,
        *,
        similarities: FloatArray | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Commit a round's questions, all or none, before the first one is asked.

        Args:
          round_index: the round; it must be new.
          pair_indices: int32[P, 2], canonical indices into the archive.
          similarities: float32[P], cosine similarity under the model that asks.
          facts: facts about the selection, such as its threshold; strict JSON values.

        Raises:
          StoreError: the round already exists, or a pair is not canonical, is unknown or occurs twice.
        """
        with self.changing() as connection:
            writing.add_round(connection, round_index, facts or {})
            writing.add_questions(connection, round_index, pair_indices, similarities)

    def unanswered(self, round_index: int) -> list[Question]:
        """Return the unanswered questions of a round, in the order asked."""
        with self._transaction() as connection:
            return reading.unanswered(connection, round_index)

    def facts(self, round_index: int) -> dict[str, Any] | None:
        """Return what `add_round` recorded about a round, or None if it was not asked."""
        with self._transaction() as connection:
            return reading.facts(connection, round_index)

    def set_similarities(self, round_index: int, similarities: FloatArray) -> None:
        """Record out-of-sample similarities for a round that was asked before any model existed.

        Similarities already recorded are kept.

        Args:
          round_index: the round.
          similarities: float32[P], one for each of the round's answers in `answered`, in that order.
        """
        with self.changing() as connection:
            writing.score(connection, round_index, similarities)

    # Answers.

    def record(
        self,
        question_id: int,
        answer: Answer,
        *,
        annotator: str,
        key: str | None = None,
        elapsed_s: float | None = None,
    ) -> int:
        """Store an answer durably; it is on disk when this returns.

        Args:
          question_id: id of a question of this store.
          answer: the answer.
          annotator: name of the person.
          key: the caller's key for this request, which identifies repeats.
          elapsed_s: seconds from question to answer.

        Returns:
          The id of the answer; if it was stored before, its earlier id.

        Raises:
          StorageFullError: the disk is full; the answer was not stored.
          StoreError: the question is unknown or already has another answer, or the key is in use.
        """
        with self.changing() as connection:
            return writing.answer(
                connection, question_id, answer, annotator=annotator, key=key, elapsed_s=elapsed_s
            )

    def record_all(self, answers: Sequence[tuple[int, Answer]], *, annotator: str) -> None:
        """Store several answers durably, all or none; see `record`.

        Args:
          answers: (question_id, answer) for each.
          annotator: name of the person.
        """
        with self.changing() as connection:
            for question_id, answer in answers:
                writing.answer(connection, question_id, answer, annotator=annotator)

    def give(self, given: Sequence[Given]) -> list[int]:
        """Store answers that were not asked for, all or none, such as marks or an imported file.

        Returns:
          The id of each answer; a known key keeps its answer.

        Raises:
          StorageFullError, StoreError: as for `record`, or a pair is not in this archive.
        """
        with self.changing() as connection:
            return writing.give(connection, given)

    def add(self, given: Given) -> AnswerRecord:
        """Store an answer like `give`, and return it as stored."""
        with self.changing() as connection:
            (answer_id,) = writing.give(connection, [given])
            return _stored(connection, answer_id)

    def add_glance(
        self,
        glance: AnsweredGlance,
        *,
        annotator: str,
        kind: str = "training",
        similarities: Mapping[int, float | None] | None = None,
    ) -> list[AnswerRecord]:
        """Store all answers of a glance, or none; a glance with a known key stores nothing.

        Args:
          glance: the answered glance.
          annotator: name of the person.
          kind: kind of its questions.
          similarities: as for `writing.answers_of`.

        Returns:
          Its answers as stored.

        Raises:
          StorageFullError, StoreError: as for `give`; or the glance is invalid, or its key is in use.
        """
        given = writing.answers_of(checked(glance), annotator, kind, similarities or {})
        with self.changing() as connection:
            return [_stored(connection, answer_id) for answer_id in writing.give(connection, given)]

    def replace(
        self, answer_id: int, answer: Answer, *, annotator: str, key: str | None = None
    ) -> tuple[AnswerRecord, AnswerRecord]:
        """Retract an answer and store another one for its pair, both or neither.

        Returns:
          (the retracted answer, the new one).

        Raises:
          StoreError: there is no such answer, or it is already retracted.
        """
        with self.changing() as connection:
            found = reading.record_of(connection, answer_id)
            if found is not None and found.undone_at is not None:
                raise StoreError("this answer was already retracted; reload this page.")
            old = writing.retract(connection, answer_id, annotator)
            given = Given(old.first, old.second, answer, annotator, kind=old.kind, key=key)
            (new_id,) = writing.give(connection, [given])
            return old, _stored(connection, new_id)

    def give_together(
        self, given: Sequence[Given], retracted: Sequence[int], *, annotator: str, key: str | None = None
    ) -> None:
        """Retract answers and add others as one act, all or none; `undo` undoes all of it.

        Args:
          given: new answers, at least one.
          retracted: ids of standing answers.
          annotator: name of the person.
          key: the caller's key for this request; repeating it stores nothing.

        Raises:
          StorageFullError, StoreError: as for `give`, or an answer to retract does not stand.
        """
        with self.changing() as connection:
            acts.give_together(connection, given, retracted, annotator=annotator, key=key)

    def has_act(self, key: str) -> bool:
        """Return whether an act with this key was stored, even if it has been undone since."""
        with self._transaction() as connection:
            return acts.is_key_of_act(connection, key)

    def is_of_act(self, answer_id: int) -> bool:
        """Return whether an answer belongs to an act."""
        with self._transaction() as connection:
            return acts.act_of(connection, answer_id) is not None

    def undo(self, *, annotator: str | None = None, key: str | None = None) -> list[AnswerRecord]:
        """Retract the last standing answer given here, with the whole glance it came from.

        An answer of an act is retracted with the whole act, and answers that the act had retracted are
        added again.

        Args:
          annotator: name of the person; None means anyone.
          key: the caller's key for this request; repeating it does not undo a second answer.

        Returns:
          The retracted answers; none if none is left. Their cost stays spent.
        """
        with self.changing() as connection:
            return acts.undo(connection, annotator, key)

    def retract(self, answer_id: int, *, annotator: str, key: str | None = None) -> AnswerRecord:
        """Retract any answer; one that is already retracted stays retracted.

        Raises:
          StoreError: there is no such answer.
        """
        with self.changing() as connection:
            return writing.retract(connection, answer_id, annotator, key=key)

    # Reading.

    def find(self, answer_id: int) -> AnswerRecord | None:
        """Return any answer of any set, even a retracted one; None if there is none."""
        with self._transaction() as connection:
            return reading.record_of(connection, answer_id)

    def answered(self, last_round: int) -> Answered:
        """Return the answers to train on, from the rounds up to `last_round`, in the order asked.

        Answers of audits, repeats and other sets, and retracted ones, are left out. A pair that was asked
        twice occurs twice.
        """
        with self._transaction() as connection:
            return reading.answered(connection, last_round)

    def audited_pairs(self) -> PairIndices:
        """Return int32[P, 2], the pairs reserved for audits; no round may ask them."""
        with self._transaction() as connection:
            return reading.pairs_of_kind(connection, "audit")

    def records(self) -> list[AnswerRecord]:
        """Return every answer of every set, including retracted ones, in the order given."""
        with self._transaction() as connection:
            return reading.all_records(connection)

    def standing(self) -> list[AnswerRecord]:
        """Return the standing answers of every kind in the current set."""
        with self._transaction() as connection:
            present, _ = reading.current_set(connection)
            found = reading.all_records(connection)
        return [record for record in found if record.set_id == present and record.undone_at is None]

    def tally(self, last_round: int | None = None) -> Tally:
        """Return the cost and the number of answers of the current set, up to a round or in total."""
        with self._transaction() as connection:
            return reading.tally(connection, last_round)

    def looks(self, last_round: int) -> Looks:
        """Return what was looked at for the answers of the current set, up to a round."""
        with self._transaction() as connection:
            return reading.looks(connection, last_round)


def _stored(connection: sqlite3.Connection, answer_id: int) -> AnswerRecord:
    """Return an answer stored by this transaction."""
    record = reading.record_of(connection, answer_id)
    assert record is not None
    return record
