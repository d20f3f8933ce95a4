"""Acts: several answers that are stored together or not at all, and undone together.

Moving a tile to another group retracts some answers and adds others; half of that would be a contradiction.
Each function runs inside one transaction and only appends. The rows of an act are consecutive in the table
of answers, so its first and last row identify it.
"""

import secrets
import sqlite3
from collections.abc import Sequence

from anneal_jax.answers import hash_chain, writing
from anneal_jax.answers.reading import AnswerRecord, last_standing, record_of
from anneal_jax.answers.writing import Given, is_key_of_answer, taken, text_of
from anneal_jax.errors import StoreError


def give_together(
    connection: sqlite3.Connection,
    given: Sequence[Given],
    retracted: Sequence[int],
    *,
    annotator: str,
    key: str | None = None,
) -> None:
    """Retract answers and add others as one act; repeating the key stores nothing.

    Raises:
      StoreError: nothing is added, an answer to retract does not stand, or the key is in use.
    """
    if key is not None and _act_of_key(connection, key) is not None:
        return
    if is_key_of_answer(connection, key):
        raise taken(str(key))
    if not given:
        raise StoreError("an act needs at least one answer; nothing was stored.")
    first = _next_id(connection)
    for answer_id in retracted:
        record = record_of(connection, answer_id)
        if record is None or record.undone_at is not None:
            raise StoreError("one of these answers was retracted in the meantime; reload this page.")
        writing.retract(connection, answer_id, annotator)
    writing.give(connection, given)
    _note_act(connection, first, annotator, key)


def is_key_of_act(connection: sqlite3.Connection, key: str) -> bool:
    """Return whether an act with this key exists."""
    return _act_of_key(connection, key) is not None


def undo(connection: sqlite3.Connection, annotator: str | None, key: str | None) -> list[AnswerRecord]:
    """Retract the last standing answer given here, with the whole act or glance it belongs to.

    Answers that the act had retracted are added again at no cost, under the original annotator; a later
    `undo` treats them as the last answers.
    """
    if key is not None and (undone := _undone_by(connection, key)) is not None:
        return [undone]
    last = [] if is_key_of_answer(connection, key) else last_standing(connection, annotator)
    act = act_of(connection, last[-1].answer_id) if last else None
    if act is None:
        return writing.undo(connection, annotator, key)
    return [_undo_act(connection, act, annotator or last[-1].annotator, key)]


def _undo_act(
    connection: sqlite3.Connection, act: tuple[int, int, int], annotator: str, key: str | None
) -> AnswerRecord:
    act_id, *rows = act
    found = connection.execute(
        "SELECT answer_id, retracts FROM answers WHERE answer_id BETWEEN ? AND ? ORDER BY answer_id", rows
    ).fetchall()
    first = _next_id(connection)
    given = [answer_id for answer_id, retracts in found if retracts is None]
    for answer_id in reversed(given):
        writing.retract(connection, answer_id, annotator)
    restored = [_again(connection, retracts) for _, retracts in found if retracts is not None]
    writing.give(connection, restored)
    _note_act(connection, first, annotator, key, undoes=act_id)
    undone = record_of(connection, given[-1])
    assert undone is not None
    return undone


def _again(connection: sqlite3.Connection, answer_id: int) -> Given:
    """Return an answer to be added again; its cost is already paid."""
    record = record_of(connection, answer_id)
    assert record is not None
    (similarity,) = connection.execute(
        "SELECT similarity FROM questions WHERE question_id = ?", (record.question_id,)
    ).fetchone()
    return Given(
        record.first,
        record.second,
        record.answer,
        record.annotator,
        kind=record.kind,
        similarity=similarity,
        bits=0.0,
        source=record.source,
        answered_at=record.answered_at,
        set_id=record.set_id,
    )


def _note_act(
    connection: sqlite3.Connection, first: int, annotator: str, key: str | None, undoes: int | None = None
) -> None:
    last = _next_id(connection) - 1
    key = secrets.token_hex(16) if key is None else text_of("key", key)
    row = (first, last, undoes, text_of("annotator", annotator), key)
    hash_chain.append(connection, "acts", [row])


def _act_of_key(
    connection: sqlite3.Connection, key: str, *, is_undo: bool = False
) -> tuple[int, int] | None:
    """Return the rows of the act, or of the undo, with this key; None if the key is new."""
    row = connection.execute(
        "SELECT first_answer, last_answer, undoes FROM acts WHERE key = ?", (text_of("key", key),)
    ).fetchone()
    if row and (row[2] is not None) != is_undo:
        raise taken(key)
    return row and (row[0], row[1])


def _undone_by(connection: sqlite3.Connection, key: str) -> AnswerRecord | None:
    """Return what the undo of an act with this key returned; None if the key is new."""
    rows = _act_of_key(connection, key, is_undo=True)
    if rows is None:
        return None
    (answer_id,) = connection.execute(
        "SELECT max(retracts) FROM answers WHERE answer_id BETWEEN ? AND ?", rows
    ).fetchone()
    return record_of(connection, answer_id)


def act_of(connection: sqlite3.Connection, answer_id: int) -> tuple[int, int, int] | None:
    """Return the id and the rows of the act that an answer belongs to; None if it belongs to none."""
    return connection.execute(
        "SELECT act_id, first_answer, last_answer FROM acts"
        " WHERE undoes IS NULL AND ? BETWEEN first_answer AND last_answer",
        (answer_id,),
    ).fetchone()


def _next_id(connection: sqlite3.Connection) -> int:
    return 1 + connection.execute("SELECT coalesce(max(answer_id), 0) FROM answers").fetchone()[0]
