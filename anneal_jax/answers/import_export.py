"""Exports the answers of a store to a file, and imports answers from one.

A file contains every answer of every set, including retracted ones, with its cost. What a run adds (rounds,
similarities) stays in the store. Importing a file into an empty store of the same archive and exporting it
again reproduces the file byte for byte.
"""

import pathlib
import sqlite3
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from anneal_jax.answers import sets, writing
from anneal_jax.answers.file_format import (
    Disagreement,
    SharedAnswer,
    SharedGlance,
    disagreements,
    read_answers,
    require_same,
    write_answers,
)
from anneal_jax.answers.glances import AnsweredGlance
from anneal_jax.answers.reading import current_set
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.errors import StoreError, nearest_hint
from anneal_jax.text import Names, folded
from anneal_jax.types import Answer


class ImportReport(NamedTuple):
    """Result of an import.

    Attributes:
      num_added: number of answers stored.
      num_known: number of answers that the store already had.
      disagreements: pairs of the current set whose answers now differ; all answers are kept.
    """

    num_added: int
    num_known: int
    disagreements: list[Disagreement]


def shared_answers(store: AnswerStore) -> list[SharedAnswer]:
    """Return a store's answers in the form of a file, in the order given."""
    sentences = store.sentences()
    found = store.records()
    used = sorted({record.set_id for record in found})
    number = {set_id: place for place, set_id in enumerate(used, start=1)}
    return [
        SharedAnswer(
            number[record.set_id],
            sentences[record.set_id],
            store.image_ids[record.first],
            store.image_ids[record.second],
            record.kind,
            record.answer.name.lower(),
            record.annotator,
            record.answered_at,
            record.elapsed_s,
            record.bits,
            record.key,
            record.undone_at,
            _shared_glance(record.glance, store.image_ids),
        )
        for record in found
    ]


def _shared_glance(glance: AnsweredGlance | None, image_ids: Sequence[str]) -> SharedGlance | None:
    if glance is None:
        return None
    tiles = tuple(image_ids[tile] for tile in (glance.subject, *glance.others))
    return SharedGlance(glance.key, glance.kind, tiles, glance.picked, glance.elapsed_s)


def present_answers(store: AnswerStore) -> list[SharedAnswer]:
    """Return the `shared_answers` that belong to the current set."""
    present = store.present_set()
    found = zip(store.records(), shared_answers(store), strict=True)
    return [row for record, row in found if record.set_id == present]


def export_answers(store: AnswerStore, path: str | pathlib.Path) -> int:
    """Write all answers of a store to a `.csv` or `.jsonl` file, and return how many there are."""
    rows = shared_answers(store)
    write_answers(path, rows)
    return len(rows)


def import_answers(store: AnswerStore, path: str | pathlib.Path) -> ImportReport:
    """Add the answers of a file to a store, each once, all of them or none.

    An answer whose key the store already has is not added again, but is retracted if the file says so. A
    store without answers accepts every set of the file. Otherwise new answers must belong to the store's
    current sentence, because answers to different questions must not be mixed.

    Raises:
      StoreError: the file cannot be read, names a tile that is not in the archive, or answers another
        question.
    """
    return add_answers(store, read_answers(path), str(path))


def add_answers(store: AnswerStore, rows: Sequence[SharedAnswer], name: str) -> ImportReport:
    """Add the answers of a file of this name to a store; see `import_answers`.

    Raises:
      StoreError: as `import_answers`.
    """
    rows = _renamed(store, rows)
    known = {row.key: row for row in shared_answers(store)}
    fresh = {row.key: row for row in rows if row.key not in known}
    for row in rows:
        require_same(known.get(row.key) or fresh[row.key], row)
    if known:
        _require_sentence(list(fresh.values()), store.sentence(), name)
    places = {name: place for place, name in enumerate(store.image_ids)}
    names = Names(places)
    with store.changing() as connection:
        set_ids = {} if known else _begin_sets(connection, rows)
        writing.give(connection, [_given(row, names, places, set_ids.get(row.set), name) for row in rows])
    return ImportReport(len(fresh), len(rows) - len(fresh), disagreements(present_answers(store)))


def _renamed(store: AnswerStore, rows: Sequence[SharedAnswer]) -> list[SharedAnswer]:
    """Return answers with the current sentence of their set, if it has been renamed here."""
    renamed = store.sentences_by_earlier()
    return [row._replace(sentence=renamed.get(folded(row.sentence), row.sentence)) for row in rows]


def _given(
    row: SharedAnswer, names: Names, places: Mapping[str, int], set_id: int | None, file: str
) -> Given:
    first, second = (_tile_named(name, names, file) for name in (row.first, row.second))
    return Given(
        places[first],
        places[second],
        Answer[row.answer.upper()],
        row.annotator,
        kind=row.kind,
        key=row.key,
        elapsed_s=row.elapsed_s,
        bits=row.bits,
        source=pathlib.PurePath(file).name,
        answered_at=row.answered_at,
        undone_at=row.undone_at,
        set_id=set_id,
        glance=_glance(row.glance, names, places, file),
    )


def _glance(
    shared: SharedGlance | None, names: Names, places: Mapping[str, int], file: str
) -> AnsweredGlance | None:
    if shared is None:
        return None
    subject, *others = (places[_tile_named(name, names, file)] for name in shared.tiles)
    return AnsweredGlance(shared.key, shared.kind, subject, tuple(others), shared.picked, shared.elapsed_s)


def _tile_named(name: str, names: Names, file: str) -> str:
    found = names.find(name)
    if len(found) != 1:
        raise StoreError(
            f"{file} names the tile {name!r}, which the archive does not have{nearest_hint(name, names)}; "
            "open the archive the answers were given for."
        )
    return found[0]


def _begin_sets(connection: sqlite3.Connection, rows: Sequence[SharedAnswer]) -> dict[int, int]:
    """Begin the sets of a file in order; return a map from numbers in the file to numbers here."""
    present, sentence = current_set(connection)
    set_ids: dict[int, int] = {}
    for number, asked in sorted({(row.set, row.sentence) for row in rows}):
        is_present = not set_ids and folded(asked) == folded(sentence)
        set_ids[number] = present if is_present else sets.start_set(connection, asked)
    if rows:  # the set answered last becomes the current one
        sets.choose_set(connection, set_ids[max(rows, key=lambda row: row.answered_at).set])
    return set_ids


def _require_sentence(rows: Sequence[SharedAnswer], sentence: str, name: str) -> None:
    for row in rows:
        if folded(row.sentence) != folded(sentence):
            raise StoreError(
                f"{name} answers {row.sentence!r}, but this store asks {sentence!r}; answers to different "
                "questions cannot be mixed. Import the file into a store without answers."
            )
