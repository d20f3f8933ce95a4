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
    was seen before, stores nothing and returns what the first one returned; another answer is refused
    until the first is taken back. The same pair may be put again as another question.

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

        A file of an older version is brought up to date, in one transaction.

        Args:
          path: of the file.
          image_ids: names of the archive's tiles.
          read_only: write nothing, not even beside the file, which must be there and of this version.

        Raises:
          StoreError: the file is damaged, of another version, or belongs to another archive.
        """
        super().__init__(path, read_only=read_only)
        self._image_ids = tuple(image_ids)
        if self._read_seal() and not self._path.exists():
            raise StoreError(f"the answer store {self._path} is gone; restore it beside its seal.")
        with self._transaction() as connection:
            self._require_seal()
            if read_only:
                schema.verify(connection, self._path, self._image_ids)
            elif schema.prepare(connection, self._path, self._image_ids):
                self._break_seal()

    @property
    def image_ids(self) -> Sequence[str]:
        """Names of the archive's tiles."""
        return self._image_ids

    # Sets.

    def sentence(self) -> str:
        """Return what "similar" means in the present set."""
        with self._transaction() as connection:
            return reading.current_set(connection)[1]

    def present_set(self) -> int:
        """Return the number of the present set, from 1."""
        with self._transaction() as connection:
            return reading.current_set(connection)[0]

    def sentences(self) -> dict[int, str]:
        """Return the sentence of every set by its number, from 1."""
        with self._transaction() as connection:
            return reading.sentences(connection)

    def sentences_by_earlier(self) -> dict[str, str]:
        """Return the present sentence of each renamed set by every earlier one, folded (`text.folded`)."""
        with self._transaction() as connection:
            return sets.sentences_by_earlier(connection)

    def is_settled(self) -> bool:
        """Tell whether anybody has said what "similar" means, be it in the words of the default."""
        with self._transaction() as connection:
            return reading.is_settled(connection)

    def set_sentence(self, sentence: str) -> int:
        """Say what "similar" means: go back to the set of this sentence, or begin it where there is none.

        The answers of all other sets stay in the file; nothing is trained on them meanwhile.

        Returns:
          The number of the present set, from 1.

        Raises:
          StoreError: the sentence is empty, longer than 500 characters or not one line.
        """
        with self.changing() as connection:
            return sets.say_sentence(connection, sentence)

    def sets(self) -> list[AnswerSet]:
        """Return the present set and all that have answers, in the order begun."""
        with self._transaction() as connection:
            return sets.listed(connection)

    def begin_set(self, sentence: str, *, annotator: str, key: str | None = None) -> int:
        """Begin a set of another sentence, go to it, and return its number.

        Raises:
          StoreError: the sentence is as `set_sentence` refuses it, or that of a set with answers.
        """
        with self.changing() as connection:
            return sets.begin_set(connection, sentence, annotator=annotator, key=key)

    def go_to_set(self, set_id: int, *, annotator: str, key: str | None = None) -> None:
        """Go to another set, with its answers.

        Raises:
          StoreError: there is no such set.
        """
        with self.changing() as connection:
            sets.go_to_set(connection, set_id, annotator=annotator, key=key)

    def rename_set(self, sentence: str, *, annotator: str, key: str | None = None) -> None:
        """Say in other words what "similar" means in the present set; its answers stay.

        Raises:
          StoreError: as `begin_set`.
        """
        with self.changing() as connection:
            sets.rename_set(connection, sentence, annotator=annotator, key=key)

    def undo_set_change(self, *, annotator: str, key: str | None = None) -> bool:
        """Take back a person's last `begin_set`, `go_to_set` or `rename_set`, if nobody answered since.

        Returns:
          Whether there was one, or this key took it back before.
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
        """Commit a round's questions, all or none, before the first of them is asked.

        Args:
          round_index: the round; it must be new.
          pair_indices: int32[P, 2], canonical indices into the archive.
          similarities: float32[P], cosine similarity by the model that asks.
          facts: what the selection found, such as its threshold; strict JSON values.

        Raises:
          StoreError: the round exists already, or a pair is not canonical, unknown or given twice.
        """
        with self.changing() as connection:
            writing.add_round(connection, round_index, facts or {})
            writing.add_questions(connection, round_index, pair_indices, similarities)

    def unanswered(self, round_index: int) -> list[Question]:
        """Return the questions of a round that still wait for an answer, in the order asked."""
        with self._transaction() as connection:
            return reading.unanswered(connection, round_index)

    def facts(self, round_index: int) -> dict[str, Any] | None:
        """Return what `add_round` recorded of a round, or None where it was not asked."""
        with self._transaction() as connection:
            return reading.facts(connection, round_index)

    def set_similarities(self, round_index: int, similarities: FloatArray) -> None:
        """Record out-of-sample similarities for a round that was asked before any model existed.

        What is recorded already stays.

        Args:
          round_index: the round.
          similarities: float32[P], one for each answer that `answered` has of it, in that order.
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
        """Store one answer durably; when this returns, it is on disk.

        Args:
          question_id: of a question of this store.
          answer: what was said.
          annotator: who said it.
          key: the caller's name for this request, for repeats of it.
          elapsed_s: seconds from question to answer.

        Returns:
          The id of the answer; where it was stored before, the id it got then.

        Raises:
          StorageFullError: the disk is full; the answer was not stored.
          StoreError: the question is unknown, or has another answer already; or the key is another's.
        """
        with self.changing() as connection:
            return writing.answer(
                connection, question_id, answer, annotator=annotator, key=key, elapsed_s=elapsed_s
            )

    def record_all(self, answers: Sequence[tuple[int, Answer]], *, annotator: str) -> None:
        """Store several answers durably, all or none; see `record`.

        Args:
          answers: (question_id, answer) of each.
          annotator: who gave them.
        """
        with self.changing() as connection:
            for question_id, answer in answers:
                writing.answer(connection, question_id, answer, annotator=annotator)

    def give(self, given: Sequence[Given]) -> list[int]:
        """Store answers that were not asked for, all or none: a marked search result, an imported file.

        Returns:
          The id of each answer; a key that is known keeps its answer.

        Raises:
          StorageFullError, StoreError: as `record`, or a pair is not of this archive.
        """
        with self.changing() as connection:
            return writing.give(connection, given)

    def add(self, given: Given) -> AnswerRecord:
        """Store one answer as `give` does, and return it as it stands in the file."""
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
        """Store all answers of a glance, or none; a glance whose key is known stores nothing.

        Args:
          glance: as it was answered.
          annotator: who answered it.
          kind: of its questions.
          similarities: as `writing.answers_of`.

        Returns:
          Its answers as they stand in the file.

        Raises:
          StorageFullError, StoreError: as `give`; or the glance is none, or its key is another's.
        """
        given = writing.answers_of(checked(glance), annotator, kind, similarities or {})
        with self.changing() as connection:
            return [_stored(connection, answer_id) for answer_id in writing.give(connection, given)]

    def replace(
        self, answer_id: int, answer: Answer, *, annotator: str, key: str | None = None
    ) -> tuple[AnswerRecord, AnswerRecord]:
        """Take an answer back and store another one for its pair, both or neither.

        Returns:
          (the answer that was taken back, the new one).

        Raises:
          StoreError: there is no such answer, or it was taken back before.
        """
        with self.changing() as connection:
            found = reading.record_of(connection, answer_id)
            if found is not None and found.undone_at is not None:
                raise StoreError("this answer was taken back already; load this page again.")
            old = writing.retract(connection, answer_id, annotator)
            given = Given(old.first, old.second, answer, annotator, kind=old.kind, key=key)
            (new_id,) = writing.give(connection, [given])
            return old, _stored(connection, new_id)

    def give_together(
        self, given: Sequence[Given], retracted: Sequence[int], *, annotator: str, key: str | None = None
    ) -> None:
        """Take answers back and give others as one act: all or none, and `undo` takes all of it back.

        Args:
          given: new answers, one at least.
          retracted: ids of answers that stand.
          annotator: whose act it is.
          key: the caller's name for this request; the same key again stores nothing.

        Raises:
          StorageFullError, StoreError: as `give`, or an answer to be taken back does not stand.
        """
        with self.changing() as connection:
            acts.give_together(connection, given, retracted, annotator=annotator, key=key)

    def has_act(self, key: str) -> bool:
        """Tell whether an act of this key was stored, also if it was taken back since."""
        with self._transaction() as connection:
            return acts.is_key_of_act(connection, key)

    def is_of_act(self, answer_id: int) -> bool:
        """Tell whether an answer was given by an act of several."""
        with self._transaction() as connection:
            return acts.act_of(connection, answer_id) is not None

    def undo(self, *, annotator: str | None = None, key: str | None = None) -> list[AnswerRecord]:
        """Take back the last answer that stands and was given here, with the whole glance it came from.

        An answer of an act is taken back with the whole of it, and what the act had taken back is given
        again.

        Args:
          annotator: whose; None is anyone's.
          key: the caller's name for this request; the same key again undoes no second answer.

        Returns:
          The answers that were taken back; none if none is left. What they cost stays spent.
        """
        with self.changing() as connection:
            return acts.undo(connection, annotator, key)

    def retract(self, answer_id: int, *, annotator: str, key: str | None = None) -> AnswerRecord:
        """Take back any one answer; one that was taken back already stays so.

        Raises:
          StoreError: there is no such answer.
        """
        with self.changing() as connection:
            return writing.retract(connection, answer_id, annotator, key=key)

    # Reading.

    def find(self, answer_id: int) -> AnswerRecord | None:
        """Return any one answer of any set, also one that was taken back; None if there is none."""
        with self._transaction() as connection:
            return reading.record_of(connection, answer_id)

    def answered(self, last_round: int) -> Answered:
        """Return the answers to train on, of the rounds up to `last_round`, in the order asked.

        Those of audits and repeats, taken back or of earlier sets are not among them. A pair that was
        asked twice stands there twice.
        """
        with self._transaction() as connection:
            return reading.answered(connection, last_round)

    def audited_pairs(self) -> PairIndices:
        """Return int32[P, 2], the pairs that audits asked or will ask; no round may."""
        with self._transaction() as connection:
            return reading.pairs_of_kind(connection, "audit")

    def records(self) -> list[AnswerRecord]:
        """Return every answer of every set, also those taken back, in the order given."""
        with self._transaction() as connection:
            return reading.all_records(connection)

    def standing(self) -> list[AnswerRecord]:
        """Return the answers of the present set that were not taken back, of every kind."""
        with self._transaction() as connection:
            present, _ = reading.current_set(connection)
            found = reading.all_records(connection)
        return [record for record in found if record.set_id == present and record.undone_at is None]

    def tally(self, last_round: int | None = None) -> Tally:
        """Return what the present set has cost and brought, up to a round or in all."""
        with self._transaction() as connection:
            return reading.tally(connection, last_round)


def _stored(connection: sqlite3.Connection, answer_id: int) -> AnswerRecord:
    """Return an answer that this transaction has stored."""
    record = reading.record_of(connection, answer_id)
    assert record is not None
    return record
