"""The tables of the answer store, the migration of older files, and the detection of damage.

Rows are never changed or deleted. Retracting an answer appends a row, and bits once spent stay spent.
"""

import hashlib
import json
import pathlib
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from anneal_jax.answers import hash_chain
from anneal_jax.errors import StoreError

SCHEMA_VERSION = 5

DEFAULT_SENTENCE = "Are these two alike?"
"""Definition of "similar" for a project that gives none."""

_NEW_IN_3 = (
    "CREATE TABLE chosen_sets (choice_id INTEGER PRIMARY KEY,"
    " set_id INTEGER NOT NULL REFERENCES sets, chosen_at TEXT NOT NULL, checksum BLOB NOT NULL) STRICT",
    "CREATE VIEW present AS SELECT coalesce("
    "(SELECT set_id FROM chosen_sets ORDER BY choice_id DESC LIMIT 1), 1) AS set_id",
    "CREATE VIEW trained AS SELECT question_id, round_index, first, second, answer,"
    " coalesce(questions.similarity, scores.similarity) AS similarity"
    " FROM questions JOIN standing USING (question_id) LEFT JOIN scores USING (question_id)"
    " WHERE set_id = (SELECT set_id FROM present) AND kind IN ('training', 'volunteered', 'label')",
)

_NEW_IN_4 = (
    "CREATE TABLE renamed_sets (rename_id INTEGER PRIMARY KEY, set_id INTEGER NOT NULL REFERENCES sets,"
    " sentence TEXT NOT NULL, renamed_at TEXT NOT NULL, checksum BLOB NOT NULL) STRICT",
    "CREATE VIEW named_sets AS SELECT set_id, coalesce((SELECT sentence FROM renamed_sets"
    " WHERE renamed_sets.set_id = sets.set_id ORDER BY rename_id DESC LIMIT 1), sentence) AS sentence"
    " FROM sets",
    "CREATE TABLE set_changes (change_id INTEGER PRIMARY KEY,"
    " from_set INTEGER NOT NULL REFERENCES sets, from_sentence TEXT NOT NULL,"
    " to_set INTEGER NOT NULL REFERENCES sets, to_sentence TEXT NOT NULL,"
    " last_answer INTEGER NOT NULL, undoes INTEGER UNIQUE REFERENCES set_changes,"
    " annotator TEXT NOT NULL, key TEXT NOT NULL UNIQUE, checksum BLOB NOT NULL) STRICT",
    "CREATE TABLE acts (act_id INTEGER PRIMARY KEY, first_answer INTEGER NOT NULL REFERENCES answers,"
    " last_answer INTEGER NOT NULL REFERENCES answers, undoes INTEGER UNIQUE REFERENCES acts,"
    " annotator TEXT NOT NULL, key TEXT NOT NULL UNIQUE, checksum BLOB NOT NULL,"
    " CHECK (first_answer <= last_answer)) STRICT",
    "CREATE TABLE glances (glance_id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,"
    " subject INTEGER NOT NULL REFERENCES images, others TEXT NOT NULL, picked TEXT, elapsed_s REAL,"
    " checksum BLOB NOT NULL, CHECK (kind IN ('choice', 'grid'))) STRICT",
    "CREATE TABLE glance_answers (place INTEGER PRIMARY KEY, glance_id INTEGER NOT NULL REFERENCES glances,"
    " answer_id INTEGER NOT NULL UNIQUE REFERENCES answers, checksum BLOB NOT NULL) STRICT",
    "CREATE INDEX glance_answers_by_glance ON glance_answers (glance_id)",
    "CREATE VIEW history AS SELECT given.answer_id, given.question_id, set_id, round_index, first, second,"
    " questions.kind, given.answer, given.annotator, given.answered_at, given.elapsed_s, given.bits,"
    " given.key, source, undo.answered_at AS undone_at, glances.key AS glance_key,"
    " glances.kind AS glance_kind, subject, others, picked, glances.elapsed_s AS glance_s"
    " FROM answers AS given JOIN questions USING (question_id)"
    " LEFT JOIN answers AS undo ON undo.retracts = given.answer_id"
    " LEFT JOIN glance_answers ON glance_answers.answer_id = given.answer_id"
    " LEFT JOIN glances USING (glance_id) WHERE given.answer IS NOT NULL",
    "CREATE TABLE files (file_id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, feature TEXT NOT NULL,"
    " checksum BLOB NOT NULL) STRICT",
)

_OF_FILE_ANSWERS = (
    "CREATE INDEX file_answers_by_file ON file_answers (file_id)",
    "CREATE VIEW standing_file_answers AS SELECT * FROM file_answers AS given WHERE answer IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM file_answers AS undo WHERE undo.retracts = given.file_answer_id)",
)
"""Index and view of the table file_answers, the same in schemas 4 and 5."""

_NEW_IN_5 = (
    "CREATE TABLE file_answers (file_answer_id INTEGER PRIMARY KEY,"
    " file_id INTEGER NOT NULL REFERENCES files, set_id INTEGER NOT NULL REFERENCES sets,"
    " tile INTEGER NOT NULL REFERENCES images, answer INTEGER CHECK (answer IN (0, 1, 2)),"
    " retracts INTEGER UNIQUE REFERENCES file_answers, last_answer INTEGER NOT NULL,"
    " last_change INTEGER NOT NULL, annotator TEXT NOT NULL, answered_at TEXT NOT NULL,"
    " key TEXT NOT NULL UNIQUE, checksum BLOB NOT NULL,"
    " CHECK ((answer IS NULL) = (retracts IS NOT NULL))) STRICT",
    *_OF_FILE_ANSWERS,
)

_IN_4_ALONE = (
    "CREATE TABLE file_answers (file_answer_id INTEGER PRIMARY KEY,"
    " file_id INTEGER NOT NULL REFERENCES files, set_id INTEGER NOT NULL REFERENCES sets,"
    " tile INTEGER NOT NULL REFERENCES images, answer INTEGER CHECK (answer IN (0, 1, 2)),"
    " retracts INTEGER UNIQUE REFERENCES file_answers, annotator TEXT NOT NULL, answered_at TEXT NOT NULL,"
    " key TEXT NOT NULL UNIQUE, checksum BLOB NOT NULL,"
    " CHECK ((answer IS NULL) = (retracts IS NOT NULL))) STRICT",
    *_OF_FILE_ANSWERS,
)
"""What schema 5 replaces."""

STATEMENTS = (
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT",
    "CREATE TABLE images (image_index INTEGER PRIMARY KEY, image_id TEXT NOT NULL UNIQUE) STRICT",
    "CREATE TABLE sets (set_id INTEGER PRIMARY KEY, sentence TEXT NOT NULL, started_at TEXT NOT NULL,"
    " checksum BLOB NOT NULL) STRICT",
    "CREATE TABLE rounds (place INTEGER PRIMARY KEY, round_index INTEGER NOT NULL UNIQUE,"
    " facts TEXT NOT NULL, checksum BLOB NOT NULL) STRICT",
    "CREATE TABLE questions (question_id INTEGER PRIMARY KEY,"
    " set_id INTEGER NOT NULL REFERENCES sets,"
    " round_index INTEGER NOT NULL,"
    " first INTEGER NOT NULL REFERENCES images,"
    " second INTEGER NOT NULL REFERENCES images,"
    " similarity REAL, kind TEXT NOT NULL, source TEXT, checksum BLOB NOT NULL,"
    " CHECK (first < second),"
    " CHECK (kind IN ('training', 'audit', 'repeat', 'volunteered', 'label'))) STRICT",
    "CREATE INDEX questions_by_round ON questions (round_index)",
    "CREATE TABLE scores (score_id INTEGER PRIMARY KEY,"
    " question_id INTEGER NOT NULL UNIQUE REFERENCES questions,"
    " similarity REAL NOT NULL, checksum BLOB NOT NULL) STRICT",
    "CREATE TABLE answers (answer_id INTEGER PRIMARY KEY,"
    " question_id INTEGER NOT NULL REFERENCES questions,"
    " answer INTEGER CHECK (answer IN (0, 1, 2)),"
    " retracts INTEGER UNIQUE REFERENCES answers,"
    " annotator TEXT NOT NULL, answered_at TEXT NOT NULL, elapsed_s REAL, bits REAL NOT NULL,"
    " key TEXT NOT NULL UNIQUE, checksum BLOB NOT NULL,"
    " CHECK ((answer IS NULL) = (retracts IS NOT NULL))) STRICT",
    "CREATE INDEX answers_by_question ON answers (question_id)",
    "CREATE VIEW standing AS SELECT * FROM answers AS given WHERE answer IS NOT NULL"
    " AND NOT EXISTS (SELECT 1 FROM answers AS undo WHERE undo.retracts = given.answer_id)",
    *_NEW_IN_3,
    *_NEW_IN_4,
    *_NEW_IN_5,
)


def now() -> str:
    """Return the time in UTC, to the millisecond, as in 2026-01-31T23:59:59.999Z."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def prepare(connection: sqlite3.Connection, path: pathlib.Path, image_ids: Sequence[str]) -> bool:
    """Create the tables in an empty file, or migrate those of an older version, and verify them.

    Returns:
      Whether the file was changed.

    Raises:
      StoreError: as `verify`.
    """
    is_empty = not connection.execute("SELECT 1 FROM sqlite_master").fetchone()
    version = None if is_empty else _meta(connection).get("schema_version")
    if is_empty:
        _create(connection, image_ids)
    is_older = version in ("1", *_MIGRATIONS)
    if is_older:
        _verify_file(connection, path)
        _require_same_archive(connection, path, image_ids)
        _migrate(connection, image_ids)
    verify(connection, path, image_ids)
    return is_empty or is_older


def verify(connection: sqlite3.Connection, path: pathlib.Path, image_ids: Sequence[str]) -> None:
    """Check the whole content of the file against its checksums.

    Raises:
      StoreError: the file is damaged, has another version, or belongs to another archive.
    """
    _verify_file(connection, path)
    version = _meta(connection).get("schema_version")
    if version != str(SCHEMA_VERSION):
        raise StoreError(
            f"the answer store {path} has schema {version}; this version reads schema {SCHEMA_VERSION}. "
            "Use the version of anneal-jax that wrote it."
        )
    _require_same_archive(connection, path, image_ids)
    try:
        _verify_contents(connection, image_ids)
        hash_chain.verify(connection)
    except StoreError as error:
        raise StoreError(f"the answer store {path} is damaged ({error}); restore a copy of it.") from error


def _create(connection: sqlite3.Connection, image_ids: Sequence[str]) -> None:
    _lay_out(connection, image_ids)
    hash_chain.append(connection, "sets", [(DEFAULT_SENTENCE, now())])


def _lay_out(connection: sqlite3.Connection, image_ids: Sequence[str]) -> None:
    for statement in STATEMENTS:
        connection.execute(statement)
    connection.executemany("INSERT INTO images VALUES (?, ?)", enumerate(image_ids))
    meta = {"schema_version": str(SCHEMA_VERSION), "image_ids_sha256": _fingerprint(image_ids)}
    connection.executemany("INSERT INTO meta VALUES (?, ?)", meta.items())


def _migrate(connection: sqlite3.Connection, image_ids: Sequence[str]) -> None:
    """Migrate a file of an older version, one version at a time."""
    if _meta(connection)["schema_version"] == "1":
        _migrate_from_1(connection, image_ids)
    while step := _MIGRATIONS.get(version := _meta(connection)["schema_version"]):
        step(connection)
        after = str(int(version) + 1)
        connection.execute("UPDATE meta SET value = ? WHERE key = 'schema_version'", (after,))


def _migrate_from_1(connection: sqlite3.Connection, image_ids: Sequence[str]) -> None:
    """Rewrite the rows of schema 1 with chained checksums; all belong to one set and cost one bit each."""
    rounds = connection.execute("SELECT round_index, facts FROM rounds ORDER BY round_index").fetchall()
    questions = connection.execute(
        "SELECT round_index, first, second, similarity FROM questions ORDER BY question_id"
    ).fetchall()
    answers = connection.execute(
        "SELECT question_id, answer, annotator, answered_at FROM answers ORDER BY answered_at, question_id"
    ).fetchall()
    for table in ("answers", "questions", "rounds", "images", "meta"):
        connection.execute(f"DROP TABLE {table}")
    _lay_out(connection, image_ids)
    started_at = min((row[3] for row in answers), default=now())
    hash_chain.append(connection, "sets", [(DEFAULT_SENTENCE, started_at)])
    hash_chain.append(connection, "rounds", rounds)
    hash_chain.append(connection, "questions", [(1, *row, "training", None) for row in questions])
    archive = _fingerprint(image_ids)
    hash_chain.append(
        connection,
        "answers",
        [
            (question_id, answer, None, annotator, answered_at, None, 1.0, _old_key(archive, row))
            for row in answers
            for question_id, answer, annotator, answered_at in [row]
        ],
    )


def _migrate_from_2(connection: sqlite3.Connection) -> None:
    """Record every set as chosen by somebody; the last one is the current set."""
    connection.execute("DROP VIEW trained")
    for statement in _NEW_IN_3:
        connection.execute(statement)
    begun = connection.execute("SELECT set_id, started_at FROM sets WHERE set_id > 1 ORDER BY set_id")
    hash_chain.append(connection, "chosen_sets", begun.fetchall())


def _migrate_from_3(connection: sqlite3.Connection) -> None:
    """Add tables for renamed sets, acts, glances and files, which an older file lacks."""
    connection.execute("DROP VIEW history")
    for statement in (*_NEW_IN_4, *_IN_4_ALONE):
        connection.execute(statement)


def _migrate_from_4(connection: sqlite3.Connection) -> None:
    """Place answers about files among all answers by their time, and after every change of sets until then.

    Changes of sets have no time of their own; each names the last answer before it.
    """
    rows = connection.execute(
        "SELECT file_id, set_id, tile, answer, retracts, coalesce((SELECT max(answer_id) FROM answers"
        " WHERE answers.answered_at <= said.answered_at), 0) AS last_answer, annotator, answered_at, key"
        " FROM file_answers AS said ORDER BY file_answer_id"
    ).fetchall()
    changes = connection.execute("SELECT change_id, last_answer FROM set_changes").fetchall()
    connection.execute("DROP VIEW standing_file_answers")
    connection.execute("DROP TABLE file_answers")
    for statement in _NEW_IN_5:
        connection.execute(statement)
    hash_chain.append(
        connection,
        "file_answers",
        [
            (*row[:6], max((change for change, last in changes if last <= row[5]), default=0), *row[6:])
            for row in rows
        ],
    )


_MIGRATIONS: Mapping[str, Callable[[sqlite3.Connection], None]] = {
    "2": _migrate_from_2,
    "3": _migrate_from_3,
    "4": _migrate_from_4,
}


def _old_key(archive: str, row: Sequence[object]) -> str:
    """Return a key for an answer without one; two copies of a file get the same keys."""
    return "v1-" + hashlib.sha256(json.dumps([archive, *row]).encode()).hexdigest()[:32]


def _meta(connection: sqlite3.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT key, value FROM meta").fetchall())


def _fingerprint(image_ids: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(image_ids)).encode()).hexdigest()


def _verify_file(connection: sqlite3.Connection, path: pathlib.Path) -> None:
    report = connection.execute("PRAGMA integrity_check").fetchone()[0].splitlines()
    if report != ["ok"]:
        raise StoreError(f"the answer store {path} is damaged ({report[-1]}); restore a copy of it.")


def _require_same_archive(
    connection: sqlite3.Connection, path: pathlib.Path, image_ids: Sequence[str]
) -> None:
    if _meta(connection).get("image_ids_sha256") != _fingerprint(image_ids):
        raise StoreError(
            f"the answers in {path} belong to an archive with other tile names; open the archive "
            "they were given for, or start in a new workdir."
        )


def _verify_contents(connection: sqlite3.Connection, image_ids: Sequence[str]) -> None:
    """Check what the chains do not cover: the layout, the tiles' names and references between tables."""
    stored = connection.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY rowid")
    if [row[0] for row in stored] != list(STATEMENTS):
        raise StoreError("the layout of its tables has changed")
    images = connection.execute("SELECT image_index, image_id FROM images ORDER BY image_index")
    if images.fetchall() != list(enumerate(image_ids)):
        raise StoreError("the names of the tiles have changed")
    if _meta(connection).keys() != {"schema_version", "image_ids_sha256"}:
        raise StoreError("its table meta has changed")
    if connection.execute("PRAGMA foreign_key_check").fetchone():
        raise StoreError("a row refers to a missing row")
