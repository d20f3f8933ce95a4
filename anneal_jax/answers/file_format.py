"""Answers as files that people read, send and put together: CSV or JSON Lines, by tile name."""

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
    """What was shown at once, as a file says it: in JSON an object, in CSV the same as a text.

    Attributes:
      key: names the glance in every file.
      kind: `choice` or `grid`.
      tiles: names, that of the subject first.
      picked: places among the others, from 0; None if the person was unsure.
      elapsed_s: seconds it took; None where unknown.
    """

    key: str
    kind: str
    tiles: tuple[str, ...]
    picked: tuple[int, ...] | None
    elapsed_s: float | None


class SharedAnswer(NamedTuple):
    """One line of a file of answers.

    Attributes:
      set: number of the set it belongs to, from 1, without sets that hold no answer.
      sentence: what "similar" meant in it.
      first: name of a tile.
      second: name of another.
      kind: as `AnswerRecord.kind`.
      answer: `similar`, `dissimilar` or `unsure`.
      annotator: who said it.
      answered_at: when, in UTC.
      elapsed_s: seconds it took; None where unknown.
      bits: what it cost.
      key: names the answer in every file.
      undone_at: when it was taken back; None while it stands.
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
    """One pair of one set that was called similar, and dissimilar, by answers that stand."""

    first: str
    second: str
    answers: tuple[SharedAnswer, ...]

    def __str__(self) -> str:
        """Say it in one line."""
        voices = ", ".join(f"{row.annotator}: {row.answer}" for row in self.answers)
        return f"disagreement on {self.first} and {self.second} ({voices})"


def write_answers(path: str | pathlib.Path, rows: Iterable[SharedAnswer]) -> None:
    """Write answers to a `.csv` or `.jsonl` file, which is replaced whole.

    Raises:
      StoreError: the ending is another one.
      WorkdirError: the folder does not exist.
    """
    path = pathlib.Path(path)
    atomic.write_text(path, answers_text(rows, path.name))


def answers_text(rows: Iterable[SharedAnswer], name: str) -> str:
    """Return answers as a file of this name holds them.

    Raises:
      StoreError: the name ends neither in `.csv` nor in `.jsonl`.
    """
    if _is_csv(name):
        text = io.StringIO(newline="")
        # Every text in quotes: a name may hold whatever else ends a field or a line.
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
    """Read a file that `write_answers` wrote, or another program in the same form.

    Raises:
      StoreError: the file cannot be read, or a line of it is no answer; it is named.
    """
    _is_csv(str(path))  # a wrong name comes before a missing file
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise StoreError(f"the answers in {path} cannot be read ({reason_of(error)}).") from error
    return parse_answers(data, str(path))


def parse_answers(data: bytes, name: str) -> list[SharedAnswer]:
    """Read the bytes of a file of this name, as `read_answers`.

    Raises:
      StoreError: as `read_answers`.
    """
    is_csv = _is_csv(name)
    try:
        text = data.decode("utf-8-sig")  # spreadsheets begin with a byte order mark
        found = _csv_lines(text, name) if is_csv else _json_lines(text, name)
        return [_checked(fields, f"{name}, line {line}") for line, fields in found]
    except (csv.Error, ValueError, RecursionError) as error:
        raise StoreError(f"the answers in {name} cannot be read ({reason_of(error)}).") from error


def merge_answers(one: Sequence[SharedAnswer], other: Sequence[SharedAnswer]) -> list[SharedAnswer]:
    """Put two people's answers together, by sentence, then by time.

    An answer that both files hold, by its key, is kept once; it is taken back where either says so. A pair
    that two people answered differently is kept as both; `disagreements` lists it. Each file numbers its
    sets by itself: what belongs to one sentence is one set, and the sentence that was answered first is 1.

    Raises:
      StoreError: one key names two different answers, or the files have no sentence in common.
    """
    one, other = _with_one_spelling(one, other)
    asked = [sorted({row.sentence for row in rows}) for rows in (one, other)]
    if all(asked) and not set(asked[0]) & set(asked[1]):
        raise StoreError(
            f"one file asks {asked[0][0]!r} and the other {asked[1][0]!r}; answers to different questions "
            "are not merged."
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
    """Return the answers with sentences, and people, that differ by form alone spelled alike."""
    names = ("sentence", "annotator")  # not of tiles: an archive may have both spellings
    written = {getattr(row, name) for rows in files for row in rows for name in names}
    preferred = sorted(written, key=lambda text: (text == folded(text), text))
    spelling = {folded(text): text for text in preferred}
    return [
        [row._replace(**{name: spelling[folded(getattr(row, name))] for name in names}) for row in rows]
        for rows in files
    ]


def disagreements(rows: Iterable[SharedAnswer]) -> list[Disagreement]:
    """List the pairs of each set that standing answers call similar, and others dissimilar."""
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
    """Hold two lines with one key against each other; each file numbers its sets by itself.

    Texts that differ by form alone (`anneal_jax.text`) say the same.

    Raises:
      StoreError: they say two things.
    """
    if _meaning(one) != _meaning(other):
        raise StoreError(f"key {one.key!r} names two different answers; one of the files was changed.")


def _meaning(row: SharedAnswer) -> tuple[object, ...]:
    plain = row._replace(set=0, undone_at=None, glance=None)
    shown = row.glance and row.glance._replace(tiles=tuple(map(folded, row.glance.tiles)))
    return (*(folded(value) if isinstance(value, str) else value for value in plain), shown)


def _is_csv(name: str) -> bool:
    if not name.endswith((".csv", ".jsonl")):
        raise StoreError(f"answers are kept in .csv or .jsonl files; {name} is neither.")
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
    """Return one line's answer, or say what is wrong with the line; one rule for CSV and JSON.

    A number may be written as a text, as every field of a CSV file is. An empty text is nothing where there
    may be nothing: programs that turn CSV into JSON write it so.
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
        raise ValueError(f"{name} is {_shown(value)}, and must be a text in UTF-8")
    return value


def _word(name: str, value: Any) -> str:
    del name
    if value not in _WORDS:
        raise ValueError(f"{_shown(value)} is no answer; give {', '.join(_WORDS)}")
    return value


def _time(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is {_shown(value)}, and must be a time such as 2026-01-31T10:15:00Z")
    datetime.fromisoformat(value)
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"{name} is {_shown(value)}, and must be a number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{name} is {_shown(value)}, and must be a finite number")
    return number


def _whole(name: str, value: Any) -> int:
    number = int(value) if isinstance(value, str) else _number(name, value)
    if number != int(number):
        raise ValueError(f"{name} is {_shown(value)}, and must be a whole number")
    return int(number)


def _glance(name: str, value: Any) -> SharedGlance:
    found = json.loads(value) if isinstance(value, str) else value
    if not isinstance(found, dict) or found.keys() != {*SharedGlance._fields}:
        raise ValueError(f"{name} is {_shown(value)}, and must have {', '.join(SharedGlance._fields)}")
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
