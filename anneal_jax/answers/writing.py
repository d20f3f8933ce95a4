"""What the answer store takes in; each function runs inside one transaction, and only appends."""

import json
import math
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from anneal_jax.answers import glances, hash_chain
from anneal_jax.answers.glances import AnsweredGlance
from anneal_jax.answers.reading import (
    AnswerRecord,
    current_set,
    last_standing,
    latest_round,
    record_of,
)
from anneal_jax.answers.schema import now
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer, FloatArray, PairIndices

KINDS = ("training", "audit", "repeat", "volunteered", "label")
"""Training questions are a round's; audits and repeats measure and are never trained on; volunteered
answers were not asked for; labels came in as classes."""

MAX_TEXT = 500
"""Characters in a sentence, a name or a key."""


class Given(NamedTuple):
    """An answer that no question of this store waits for.

    Attributes:
      first: a tile, an index into the archive.
      second: another tile.
      answer: what was said of them.
      annotator: who said it.
      kind: one of `KINDS`.
      key: names the answer for good: the same key again stores nothing. None makes a fresh one.
      elapsed_s: seconds it took; None where unknown.
      similarity: of the pair, by a model that was not trained on this answer; None where unknown.
      bits: what it cost.
      source: the file it came from; such answers are not undone step by step. None: given here.
      answered_at: when; None is now.
      undone_at: when it was taken back; None where it stands.
      set_id: the set it belongs to; None is the present one.
      glance: what else was shown with it; its answers must all be given at once.
    """

    first: int
    second: int
    answer: Answer
    annotator: str
    kind: str = "volunteered"
    key: str | None = None
    elapsed_s: float | None = None
    similarity: float | None = None
    bits: float = 1.0
    source: str | None = None
    answered_at: str | None = None
    undone_at: str | None = None
    set_id: int | None = None
    glance: AnsweredGlance | None = None


def add_round(connection: sqlite3.Connection, round_index: int, facts: Mapping[str, Any]) -> None:
    """Begin a round."""
    if connection.execute("SELECT 1 FROM rounds WHERE round_index = ?", (round_index,)).fetchone():
        raise StoreError(f"round {round_index} was asked already; its questions stand.")
    text = json.dumps(dict(facts), allow_nan=False)
    hash_chain.append(connection, "rounds", [(round_index, text)])


def add_questions(
    connection: sqlite3.Connection,
    round_index: int,
    pair_indices: PairIndices,
    similarities: FloatArray | None,
) -> None:
    """Append the questions of a round to the present set."""
    values = [None] * len(pair_indices) if similarities is None else similarities.tolist()
    set_id, _ = current_set(connection)
    rows = [
        (set_id, round_index, *pair, _number_or_none(value), "training", None)
        for pair, value in zip(pair_indices.tolist(), values, strict=True)
    ]
    refusal = (
        f"the questions of round {round_index} must be different pairs of the archive's tiles, "
        "first < second ({}); none was stored."
    )
    if len(np.unique(pair_indices, axis=0)) < len(pair_indices):
        raise StoreError(refusal.format("a pair stands there twice"))
    try:
        hash_chain.append(connection, "questions", rows)
    except sqlite3.IntegrityError as error:
        raise StoreError(refusal.format(error)) from error


def score(connection: sqlite3.Connection, round_index: int, similarities: FloatArray) -> None:
    """Append the similarities of a round's trained answers, where none stand yet."""
    rows = connection.execute(
        "SELECT question_id, similarity FROM trained WHERE round_index = ? ORDER BY question_id",
        (round_index,),
    ).fetchall()
    hash_chain.append(
        connection,
        "scores",
        [
            (question_id, value)
            for (question_id, old), value in zip(rows, similarities.tolist(), strict=True)
            if old is None and not math.isnan(value)
        ],
    )


def answer(
    connection: sqlite3.Connection,
    question_id: int,
    said: Answer,
    *,
    annotator: str,
    key: str | None = None,
    elapsed_s: float | None = None,
) -> int:
    """Append an answer to a question that waits for one, and return its id; again, the first one's."""
    if key is not None and (first := _by_key(connection, text_of("key", key))) is not None:
        if (first.question_id, first.answer) != (question_id, said):
            raise taken(key)
        return first.answer_id
    standing = connection.execute(
        "SELECT answer_id, answer FROM standing WHERE question_id = ?", (question_id,)
    ).fetchone()
    if standing is None:
        return _append_answer(
            connection, (question_id, int(said), None, annotator, now(), elapsed_s, 1.0, key)
        )
    if standing[1] != int(said):
        raise StoreError(
            f"question {question_id} was answered {Answer(standing[1]).name.lower()} already; "
            f"{said.name.lower()} was not stored."
        )
    return standing[0]


def give(connection: sqlite3.Connection, given: Sequence[Given]) -> list[int]:
    """Append answers with questions of their own, and return their ids; known keys keep their ids."""
    keyed = [_normal(row) for row in given]
    ids: dict[str, int] = {}
    fresh: dict[str, Given] = {}
    for key, row in keyed:
        same = _by_key(connection, key) or fresh.setdefault(key, row)
        if (same.first, same.second, same.answer) != (row.first, row.second, row.answer):
            raise taken(key)
        if isinstance(same, AnswerRecord):
            ids[key] = same.answer_id
    ids |= zip(fresh, _append_given(connection, list(fresh.values())), strict=True)
    for key, row in keyed:
        if row.undone_at is not None:
            retract(connection, ids[key], row.annotator, undone_at=row.undone_at)
    return [ids[key] for key, _ in keyed]


def answers_of(
    glance: AnsweredGlance, annotator: str, kind: str, similarities: Mapping[int, float | None]
) -> list[Given]:
    """Return the answers that a glance gives, each with its share of the seconds.

    Args:
      glance: as it was answered.
      annotator: who answered it.
      kind: of its questions, one of `KINDS`.
      similarities: of the subject and each other tile, by a model that was not trained on the answers.
    """
    said = glance.said()
    elapsed_s = None if glance.elapsed_s is None else glance.elapsed_s / len(said)
    return [
        Given(
            glance.subject,
            other,
            answer,
            annotator,
            kind=kind,
            key=glance.answer_key(other),
            elapsed_s=elapsed_s,
            similarity=similarities.get(other),
            glance=glance,
        )
        for other, answer in said
    ]


def retract(
    connection: sqlite3.Connection,
    answer_id: int,
    annotator: str,
    *,
    key: str | None = None,
    undone_at: str | None = None,
) -> AnswerRecord:
    """Append a row that takes an answer back, unless there is one; return the answer."""
    record = record_of(connection, answer_id)
    if record is None:
        raise StoreError(f"there is no answer {answer_id} to take back.")
    if record.undone_at is None:
        row = (record.question_id, None, answer_id, annotator, undone_at or now(), None, 0.0, key)
        _append_answer(connection, row)
    undone = record_of(connection, answer_id)
    assert undone is not None
    return undone


def undo(
    connection: sqlite3.Connection, annotator: str | None, key: str | None = None
) -> list[AnswerRecord]:
    """Take back the last answer that stands and was given here, with all others of its glance."""
    keys: list[str | None] = [None] * max(glances.MAX_OTHERS.values())
    if key is not None:
        key = text_of("key", key)
        keys = [key, *(f"{key}.{place}" for place in range(1, len(keys)))]
        if undone := _undone_by(connection, keys):
            return undone
    last = last_standing(connection, annotator)
    return [
        retract(connection, record.answer_id, annotator or record.annotator, key=own)
        for own, record in zip(keys, last, strict=False)
    ]


def _undone_by(connection: sqlite3.Connection, keys: Sequence[str | None]) -> list[AnswerRecord]:
    """Fetch what an undoing with these keys took back; nothing if there was none."""
    marks = ", ".join("?" * len(keys))
    rows = connection.execute(
        f"SELECT key, retracts FROM answers WHERE key IN ({marks}) ORDER BY answer_id",  # noqa: S608
        keys,
    ).fetchall()
    for key, retracts in rows:
        if retracts is None:
            raise taken(key)
    found = (record_of(connection, retracts) for _, retracts in rows)
    return [record for record in found if record is not None]


def is_key_of_answer(connection: sqlite3.Connection, key: str | None) -> bool:
    """Tell whether an answer, or the taking back of one, has a key."""
    return connection.execute("SELECT 1 FROM answers WHERE key = ?", (key,)).fetchone() is not None


def is_key_of_undoing(connection: sqlite3.Connection, key: str | None) -> bool:
    """Tell whether a key took back an answer, an act of several or an answer about a file."""
    return any(
        connection.execute(f"SELECT 1 FROM {table} WHERE key = ?", (key,)).fetchone()  # noqa: S608
        for table in ("answers", "acts", "file_answers")
    )


def text_of(what: str, text: str) -> str:
    """Return a text as it is stored.

    Raises:
      StoreError: it is empty, too long or holds control characters.
    """
    stripped = text.strip()
    if not 0 < len(stripped) <= MAX_TEXT or not stripped.isprintable():
        raise StoreError(f"{what} {text[:40]!r} must be one line of 1 to {MAX_TEXT} characters.")
    return stripped


def _normal(given: Given) -> tuple[str, Given]:
    """Return the key of an answer and how it is stored: its pair in order, texts and amounts checked."""
    first, second = sorted((given.first, given.second))
    key = secrets.token_hex(16) if given.key is None else text_of("key", given.key)
    return key, given._replace(
        first=first,
        second=second,
        key=key,
        annotator=text_of("annotator", given.annotator),
        elapsed_s=_amount("elapsed_s", given.elapsed_s),
        bits=_amount("bits", given.bits),
    )


def _append_given(connection: sqlite3.Connection, given: Sequence[Given]) -> list[int]:
    present, _ = current_set(connection)
    last = latest_round(connection)
    questions = [
        (row.set_id or present, last, row.first, row.second, row.similarity, row.kind, row.source)
        for row in given
    ]
    try:
        ids = hash_chain.append(connection, "questions", questions)
    except sqlite3.IntegrityError as error:
        raise StoreError(
            "an answer must be about two different tiles of the archive, and of one of the kinds "
            f"{', '.join(KINDS)} ({error}); none was stored."
        ) from error
    given_at = now()
    answers = [
        (
            key,
            int(row.answer),
            None,
            row.annotator,
            row.answered_at or given_at,
            row.elapsed_s,
            row.bits,
            row.key,
        )
        for key, row in zip(ids, given, strict=True)
    ]
    answer_ids = hash_chain.append(connection, "answers", answers)
    shown = [
        (row.glance, (row.first, row.second, row.answer), answer_id)
        for row, answer_id in zip(given, answer_ids, strict=True)
        if row.glance is not None
    ]
    glances.append(connection, shown)
    return answer_ids


def _append_answer(connection: sqlite3.Connection, row: tuple[Any, ...]) -> int:
    """Append one row of answers; its key, the last value, is made where it is None."""
    question_id, said, retracts, annotator, at, elapsed_s, bits, key = row
    elapsed_s = _amount("elapsed_s", elapsed_s)
    key = secrets.token_hex(16) if key is None else text_of("key", key)
    row = (question_id, said, retracts, text_of("annotator", annotator), at, elapsed_s, bits, key)
    try:
        return hash_chain.append(connection, "answers", [row])[0]
    except sqlite3.IntegrityError as error:
        if "FOREIGN KEY" in str(error):
            raise StoreError(f"there is no question {question_id}.") from error
        raise taken(key) from error


def taken(key: str) -> StoreError:
    """Return what a key that is another's leads to."""
    return StoreError(f"key {key!r} belongs to another answer; give each answer its own.")


def _amount(what: str, value: float | None) -> float | None:
    if value is not None and not 0 <= value < math.inf:
        raise StoreError(f"{what}={value} must be a number that is not negative.")
    return None if value is None else float(value)


def _by_key(connection: sqlite3.Connection, key: str) -> AnswerRecord | None:
    """Fetch the answer of a key; None where the key is new."""
    row = connection.execute("SELECT answer_id, retracts FROM answers WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    if row[1] is not None:  # a key of an undoing
        raise taken(key)
    return record_of(connection, row[0])


def _number_or_none(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
