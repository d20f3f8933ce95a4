"""Append-only tables in which every row carries a checksum chained to the previous row."""

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from anneal_jax.errors import StoreError

CHAINED: Mapping[str, tuple[str, ...]] = {
    "sets": ("set_id", "sentence", "started_at"),
    "rounds": ("place", "round_index", "facts"),
    "questions": (
        "question_id",
        "set_id",
        "round_index",
        "first",
        "second",
        "similarity",
        "kind",
        "source",
    ),
    "scores": ("score_id", "question_id", "similarity"),
    "answers": (
        "answer_id",
        "question_id",
        "answer",
        "retracts",
        "annotator",
        "answered_at",
        "elapsed_s",
        "bits",
        "key",
    ),
    "chosen_sets": ("choice_id", "set_id", "chosen_at"),
    "renamed_sets": ("rename_id", "set_id", "sentence", "renamed_at"),
    "set_changes": (
        "change_id",
        "from_set",
        "from_sentence",
        "to_set",
        "to_sentence",
        "last_answer",
        "undoes",
        "annotator",
        "key",
    ),
    "acts": ("act_id", "first_answer", "last_answer", "undoes", "annotator", "key"),
    "glances": ("glance_id", "key", "kind", "subject", "others", "picked", "elapsed_s"),
    "glance_answers": ("place", "glance_id", "answer_id"),
    "files": ("file_id", "digest", "feature"),
    "file_answers": (
        "file_answer_id",
        "file_id",
        "set_id",
        "tile",
        "answer",
        "retracts",
        "last_answer",
        "last_change",
        "annotator",
        "answered_at",
        "key",
    ),
}
"""The chained tables and their columns in order: an id from 1, the values, then `checksum`."""


def append(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[Any]]) -> list[int]:
    """Append rows to a chained table.

    Args:
      connection: inside a transaction.
      table: a name in `CHAINED`.
      rows: the values of each row without id and checksum; None, str, int or finite float.

    Returns:
      The ids of the rows.
    """
    key = CHAINED[table][0]
    last = connection.execute(
        f"SELECT {key}, checksum FROM {table} ORDER BY {key} DESC LIMIT 1"  # noqa: S608
    ).fetchone()
    row_id, checksum = last or (0, _origin(table))
    sealed = []
    for row in rows:
        row_id += 1
        checksum = _link(checksum, (row_id, *row))
        sealed.append((row_id, *row, checksum))
    marks = ", ".join("?" * (len(CHAINED[table]) + 1))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", sealed)  # noqa: S608
    return [row[0] for row in sealed]


def verify(connection: sqlite3.Connection) -> None:
    """Recompute every checksum of every chained table.

    Raises:
      StoreError: a row is missing or has changed.
    """
    for table, columns in CHAINED.items():
        checksum = _origin(table)
        rows = connection.execute(f"SELECT * FROM {table} ORDER BY {columns[0]}")  # noqa: S608
        for place, row in enumerate(rows, start=1):
            checksum = _link(checksum, row[:-1])
            if row[0] != place or row[-1] != checksum:
                raise StoreError(f"row {place} of its table {table} is not as it was written")


def _origin(table: str) -> bytes:
    return hashlib.sha256(table.encode()).digest()


def _link(checksum: bytes, row: Sequence[Any]) -> bytes:
    return hashlib.sha256(checksum + json.dumps(list(row), allow_nan=False).encode()).digest()
