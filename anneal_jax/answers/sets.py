"""Sets of answers: the list of sets, the current one, and how a person changes them.

A set belongs to the sentence that defines "similar". Renaming a set keeps its answers. Each function runs
inside one transaction and only appends; a person's change can be undone until another answer is given.
"""

import secrets
import sqlite3
from typing import NamedTuple

from anneal_jax.answers import hash_chain
from anneal_jax.answers.reading import current_set, is_settled
from anneal_jax.answers.schema import now
from anneal_jax.answers.writing import is_key_of_answer, is_key_of_undoing, taken, text_of
from anneal_jax.errors import StoreError
from anneal_jax.text import Names, folded


class AnswerSet(NamedTuple):
    """A set of answers.

    Attributes:
      set_id: its number, from 1.
      sentence: its current definition of "similar".
      num_answers: number of its standing answers of every kind.
      is_present: whether it is the current set.
    """

    set_id: int
    sentence: str
    num_answers: int
    is_present: bool


def listed(connection: sqlite3.Connection) -> list[AnswerSet]:
    """Fetch the current set and all sets with answers, in the order begun."""
    rows = connection.execute(
        "SELECT set_id, named_sets.sentence, count(answer_id), set_id = (SELECT set_id FROM present)"
        " FROM named_sets LEFT JOIN questions USING (set_id) LEFT JOIN standing USING (question_id)"
        " GROUP BY set_id HAVING count(answer_id) > 0 OR set_id = (SELECT set_id FROM present)"
        " ORDER BY set_id"
    ).fetchall()
    return [AnswerSet(number, name, count, bool(here)) for number, name, count, here in rows]


def start_set(connection: sqlite3.Connection, sentence: str) -> int:
    """Begin a set of answers without switching to it, and return its number."""
    (set_id,) = hash_chain.append(connection, "sets", [(text_of("sentence", sentence), now())])
    return set_id


def choose_set(connection: sqlite3.Connection, set_id: int) -> None:
    """Make a set the current one, and record that somebody chose it."""
    hash_chain.append(connection, "chosen_sets", [(set_id, now())])


def say_sentence(connection: sqlite3.Connection, sentence: str) -> int:
    """Switch to the set of a sentence, or to a new set if there is none, and return its number.

    A set is also found by an earlier sentence. Older versions began a set for every change, so a sentence
    may have several sets: one with answers is preferred, then the current one, then the newest.
    """
    sentence = text_of("sentence", sentence)
    present, _ = current_set(connection)
    set_id = _set_named(connection, sentence, present) or start_set(connection, sentence)
    if set_id != present or not is_settled(connection):
        choose_set(connection, set_id)
    return set_id


def begin_set(
    connection: sqlite3.Connection, sentence: str, *, annotator: str, key: str | None = None
) -> int:
    """Begin a set for a sentence, switch to it, and return its number; repeating the key only returns it.

    Raises:
      StoreError: the current set, or another one with answers, has this sentence.
    """
    if _is_done(connection, key):
        return current_set(connection)[0]
    sentence = text_of("sentence", sentence)
    _require_free(connection, sentence)
    before = current_set(connection)
    # Reuse a set that was begun and left empty.
    set_id = _set_called(connection, sentence, before[0]) or start_set(connection, sentence)
    choose_set(connection, set_id)
    _note_change(connection, before, annotator, key)
    return set_id


def go_to_set(
    connection: sqlite3.Connection, set_id: int, *, annotator: str, key: str | None = None
) -> None:
    """Switch to a set; repeating the key does nothing.

    Raises:
      StoreError: there is no such set.
    """
    before = current_set(connection)
    if _is_done(connection, key) or set_id == before[0]:
        return
    if connection.execute("SELECT 1 FROM sets WHERE set_id = ?", (set_id,)).fetchone() is None:
        raise StoreError(f"there is no set {set_id} of answers.")
    choose_set(connection, set_id)
    _note_change(connection, before, annotator, key)


def rename_set(
    connection: sqlite3.Connection, sentence: str, *, annotator: str, key: str | None = None
) -> None:
    """Give the current set another sentence and keep its answers. Repeating the key does nothing.

    Raises:
      StoreError: another set with answers has this sentence.
    """
    before = current_set(connection)
    sentence = text_of("sentence", sentence)
    if _is_done(connection, key) or sentence == before[1]:
        return
    _require_free(connection, sentence, but=before[0])
    _append_name(connection, before[0], sentence)
    if not is_settled(connection):
        choose_set(connection, before[0])
    _note_change(connection, before, annotator, key)


def undo_change(connection: sqlite3.Connection, *, annotator: str, key: str | None = None) -> bool:
    """Undo a person's last change of sets, if nothing came after it.

    Returns:
      Whether there was one, or the same key undid it before.
    """
    if key is not None and (row := _change_of(connection, key)) is not None:
        if row[1] is None:
            raise taken(key)
        return True
    change = connection.execute(
        "SELECT change_id, from_set, from_sentence, to_set, to_sentence FROM set_changes AS made"
        " WHERE undoes IS NULL AND annotator = ? "
        " AND last_answer = (SELECT coalesce(max(answer_id), 0) FROM answers)"
        " AND NOT EXISTS (SELECT 1 FROM file_answers WHERE last_change >= made.change_id)"
        " AND NOT EXISTS (SELECT 1 FROM set_changes AS undo WHERE undo.undoes = made.change_id)"
        " ORDER BY change_id DESC LIMIT 1",
        (text_of("annotator", annotator),),
    ).fetchone()
    present = current_set(connection)
    if change is None or change[3:] != present or is_key_of_undoing(connection, key):
        return False
    change_id, set_id, sentence = change[:3]
    if set_id != present[0]:
        choose_set(connection, set_id)
    elif sentence != present[1]:
        _append_name(connection, set_id, sentence)
    _note_change(connection, present, annotator, key, undoes=change_id)
    return True


def sentences_by_earlier(connection: sqlite3.Connection) -> dict[str, str]:
    """Return the present sentence of each renamed set by the folded form of every earlier one.

    A sentence that another set has now, or that two sets had, is none of them.
    """
    names = dict(connection.execute("SELECT set_id, sentence FROM named_sets").fetchall())
    had = connection.execute(
        "SELECT set_id, sentence FROM sets UNION SELECT set_id, sentence FROM renamed_sets"
    ).fetchall()
    sets_by_name: dict[str, set[int]] = {}
    for set_id, sentence in had:
        sets_by_name.setdefault(folded(sentence), set()).add(set_id)
    in_use = {folded(name) for name in names.values()}
    return {
        name: names[next(iter(ids))]
        for name, ids in sets_by_name.items()
        if len(ids) == 1 and name not in in_use
    }


def _set_named(connection: sqlite3.Connection, sentence: str, present: int) -> int | None:
    """Return the set that has a sentence, or else the one that had it; None if there is none."""
    now_called = sentences_by_earlier(connection).get(folded(sentence), sentence)
    return _set_called(connection, sentence, present) or _set_called(connection, now_called, present)


def _set_called(connection: sqlite3.Connection, sentence: str, present: int) -> int | None:
    """Return the set that has a sentence now, spelt in whatever form; None if there is none."""
    names = [name for (name,) in connection.execute("SELECT sentence FROM named_sets").fetchall()]
    (spelling, *_) = Names(names).find(sentence) or [sentence]
    found = connection.execute(
        "SELECT set_id FROM named_sets WHERE sentence = ? ORDER BY EXISTS (SELECT 1 FROM questions"
        " JOIN standing USING (question_id) WHERE questions.set_id = named_sets.set_id) DESC,"
        " set_id = ? DESC, set_id DESC LIMIT 1",
        (spelling, present),
    ).fetchone()
    return found and found[0]


def _require_free(connection: sqlite3.Connection, sentence: str, *, but: int | None = None) -> None:
    for other in listed(connection):
        if other.set_id != but and folded(other.sentence) == folded(sentence):
            raise StoreError(
                f"there is a set for {other.sentence!r} already, with {other.num_answers:,} answers; "
                "go to it, or choose another sentence."
            )


def _append_name(connection: sqlite3.Connection, set_id: int, sentence: str) -> None:
    hash_chain.append(connection, "renamed_sets", [(set_id, sentence, now())])


def _note_change(
    connection: sqlite3.Connection,
    before: tuple[int, str],
    annotator: str,
    key: str | None,
    undoes: int | None = None,
) -> None:
    """Note who went from one set and sentence to another, and after which answer."""
    (last_answer,) = connection.execute("SELECT coalesce(max(answer_id), 0) FROM answers").fetchone()
    key = secrets.token_hex(16) if key is None else text_of("key", key)
    row = (*before, *current_set(connection), last_answer, undoes, text_of("annotator", annotator), key)
    hash_chain.append(connection, "set_changes", [row])


def _is_done(connection: sqlite3.Connection, key: str | None) -> bool:
    """Return whether a request with this key was carried out before."""
    if key is None:
        return False
    if is_key_of_answer(connection, key):
        raise taken(key)
    return _change_of(connection, key) is not None


def _change_of(connection: sqlite3.Connection, key: str) -> tuple[int, int | None] | None:
    return connection.execute(
        "SELECT change_id, undoes FROM set_changes WHERE key = ?", (text_of("key", key),)
    ).fetchone()
