"""Answers about image files that are no tiles of the archive: of a file people searched by, and a tile.

The first answer about a file gives it a place of its own in the answer store: the SHA-256 of its bytes and
its feature, neither a name nor a path. Answers about files belong to a set, as all do, but are kept apart
from those about pairs of tiles. They steer the search by that file. Nothing follows from them, nothing is
trained on them, they cost no bits, and exported answers leave them out: nobody else could know which file
they mean.
"""

import base64
import secrets
import sqlite3
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from anneal_jax.answers import hash_chain
from anneal_jax.answers.reading import current_set
from anneal_jax.answers.schema import now
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import text_of
from anneal_jax.errors import StoreError
from anneal_jax.types import Answer, FloatArray


class StoredFile(NamedTuple):
    """A file that has a place in the store.

    Attributes:
      digest: SHA-256 of its bytes, 64 hexadecimal digits.
      feature: float32[F], as the backbone gave it.
    """

    digest: str
    feature: FloatArray


class FileAnswer(NamedTuple):
    """An answer that stands: are a file and a tile alike?"""

    file_answer_id: int
    tile: int
    answer: Answer


class SaidOfFile(NamedTuple):
    """What somebody says of a file and a tile.

    Attributes:
      digest: SHA-256 of the file's bytes, 64 hexadecimal digits.
      feature: float32[F] of the file; kept when it is new.
      tile: an index into the archive.
      answer: what is said; None takes back what stands of this file and tile.
      annotator: who says it.
      key: names the request: the same key again stores nothing. None makes a fresh one.
    """

    digest: str
    feature: FloatArray
    tile: int
    answer: Answer | None
    annotator: str
    key: str | None = None


def say_of_file(store: AnswerStore, said: SaidOfFile) -> None:
    """Store what is said of a file and a tile in the present set.

    It takes an earlier answer about the two back. When this returns, it is on disk, all of it or nothing.
    The same answer again stores nothing.

    Raises:
      StorageFullError: the disk is full; nothing was stored.
      StoreError: there is no such tile, the feature is not finite, or the key is another answer's.
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
        place, who = (file_id, set_id, said.tile), (annotator, now())
        rows: list[Sequence[int | str | None]] = []
        if old is not None:
            undo_key = key if said.answer is None else secrets.token_hex(16)
            rows.append((*place, None, old[0], *who, undo_key))
        if said.answer is not None:
            rows.append((*place, int(said.answer), None, *who, key))
        hash_chain.append(connection, "file_answers", rows)


def answers_about(store: AnswerStore, digest: str) -> list[FileAnswer]:
    """Return the answers about a file that stand in the present set, in the order given."""
    with store.reading() as connection:
        rows = connection.execute(
            "SELECT file_answer_id, tile, answer FROM standing_file_answers JOIN files USING (file_id)"
            " WHERE digest = ? AND set_id = (SELECT set_id FROM present) ORDER BY file_answer_id",
            (digest,),
        ).fetchall()
    return [FileAnswer(file_answer_id, tile, Answer(answer)) for file_answer_id, tile, answer in rows]


def answered_files(store: AnswerStore) -> dict[int, int]:
    """Return how many answers about each file stand in the present set, by its id, the last one first."""
    with store.reading() as connection:
        return dict(
            connection.execute(
                "SELECT file_id, count(*) FROM standing_file_answers"
                " WHERE set_id = (SELECT set_id FROM present) GROUP BY file_id ORDER BY file_id DESC"
            ).fetchall()
        )


def find_file(store: AnswerStore, file_id: int) -> StoredFile | None:
    """Return a file by its id, from 1, whatever stands about it; None if there is none."""
    with store.reading() as connection:
        row = connection.execute(
            "SELECT digest, feature FROM files WHERE file_id = ?", (file_id,)
        ).fetchone()
    return None if row is None else StoredFile(row[0], _decoded(row[1]))


def _place_of(connection: sqlite3.Connection, said: SaidOfFile) -> int:
    """Return the id of a file, which gets its place here if it has none yet."""
    row = connection.execute("SELECT file_id FROM files WHERE digest = ?", (said.digest,)).fetchone()
    if row is not None:
        return row[0]
    if not np.isfinite(said.feature).all():
        raise StoreError("the feature of the file is not finite; nothing was stored.")
    (file_id,) = hash_chain.append(connection, "files", [(said.digest, _encoded(said.feature))])
    return file_id


def _is_repeated(connection: sqlite3.Connection, said: SaidOfFile, key: str) -> bool:
    """Tell whether a request was stored before.

    Raises:
      StoreError: its key belongs to something else that was said.
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
