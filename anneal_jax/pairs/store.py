"""The durable store of questions and answers: one SQLite file, nothing acknowledged is ever lost.

A rollback journal with `synchronous=EXTRA` is used: write-ahead logging of the SQLite that Python 3.11
carries has a corruption bug, and one commit per answer costs about a millisecond.
"""

import hashlib
import json
import pathlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, NamedTuple

import numpy as np

from anneal_jax.errors import StoreError
from anneal_jax.types import Answer, FloatArray, IntArray, PairIndices, PairLabels

SCHEMA_VERSION = 1

_PRAGMAS = ("journal_mode = DELETE", "synchronous = EXTRA", "foreign_keys = ON")

# How long a transaction waits for one of another process; each takes milliseconds.
_PATIENCE_S = 30.0

_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE images (image_index INTEGER PRIMARY KEY, image_id TEXT NOT NULL UNIQUE) STRICT;
CREATE TABLE rounds (round_index INTEGER PRIMARY KEY, facts TEXT NOT NULL) STRICT;
CREATE TABLE questions (
  question_id INTEGER PRIMARY KEY,
  round_index INTEGER NOT NULL REFERENCES rounds,
  first INTEGER NOT NULL REFERENCES images,
  second INTEGER NOT NULL REFERENCES images,
  similarity REAL,
  CHECK (first < second),
  UNIQUE (round_index, first, second)
) STRICT;
CREATE TABLE answers (
  question_id INTEGER PRIMARY KEY REFERENCES questions,
  answer INTEGER NOT NULL CHECK (answer IN (0, 1, 2)),
  annotator TEXT NOT NULL,
  answered_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
) STRICT;
"""


class Question(NamedTuple):
    """One question put to an annotator: are the tiles `first` < `second` alike?"""

    question_id: int
    first: int
    second: int


class Answered(NamedTuple):
    """Answered questions in the order asked, one row each.

    Attributes:
      pair_indices: int32[P, 2], canonical indices into the archive.
      answers: int8[P], values of `Answer`.
      similarities: float32[P], cosine similarity by the model that asked, before it was trained on
        the answer; NaN where none was recorded.
      round_indices: int32[P], the round that asked.
    """

    pair_indices: PairIndices
    answers: PairLabels
    similarities: FloatArray
    round_indices: IntArray


class AnswerStore:
    """Questions and answers of one workdir.

    Every method opens its own short transaction; a reader never blocks the writer for long. Answers
    are idempotent: the same answer to the same question may be recorded any number of times.
    """

    def __init__(self, path: str | pathlib.Path, image_ids: Sequence[str]):
        """Open the store, creating it for an archive with these tile names.

        Raises:
          StoreError: the file is damaged, of another version, or belongs to another archive.
        """
        self._path = pathlib.Path(path)
        with self._transaction() as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                _create(connection, image_ids)
            _verify(connection, self._path, image_ids)

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
        values = [None] * len(pair_indices) if similarities is None else similarities.tolist()
        rows = [(*pair, value) for pair, value in zip(pair_indices.tolist(), values, strict=True)]
        with self._transaction() as connection:
            if connection.execute("SELECT 1 FROM rounds WHERE round_index = ?", (round_index,)).fetchone():
                raise StoreError(f"round {round_index} was asked already; its questions stand.")
            text = json.dumps(dict(facts or {}), allow_nan=False)
            connection.execute("INSERT INTO rounds VALUES (?, ?)", (round_index, text))
            _insert_questions(connection, round_index, rows)

    def record(self, question_id: int, answer: Answer, *, annotator: str) -> None:
        """Store one answer durably; when this returns, it is on disk.

        Raises:
          StoreError: the question is unknown, or has another answer already.
        """
        self.record_all([(question_id, answer)], annotator=annotator)

    def record_all(self, answers: Sequence[tuple[int, Answer]], *, annotator: str) -> None:
        """Store several answers durably, all or none; see `record`.

        Args:
          answers: (question_id, answer) of each.
          annotator: who gave them.
        """
        with self._transaction() as connection:
            for question_id, answer in answers:
                _insert_answer(connection, question_id, answer, annotator)

    def set_similarities(self, round_index: int, similarities: FloatArray) -> None:
        """Record out-of-sample similarities for a round that was asked before any model existed.

        Args:
          round_index: the round.
          similarities: float32[P], one for each of its questions, in the order asked.
        """
        with self._transaction() as connection:
            ids = connection.execute(
                "SELECT question_id FROM questions WHERE round_index = ? ORDER BY question_id",
                (round_index,),
            ).fetchall()
            connection.executemany(
                "UPDATE questions SET similarity = ? WHERE question_id = ?",
                [(value, row[0]) for value, row in zip(similarities.tolist(), ids, strict=True)],
            )

    def facts(self, round_index: int) -> dict[str, Any] | None:
        """Return what `add_round` recorded of a round, or None where it was not asked."""
        with self._transaction() as connection:
            row = connection.execute(
                "SELECT facts FROM rounds WHERE round_index = ?", (round_index,)
            ).fetchone()
        return None if row is None else json.loads(row[0])

    def unanswered(self, round_index: int) -> list[Question]:
        """Return the questions of a round that still wait for an answer, in the order asked."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT question_id, first, second FROM questions LEFT JOIN answers USING (question_id)"
                " WHERE round_index = ? AND answer IS NULL ORDER BY question_id",
                (round_index,),
            ).fetchall()
        return [Question(*row) for row in rows]

    def answered(self, last_round: int) -> Answered:
        """Return every answered question of the rounds up to `last_round`, in the order asked."""
        with self._transaction() as connection:
            rows = connection.execute(
                "SELECT first, second, answer, similarity, round_index FROM questions"
                " JOIN answers USING (question_id) WHERE round_index <= ? ORDER BY question_id",
                (last_round,),
            ).fetchall()
        table = np.array(rows, np.float64).reshape(-1, 5)
        return Answered(
            table[:, :2].astype(np.int32),
            table[:, 2].astype(np.int8),
            table[:, 3].astype(np.float32),
            table[:, 4].astype(np.int32),
        )

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection inside one immediate transaction; commit, or undo on an error."""
        try:
            connection = sqlite3.connect(self._path, timeout=_PATIENCE_S, isolation_level=None)
            # Closing without a commit undoes the transaction.
            with closing(connection):
                for setting in _PRAGMAS:
                    connection.execute(f"PRAGMA {setting}")
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise StoreError(
                f"the answer store {self._path} cannot be used ({error}); free it if another program "
                "holds it, else restore a copy of it, or begin in a new workdir."
            ) from error


def _insert_answer(
    connection: sqlite3.Connection, question_id: int, answer: Answer, annotator: str
) -> None:
    stored = connection.execute(
        "SELECT answer FROM answers WHERE question_id = ?", (question_id,)
    ).fetchone()
    if stored is not None and stored[0] != int(answer):
        raise StoreError(
            f"question {question_id} was answered {Answer(stored[0]).name.lower()} already; "
            f"{answer.name.lower()} was not stored."
        )
    if stored is None:
        try:
            connection.execute(
                "INSERT INTO answers (question_id, answer, annotator) VALUES (?, ?, ?)",
                (question_id, int(answer), annotator),
            )
        except sqlite3.IntegrityError as error:
            raise StoreError(f"there is no question {question_id}.") from error


def _fingerprint(image_ids: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(image_ids)).encode()).hexdigest()


def _create(connection: sqlite3.Connection, image_ids: Sequence[str]) -> None:
    for statement in _SCHEMA.split(";\n"):
        connection.execute(statement)
    connection.executemany("INSERT INTO images VALUES (?, ?)", enumerate(image_ids))
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        [("schema_version", str(SCHEMA_VERSION)), ("image_ids_sha256", _fingerprint(image_ids))],
    )


def _insert_questions(
    connection: sqlite3.Connection, round_index: int, rows: Sequence[tuple[int, int, float | None]]
) -> None:
    try:
        connection.executemany(
            "INSERT INTO questions (round_index, first, second, similarity) VALUES (?, ?, ?, ?)",
            [(round_index, *row) for row in rows],
        )
    except sqlite3.IntegrityError as error:
        raise StoreError(
            f"the questions of round {round_index} must be different pairs of the archive's tiles, "
            f"first < second ({error}); none was stored."
        ) from error


def _verify(connection: sqlite3.Connection, path: pathlib.Path, image_ids: Sequence[str]) -> None:
    report = connection.execute("PRAGMA quick_check").fetchone()[0]
    if report != "ok":
        raise StoreError(f"the answer store {path} is damaged ({report}); restore a copy of it.")
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    if meta.get("schema_version") != str(SCHEMA_VERSION):
        raise StoreError(
            f"the answer store {path} has schema {meta.get('schema_version')}; this version reads "
            f"schema {SCHEMA_VERSION}. Use the version of anneal-jax that wrote it."
        )
    if meta.get("image_ids_sha256") != _fingerprint(image_ids):
        raise StoreError(
            f"the answers in {path} belong to an archive with other tile names; open the archive "
            "they were given for, or begin in a new workdir."
        )
