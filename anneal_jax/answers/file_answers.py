"""Answers about image files outside the archive: each compares a file that people searched by with a tile.

The first answer about a file adds the file to the answer store: the SHA-256 of its bytes and its feature,
but neither name nor path. Answers about files belong to a set, like all answers, but are stored separately
from those about pairs of tiles. They refine the search by that file. They imply nothing, are not trained
on, cost no bits, and are not exported, because nobody else could know which file they mean.

Each of their rows names the last answer and the last change of sets before it, which gives a single order
of all answers and changes for undo to follow.
"""

import base64
import secrets
import sqlite3
from typing import NamedTuple

import numpy as np

from anneal_jax.answers import hash_chain
from anneal_jax.answers.reading import current_set, last_standing
from anneal_jax.answers.schema import now
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import is_key_of_undoing, taken, text_of
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer, FloatArray


class StoredFile(NamedTuple):
    """A file in the store.

    Attributes:
      digest: SHA-256 of its bytes, 64 hexadecimal digits.
      feature: float32[F], output of the backbone.
    """

    digest: str
    feature: FloatArray


class FileAnswer(NamedTuple):
    """An answer: are a file and a tile alike?

    Attributes:
      file_answer_id: counts from 1 in the order given.
      file_id: id of the file, from 1.
      tile: an index into the archive.
      answer: the answer.
      annotator: name of the person.
      answered_at: time in UTC.
      last_answer: id of the last answer about a pair that was given or retracted before; 0 for none.
    """

    file_answer_id: int
    file_id: int
    tile: int
    answer: Answer
    annotator: str
    answered_at: str
    last_answer: int


class SaidOfFile(NamedTuple):
    """A person's answer about a file and a tile.

    Attributes:
      digest: SHA-256 of the file's bytes, 64 hexadecimal digits.
      feature: float32[F] of the file; stored if the file is new.
      tile: an index into the archive.
      answer: the answer; None retracts the standing answer about this file and tile.
      annotator: name of the person.
      key: identifies the request: repeating it stores nothing. None generates a new key.
    """

    digest: str
    feature: FloatArray
    tile: int
    answer: Answer | None
    annotator: str
    key: str | None = None


def say_of_file(store: AnswerStore, said: SaidOfFile) -> None:
    """Store an answer about a file and a tile in the current set.

    It retracts an earlier answer about the two. When this returns, everything is on disk, or nothing.
    Repeating the same answer stores nothing.

    Raises:
      StorageFullError: the disk is full; nothing was stored.
      StoreError: there is no such tile, the feature is not finite, or the key is in use.
    """
    annotator = text_of("annotator", said.annotator)
    key = secrets.token_hex(16) if said.key is None else text_of("key", said.key)
    if not 0 <= said.tile < len(store.image_ids):
        raise StoreError(f"there is no tile {said.tile} in this archive; nothing was stored.")
    with store.changing() as connection:
        if _is_repeated(connection, said, key):
            return
        set_id, _ = current_set(connection)
        file_id = _place_of(connection, said)
        old = connection.execute(
            "SELECT file_answer_id, answer FROM standing_file_answers"
            " WHERE (file_id, set_id, tile) = (?, ?, ?)",
            (file_id, set_id, said.tile),
        ).fetchone()
        if said.answer is not None and old is not None and old[1] == int(said.answer):
            return
        place = file_id, set_id, said.tile
        if old is not None:
            _append(connection, place, None, old[0], annotator, key if said.answer is None else None)
        if said.answer is not None:
            _append(connection, place, said.answer, None, annotator, key)


def answers_about(store: AnswerStore, digest: str) -> list[FileAnswer]:
    """Return the standing answers of the current set about a file, in the order given."""
    with store.reading() as connection:
        return _standing(connection, "digest = ?", digest)


def file_answers(store: AnswerStore) -> list[FileAnswer]:
    """Return the standing answers of the current set about all files, in the order given."""
    with store.reading() as connection:
        return _standing(connection, "TRUE")


def undo_of_file(store: AnswerStore, *, annotator: str, key: str | None = None) -> FileAnswer | None:
    """Undo a person's last standing answer in the current set, if it is about a file.

    Args:
      store: the store of answers.
      annotator: name of the person.
      key: the caller's key for this request; repeating it does not undo a second answer.

    Returns:
      The retracted answer; None if the last one is about a pair, or none is left.

    Raises:
      StorageFullError: the disk is full; nothing was undone.
      StoreError: the key belongs to an answer.
    """
    with store.changing() as connection:
        before = connection.execute("SELECT retracts FROM file_answers WHERE key = ?", (key,)).fetchone()
        if before is not None:
            if before[0] is None:
                raise taken(str(key))
            return _fetched(connection, "file_answers", "file_answer_id = ?", before[0])[0]
        said = _standing(connection, "annotator = ?", annotator)
        pairs = last_standing(connection, annotator)
        is_last = said and not (pairs and pairs[-1].answer_id > said[-1].last_answer)
        if not is_last or is_key_of_undoing(connection, key):
            return None
        set_id, _ = current_set(connection)
        place = said[-1].file_id, set_id, said[-1].tile
        _append(connection, place, None, said[-1].file_answer_id, annotator, key)
        return said[-1]


def answered_files(store: AnswerStore) -> dict[int, int]:
    """Return the number of standing answers of the current set about each file, by its id, latest first."""
    with store.reading() as connection:
        return dict(
            connection.execute(
                "SELECT file_id, count(*) FROM standing_file_answers"
                " WHERE set_id = (SELECT set_id FROM present) GROUP BY file_id ORDER BY file_id DESC"
            ).fetchall()
        )


def find_file(store: AnswerStore, file_id: int) -> StoredFile | None:
    """Return a file by its id, from 1, even without standing answers; None if there is none."""
    with store.reading() as connection:
        row = connection.execute(
            "SELECT digest, feature FROM files WHERE file_id = ?", (file_id,)
        ).fetchone()
    return None if row is None else StoredFile(row[0], _decoded(row[1]))


def _standing(connection: sqlite3.Connection, condition: str, *values: str) -> list[FileAnswer]:
    """Return the standing answers of the current set that meet a condition."""
    present, _ = current_set(connection)
    return _fetched(connection, "standing_file_answers", f"set_id = {present} AND {condition}", *values)


def _fetched(
    connection: sqlite3.Connection, table: str, condition: str, *values: str | int
) -> list[FileAnswer]:
    columns = ", ".join(FileAnswer._fields)
    rows = connection.execute(
        f"SELECT {columns} FROM {table} JOIN files USING (file_id)"  # noqa: S608
        f" WHERE {condition} ORDER BY file_answer_id",
        values,
    ).fetchall()
    return [answer._replace(answer=Answer(answer.answer)) for answer in map(FileAnswer._make, rows)]


def _append(
    connection: sqlite3.Connection,
    place: tuple[int, int, int],
    answer: Answer | None,
    retracts: int | None,
    annotator: str,
    key: str | None,
) -> None:
    """Append a row about a file, a set and a tile: an answer, or a retraction."""
    last = connection.execute(
        "SELECT (SELECT coalesce(max(answer_id), 0) FROM answers),"
        " (SELECT coalesce(max(change_id), 0) FROM set_changes)"
    ).fetchone()
    said = None if answer is None else int(answer)
    key = secrets.token_hex(16) if key is None else key
    row = (*place, said, retracts, *last, text_of("annotator", annotator), now(), text_of("key", key))
    hash_chain.append(connection, "file_answers", [row])


def _place_of(connection: sqlite3.Connection, said: SaidOfFile) -> int:
    """Return the id of a file, adding it if it is new."""
    row = connection.execute("SELECT file_id FROM files WHERE digest = ?", (said.digest,)).fetchone()
    if row is not None:
        return row[0]
    if not np.isfinite(said.feature).all():
        raise StoreError("the feature of the file is not finite; nothing was stored.")
    (file_id,) = hash_chain.append(connection, "files", [(said.digest, _encoded(said.feature))])
    return file_id


def _is_repeated(connection: sqlite3.Connection, said: SaidOfFile, key: str) -> bool:
    """Return whether a request was stored before.

    Raises:
      StoreError: its key belongs to another answer.
    """
    row = connection.execute(
        "SELECT digest, tile, answer FROM file_answers JOIN files USING (file_id) WHERE key = ?", (key,)
    ).fetchone()
    expected = (said.digest, said.tile, None if said.answer is None else int(said.answer))
    if row is not None and row != expected:
        raise StoreError(f"key {key!r} belongs to another answer; give each answer its own.")
    return row is not None


def _encoded(feature: FloatArray) -> str:
    return base64.b64encode(np.asarray(feature, "<f4").tobytes()).decode("ascii")


def _decoded(text: str) -> FloatArray:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)
