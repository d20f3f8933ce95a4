"""Writes to the answer store; each function runs inside one transaction and only appends."""

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
"""Kinds of questions: rounds ask training questions; audits and repeats only measure; volunteered
answers were not asked for; labels came from class labels."""

MAX_TEXT = 500
"""Maximum number of characters in a sentence, a name or a key."""


class Given(NamedTuple):
    """An answer that no question of this store asked for.

    Attributes:
      first: one tile, an index into the archive.
      second: the other tile.
      answer: the answer.
      annotator: name of the person.
      kind: one of `KINDS`.
      key: identifies the answer permanently: repeating it stores nothing. None generates a new key.
      elapsed_s: seconds it took; None if unknown.
      similarity: similarity of the pair under a model not trained on this answer; None if unknown.
      bits: its cost.
      source: the file that it was imported from; such answers are not undone step by step. None if given
        here.
      answered_at: time; None means now.
      undone_at: time of its retraction; None while it stands.
      set_id: its set; None means the current one.
      glance: what else was shown with it; all its answers must be given together.
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
        raise StoreError(f"round {round_index} was already asked; its questions are kept.")
    text = json.dumps(dict(facts), allow_nan=False)
    hash_chain.append(connection, "rounds", [(round_index, text)])


def add_questions(
    connection: sqlite3.Connection,
    round_index: int,
    pair_indices: PairIndices,
    similarities: FloatArray | None,
) -> None:
    """Append the questions of a round to the current set."""
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
        raise StoreError(refusal.format("a pair occurs twice"))
    try:
        hash_chain.append(connection, "questions", rows)
    except sqlite3.IntegrityError as error:
        raise StoreError(refusal.format(error)) from error


def score(connection: sqlite3.Connection, round_index: int, similarities: FloatArray) -> None:
    """Append the similarities of a round's trained answers that have none yet."""
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
    """Append an answer to an open question and return its id; a repeat returns the first id."""
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
            f"question {question_id} was already answered {Answer(standing[1]).name.lower()}; "
            f"{said.name.lower()} was not stored."
        )
    return standing[0]


def give(connection: sqlite3.Connection, given: Sequence[Given]) -> list[int]:
    """Append answers with their own questions, and return their ids; known keys keep their ids."""
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
    """Return the answers of a glance, each with its share of the seconds.

    Args:
      glance: the answered glance.
      annotator: name of the person.
      kind: kind of its questions, one of `KINDS`.
      similarities: similarity of the subject and each other tile, under a model not trained on the answers.
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
    """Append a row that retracts an answer, unless there is one; return the answer."""
    record = record_of(connection, answer_id)
    if record is None:
        raise StoreError(f"there is no answer {answer_id} to retract.")
    if record.undone_at is None:
        row = (record.question_id, None, answer_id, annotator, undone_at or now(), None, 0.0, key)
        _append_answer(connection, row)
    undone = record_of(connection, answer_id)
    assert undone is not None
    return undone


def undo(
    connection: sqlite3.Connection, annotator: str | None, key: str | None = None
) -> list[AnswerRecord]:
    """Retract the last standing answer given here, with all others of its glance."""
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
    """Fetch the answers retracted by an undo with these keys; empty if there was none."""
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
    """Return whether an answer, or a retraction, has this key."""
    return connection.execute("SELECT 1 FROM answers WHERE key = ?", (key,)).fetchone() is not None


def is_key_of_undoing(connection: sqlite3.Connection, key: str | None) -> bool:
    """Tell whether a key took back an answer, an act of several or an answer about a file."""
    return any(
        connection.execute(f"SELECT 1 FROM {table} WHERE key = ?", (key,)).fetchone()  # noqa: S608
        for table in ("answers", "acts", "file_answers")
    )


def text_of(what: str, text: str) -> str:
    """Return text in the form in which it is stored.

    Raises:
      StoreError: it is empty, too long or contains control characters.
    """
    stripped = text.strip()
    if not 0 < len(stripped) <= MAX_TEXT or not stripped.isprintable():
        raise StoreError(f"{what} {text[:40]!r} must be one line of 1 to {MAX_TEXT} characters.")
    return stripped


def _normal(given: Given) -> tuple[str, Given]:
    """Return the key of an answer and its stored form: ordered pair, checked texts and amounts."""
    first, second = sorted((given.first, given.second))
    key = secrets.token_hex(16) if given.key is None else text_of("key", given.key)
    return key, given._replace(
        first=first,
        second=second,
        key=key,
        annotator=text_of("annotator", given.annotator),
        elapsed_s=_amount_or_none("elapsed_s", given.elapsed_s),
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
    """Append one row of answers; if its key, the last value, is None, a new one is generated."""
    question_id, said, retracts, annotator, at, elapsed_s, bits, key = row
    elapsed_s = _amount_or_none("elapsed_s", elapsed_s)
    key = secrets.token_hex(16) if key is None else text_of("key", key)
    row = (question_id, said, retracts, text_of("annotator", annotator), at, elapsed_s, bits, key)
    try:
        return hash_chain.append(connection, "answers", [row])[0]
    except sqlite3.IntegrityError as error:
        if "FOREIGN KEY" in str(error):
            raise StoreError(f"there is no question {question_id}.") from error
        raise taken(key) from error


def taken(key: str) -> StoreError:
    """Return the error for a key that is already in use."""
    return StoreError(f"key {key!r} belongs to another answer; give each answer its own.")


def _amount(what: str, value: float) -> float:
    if not 0 <= value < math.inf:
        raise StoreError(f"{what}={value} must be a non-negative number.")
    return float(value)


def _amount_or_none(what: str, value: float | None) -> float | None:
    return None if value is None else _amount(what, value)


def _by_key(connection: sqlite3.Connection, key: str) -> AnswerRecord | None:
    """Fetch the answer with this key; None if the key is new."""
    row = connection.execute("SELECT answer_id, retracts FROM answers WHERE key = ?", (key,)).fetchone()
    if row is None:
        return None
    if row[1] is not None:  # the key of a retraction
        raise taken(key)
    return record_of(connection, row[0])


def _number_or_none(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
