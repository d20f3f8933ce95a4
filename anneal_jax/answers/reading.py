"""The records of the answer store, and the queries that fetch them."""

import json
import sqlite3
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.answers.glances import AnsweredGlance, from_row
from anneal_jax.types import Answer, FloatArray, IntArray, PairIndices, PairLabels

TRAINED_KINDS = ("training", "volunteered", "label")
"""Kinds of questions whose answers may be trained on; audits and repeats only measure."""


_GLANCE_COLUMN = 15  # in `history`, after the columns of the answer itself


class Question(NamedTuple):
    """A question to an annotator: are the tiles `first` < `second` alike?"""

    question_id: int
    first: int
    second: int


class Answered(NamedTuple):
    """Answered questions in the order asked, one row each.

    Attributes:
      pair_indices: int32[P, 2], canonical indices into the archive.
      answers: int8[P], values of `Answer`.
      similarities: float32[P], cosine similarity under the model that asked, before it was trained on the
        answer; NaN if none was recorded.
      round_indices: int32[P], the round that asked; -1 for answers given before the first round.
      is_weak: bool[P], as `AnswerRecord.is_weak`.
      is_last: bool[P], False if the next answer comes from the same choice, about the same tile.
    """

    pair_indices: PairIndices
    answers: PairLabels
    similarities: FloatArray
    round_indices: IntArray
    is_weak: npt.NDArray[np.bool_]
    is_last: npt.NDArray[np.bool_]


class AnswerRecord(NamedTuple):
    """An answer with everything that is known about it.

    Attributes:
      answer_id: counts from 1 in the order given.
      question_id: the question that it answers.
      set_id: its set of answers, that is, the sentence that it answers.
      round_index: the round that asked, or the last one before it was given; -1 before the first.
      first: one tile.
      second: the other tile, first < second.
      kind: `training` asked by a round; `volunteered` without being asked; `label` from class labels;
        `audit` and `repeat` only measure.
      answer: the answer.
      annotator: name of the person.
      answered_at: time in UTC.
      elapsed_s: seconds that the person took; None if unknown.
      bits: its cost.
      key: identifies it permanently, also in other files.
      source: the file that it was imported from; None if it was given here.
      undone_at: time of its retraction; None while it stands.
      glance: what else was shown with it; None if its pair was shown alone.
    """

    answer_id: int
    question_id: int
    set_id: int
    round_index: int
    first: int
    second: int
    kind: str
    answer: Answer
    annotator: str
    answered_at: str
    elapsed_s: float | None
    bits: float
    key: str
    source: str | None
    undone_at: str | None
    glance: AnsweredGlance | None = None

    @property
    def is_weak(self) -> bool:
        """Whether it only says that a tile of a grid was not picked; the tile may have been overlooked."""
        return self.glance is not None and self.glance.is_weak(self.answer)


class Tally(NamedTuple):
    """The cost and the number of answers of a set so far.

    Attributes:
      num_answers: number of standing answers of every kind.
      num_unsure: number of unsure answers among them.
      bits_spent: cost of all answers ever given, including retracted ones.
      elapsed_s: seconds spent on them, as far as recorded.
    """

    num_answers: int
    num_unsure: int
    bits_spent: float
    elapsed_s: float


class Looks(NamedTuple):
    """What was looked at to give answers, including retracted ones.

    Attributes:
      num_pairs: number of answers to pairs shown alone.
      glances: the choices and grids, each once, in the order given.
    """

    num_pairs: int
    glances: list[AnsweredGlance]


def current_set(connection: sqlite3.Connection) -> tuple[int, str]:
    """Fetch the number and the sentence of the current set of answers."""
    return connection.execute(
        "SELECT set_id, sentence FROM named_sets JOIN present USING (set_id)"
    ).fetchone()


def is_settled(connection: sqlite3.Connection) -> bool:
    """Return whether anybody has defined "similar", even if by accepting the default."""
    return connection.execute("SELECT EXISTS (SELECT 1 FROM chosen_sets)").fetchone()[0] == 1


def sentences(connection: sqlite3.Connection) -> dict[int, str]:
    """Fetch the current sentence of every set by its number."""
    return dict(connection.execute("SELECT set_id, sentence FROM named_sets ORDER BY set_id").fetchall())


def latest_round(connection: sqlite3.Connection) -> int:
    """Fetch the last round that was asked; -1 before the first."""
    return connection.execute("SELECT coalesce(max(round_index), -1) FROM rounds").fetchone()[0]


def facts(connection: sqlite3.Connection, round_index: int) -> dict[str, Any] | None:
    """Fetch what was recorded about a round; None if it was not asked."""
    row = connection.execute("SELECT facts FROM rounds WHERE round_index = ?", (round_index,)).fetchone()
    return None if row is None else json.loads(row[0])


def unanswered(connection: sqlite3.Connection, round_index: int) -> list[Question]:
    """Fetch the open questions of a round, in the order asked."""
    rows = connection.execute(
        "SELECT question_id, first, second FROM questions LEFT JOIN standing USING (question_id)"
        " WHERE round_index = ? AND kind = 'training' AND source IS NULL AND answer IS NULL"
        " AND set_id = (SELECT set_id FROM present) ORDER BY question_id",
        (round_index,),
    ).fetchall()
    return [Question(*row) for row in rows]


def answered(connection: sqlite3.Connection, last_round: int) -> Answered:
    """Fetch the answers to train on, from the rounds up to `last_round`."""
    rows = connection.execute(
        "SELECT first, second, trained.answer, similarity, round_index,"
        " coalesce(kind = 'grid' AND trained.answer = 1, 0), kind IS NULL OR kind = 'grid' OR answer_id ="
        " (SELECT max(answer_id) FROM glance_answers WHERE glance_id = glances.glance_id)"
        " FROM trained JOIN standing USING (question_id) LEFT JOIN glance_answers USING (answer_id)"
        " LEFT JOIN glances USING (glance_id) WHERE round_index <= ? ORDER BY question_id",
        (last_round,),
    ).fetchall()
    table = np.array(rows, np.float64).reshape(-1, 7)
    return Answered(
        table[:, :2].astype(np.int32),
        table[:, 2].astype(np.int8),
        table[:, 3].astype(np.float32),
        table[:, 4].astype(np.int32),
        table[:, 5].astype(np.bool_),
        table[:, 6].astype(np.bool_),
    )


def pairs_of_kind(connection: sqlite3.Connection, kind: str) -> PairIndices:
    """Fetch the pairs asked as one kind of question in the current set, each once, sorted."""
    rows = connection.execute(
        "SELECT DISTINCT first, second FROM questions"
        " WHERE kind = ? AND set_id = (SELECT set_id FROM present) ORDER BY first, second",
        (kind,),
    ).fetchall()
    return np.array(rows, np.int32).reshape(-1, 2)


def all_records(connection: sqlite3.Connection) -> list[AnswerRecord]:
    """Fetch the answers of all sets, including retracted ones, in the order given."""
    rows = connection.execute("SELECT * FROM history ORDER BY answer_id").fetchall()
    return [_record(row) for row in rows]


def record_of(connection: sqlite3.Connection, answer_id: int) -> AnswerRecord | None:
    """Fetch one answer."""
    row = connection.execute("SELECT * FROM history WHERE answer_id = ?", (answer_id,)).fetchone()
    return _record(row) if row else None


def last_standing(connection: sqlite3.Connection, annotator: str | None) -> list[AnswerRecord]:
    """Fetch the last standing answer of the current set that was given here.

    If it came from a glance, all standing answers of the glance are returned, in the order given.
    """
    row = connection.execute(
        "SELECT * FROM history WHERE undone_at IS NULL AND source IS NULL"
        " AND set_id = (SELECT set_id FROM present) AND annotator = coalesce(?, annotator)"
        " ORDER BY answer_id DESC LIMIT 1",
        (annotator,),
    ).fetchone()
    if row is None:
        return []
    last = _record(row)
    if last.glance is None:
        return [last]
    rows = connection.execute(
        "SELECT * FROM history WHERE undone_at IS NULL AND glance_key = ? ORDER BY answer_id",
        (last.glance.key,),
    ).fetchall()
    return [_record(row) for row in rows]


def tally(connection: sqlite3.Connection, last_round: int | None) -> Tally:
    """Count the answers of the current set, up to round `last_round` if it is given."""
    row = connection.execute(
        "SELECT count(*) FILTER (WHERE undone_at IS NULL),"
        " count(*) FILTER (WHERE undone_at IS NULL AND answer = 2),"
        " total(bits), total(elapsed_s) FROM history"
        " WHERE set_id = (SELECT set_id FROM present) AND round_index <= coalesce(?, round_index)",
        (last_round,),
    ).fetchone()
    return Tally(*row)


def looks(connection: sqlite3.Connection, last_round: int) -> Looks:
    """Fetch what was looked at for the answers of the current set, up to round `last_round`."""
    given = " FROM history WHERE set_id = (SELECT set_id FROM present) AND round_index <= ?"
    (num_pairs,) = connection.execute(
        f"SELECT count(*){given} AND glance_key IS NULL",
        (last_round,),
    ).fetchone()
    rows = connection.execute(
        "SELECT glance_key, glance_kind, subject, others, picked, glance_s"
        f"{given} AND glance_key IS NOT NULL GROUP BY glance_key ORDER BY min(answer_id)",
        (last_round,),
    ).fetchall()
    return Looks(num_pairs, [from_row(*row) for row in rows])


def _record(row: tuple[Any, ...]) -> AnswerRecord:
    place = AnswerRecord._fields.index("answer")
    glance = None if row[_GLANCE_COLUMN] is None else from_row(*row[_GLANCE_COLUMN:])
    return AnswerRecord._make((*row[:place], Answer(row[place]), *row[place + 1 : _GLANCE_COLUMN], glance))
