"""Files of answers that people can read, send and merge: CSV or JSON Lines, by tile name."""

import csv
import io
import json
import math
import pathlib
import reprlib
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from anneal_jax.errors import StoreError, reason_of
from anneal_jax.files import atomic
from anneal_jax.files.tables import Table
from anneal_jax.text import folded, is_utf8
from anneal_jax.types import Answer

_WORDS = tuple(word.name.lower() for word in Answer)


class SharedGlance(NamedTuple):
    """A glance as written to a file: an object in JSON, the same object as text in CSV.

    Attributes:
      key: identifies the glance in every file.
      kind: `choice` or `grid`.
      tiles: names of the tiles, the subject first.
      picked: positions among the other tiles, from 0; None if the person was unsure.
      elapsed_s: seconds it took; None if unknown.
    """

    key: str
    kind: str
    tiles: tuple[str, ...]
    picked: tuple[int, ...] | None
    elapsed_s: float | None


class SharedAnswer(NamedTuple):
    """One line of a file of answers.

    Attributes:
      set: number of its set, from 1; sets without answers are not counted.
      sentence: what "similar" meant in it.
      first: name of one tile.
      second: name of the other tile.
      kind: as `AnswerRecord.kind`.
      answer: `similar`, `dissimilar` or `unsure`.
      annotator: name of the person.
      answered_at: time in UTC.
      elapsed_s: seconds it took; None if unknown.
      bits: its cost.
      key: identifies the answer in every file.
      undone_at: time of its retraction; None while it stands.
      glance: what else was shown with it; None if its pair was shown alone. Files of older versions do not
        have this field.
    """

    set: int
    sentence: str
    first: str
    second: str
    kind: str
    answer: str
    annotator: str
    answered_at: str
    elapsed_s: float | None
    bits: float
    key: str
    undone_at: str | None
    glance: SharedGlance | None = None


class Disagreement(NamedTuple):
    """A pair of one set that standing answers call both similar and dissimilar."""

    first: str
    second: str
    answers: tuple[SharedAnswer, ...]

    def __str__(self) -> str:
        """Return a one-line description."""
        voices = ", ".join(f"{row.annotator}: {row.answer}" for row in self.answers)
        return f"disagreement on {self.first} and {self.second} ({voices})"


def write_answers(path: str | pathlib.Path, rows: Iterable[SharedAnswer]) -> None:
    """Write answers to a `.csv` or `.jsonl` file, which is replaced atomically.

    Raises:
      StoreError: the file has another suffix.
      WorkdirError: the folder does not exist.
    """
    path = pathlib.Path(path)
    atomic.write_text(path, answers_text(rows, path.name))


def answers_text(rows: Iterable[SharedAnswer], name: str) -> str:
    """Return answers as the text of a file of this name.

    Raises:
      StoreError: the name ends neither in `.csv` nor in `.jsonl`.
    """
    if _is_csv(name):
        text = io.StringIO(newline="")
        # Quote every text: a name may contain commas and line breaks.
        writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerow(SharedAnswer._fields)
        writer.writerows((*row[:-1], row.glance and _json(row.glance._asdict())) for row in rows)
        return text.getvalue()
    return "".join(
        _json(row._asdict() | {"glance": row.glance and row.glance._asdict()}) + "\n" for row in rows
    )


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def read_answers(path: str | pathlib.Path) -> list[SharedAnswer]:
    """Read a file written by `write_answers`, or by another program in the same format.

    Raises:
      StoreError: the file cannot be read, or a line is not an answer; the message names the line.
    """
    _is_csv(str(path))  # report a wrong suffix before a missing file
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise StoreError(f"the answers in {path} cannot be read ({reason_of(error)}).") from error
    return parse_answers(data, str(path))


def parse_answers(data: bytes, name: str) -> list[SharedAnswer]:
    """Parse the bytes of a file of this name; see `read_answers`.

    Raises:
      StoreError: as `read_answers`.
    """
    is_csv = _is_csv(name)
    try:
        text = data.decode("utf-8-sig")  # spreadsheets write a byte order mark
        found = _csv_lines(text, name) if is_csv else _json_lines(text, name)
        return [_checked(fields, f"{name}, line {line}") for line, fields in found]
    except (csv.Error, ValueError, RecursionError) as error:
        raise StoreError(f"the answers in {name} cannot be read ({reason_of(error)}).") from error


def merge_answers(one: Sequence[SharedAnswer], other: Sequence[SharedAnswer]) -> list[SharedAnswer]:
    """Merge two people's answers, ordered by sentence, then by time.

    An answer whose key is in both files is kept once; it is retracted if either file says so. If two people
    answered a pair differently, both answers are kept, and `disagreements` lists the pair. Each file has
    its own set numbers: the merged file has one set per sentence, and the sentence answered first gets
    number 1.

    Raises:
      StoreError: a key belongs to two different answers, or the files have no sentence in common.
    """
    one, other = _with_one_spelling(one, other)
    asked = [sorted({row.sentence for row in rows}) for rows in (one, other)]
    if all(asked) and not set(asked[0]) & set(asked[1]):
        raise StoreError(
            f"one file asks {asked[0][0]!r} and the other {asked[1][0]!r}; answers to different questions "
            "cannot be merged."
        )
    merged: dict[str, SharedAnswer] = {}
    for row in (*one, *other):
        same = merged.setdefault(row.key, row)
        require_same(same, row)
        undone_at = min(filter(None, (same.undone_at, row.undone_at)), default=None)
        merged[row.key] = same._replace(undone_at=undone_at)
    by_time = sorted(merged.values(), key=lambda row: (row.answered_at, row.sentence, row.key))
    sentences = list(dict.fromkeys(row.sentence for row in by_time))
    numbered = [row._replace(set=sentences.index(row.sentence) + 1) for row in by_time]
    return sorted(numbered, key=lambda row: (row.set, row.answered_at, row.key))


def _with_one_spelling(*files: Sequence[SharedAnswer]) -> list[list[SharedAnswer]]:
    """Return the answers with one spelling of sentences and people that differ only in Unicode form."""
    names = ("sentence", "annotator")  # not tiles: an archive may contain both spellings
    written = {getattr(row, name) for rows in files for row in rows for name in names}
    preferred = sorted(written, key=lambda text: (text == folded(text), text))
    spelling = {folded(text): text for text in preferred}
    return [
        [row._replace(**{name: spelling[folded(getattr(row, name))] for name in names}) for row in rows]
        for rows in files
    ]


def disagreements(rows: Iterable[SharedAnswer]) -> list[Disagreement]:
    """List the pairs of each set that standing answers call both similar and dissimilar."""
    by_pair: dict[tuple[int, str, str], list[SharedAnswer]] = defaultdict(list)
    for row in rows:
        if row.undone_at is None and row.answer != "unsure":
            first, second = sorted((row.first, row.second))
            by_pair[row.set, first, second].append(row)
    return [
        Disagreement(first, second, tuple(found))
        for (_, first, second), found in sorted(by_pair.items())
        if len({row.answer for row in found}) > 1
    ]


def require_same(one: SharedAnswer, other: SharedAnswer) -> None:
    """Compare two lines with the same key; set numbers may differ, because each file has its own.

    Texts that differ only in Unicode form (`anneal_jax.text`) are equal.

    Raises:
      StoreError: the lines differ.
    """
    if _meaning(one) != _meaning(other):
        raise StoreError(f"key {one.key!r} belongs to two different answers; one of the files was changed.")


def _meaning(row: SharedAnswer) -> tuple[object, ...]:
    plain = row._replace(set=0, undone_at=None, glance=None)
    shown = row.glance and row.glance._replace(tiles=tuple(map(folded, row.glance.tiles)))
    return (*(folded(value) if isinstance(value, str) else value for value in plain), shown)


def _is_csv(name: str) -> bool:
    if not name.endswith((".csv", ".jsonl")):
        raise StoreError(f"answers are stored in .csv or .jsonl files; {name} is neither.")
    return name.endswith(".csv")


def _csv_lines(text: str, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    table = Table(io.StringIO(text, newline=""), name, StoreError)
    _require_fields(table.columns, f"{name}, line 1")
    yield from table.rows()


def _json_lines(text: str, name: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, written in enumerate(text.split("\n"), start=1):
        if written.strip():
            fields = json.loads(written)
            _require_fields(fields if isinstance(fields, dict) else (), f"{name}, line {line}")
            yield line, fields


def _require_fields(names: Collection[str], where: str) -> None:
    if {*names, "glance"} != set(SharedAnswer._fields):
        raise StoreError(f"{where}: expected the fields {', '.join(SharedAnswer._fields)}.")


def _checked(fields: Mapping[str, Any], where: str) -> SharedAnswer:
    """Return the answer of a line, or raise an error that says what is wrong; the same for CSV and JSON.

    A number may be written as text, as in a CSV file. Empty text means None for an optional field, because
    programs that convert CSV to JSON write it that way.
    """
    try:
        read: dict[str, Any] = {
            name: None
            if name in _MAY_BE_NOTHING and _is_nothing(fields.get(name))
            else reader(name, fields[name])
            for name, reader in _READERS.items()
        }
        return SharedAnswer(**read)
    except (ValueError, OverflowError) as error:
        raise StoreError(f"{where}: {error}.") from error


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or not is_utf8(value):
        raise ValueError(f"{name} is {_shown(value)}, but must be text in UTF-8")
    return value


def _word(name: str, value: Any) -> str:
    del name
    if value not in _WORDS:
        raise ValueError(f"{_shown(value)} is not an answer; give {', '.join(_WORDS)}")
    return value


def _time(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_shown(value)}, but must be a time such as 2026-01-31T10:15:00Z")
    datetime.fromisoformat(value)
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{name} is {_shown(value)}, but must be a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {_shown(value)}, but must be a finite number")
    return number


def _whole(name: str, value: Any) -> int:
    number = int(value) if isinstance(value, str) else _number(name, value)
    if number != int(number):
        raise ValueError(f"{name} is {_shown(value)}, but must be a whole number")
    return int(number)


def _glance(name: str, value: Any) -> SharedGlance:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict) or found.keys() != {*SharedGlance._fields}:
        raise ValueError(f"{name} is {_shown(value)}, but must have {', '.join(SharedGlance._fields)}")
    tiles, picked, elapsed_s = found["tiles"], found["picked"], found["elapsed_s"]
    if not tiles or not isinstance(tiles, list) or not isinstance(picked, list | None):
        raise ValueError(f"{name} is {_shown(value)}; its tiles and its places must be lists")
    return SharedGlance(
        _text("key", found["key"]),
        _text("kind", found["kind"]),
        tuple(_text("a tile", tile) for tile in tiles),
        None if picked is None else tuple(_whole("a place", place) for place in picked),
        None if elapsed_s is None else _number("elapsed_s", elapsed_s),
    )


def _shown(value: Any) -> str:
    return reprlib.repr(value)


_MAY_BE_NOTHING = ("elapsed_s", "undone_at", "glance")
_READERS: dict[str, Callable[[str, Any], Any]] = {
    "set": _whole,
    **dict.fromkeys(("sentence", "first", "second", "kind", "annotator", "key"), _text),
    "answer": _word,
    **dict.fromkeys(("answered_at", "undone_at"), _time),
    **dict.fromkeys(("elapsed_s", "bits"), _number),
    "glance": _glance,
}
