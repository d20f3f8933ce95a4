"""Answers as files that people read, send and put together: CSV or JSON Lines, by tile name."""

import csv
import io
import json
import pathlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from anneal_jax.errors import StoreError
from anneal_jax.files import atomic
from anneal_jax.types import Answer

_WORDS = tuple(word.name.lower() for word in Answer)


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


class Disagreement(NamedTuple):
    """One pair of one set that was called similar, and dissimilar, by answers that stand."""

    first: str
    second: str
    answers: tuple[SharedAnswer, ...]


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
        writer.writerows(rows)
        return text.getvalue()
    return "".join(json.dumps(row._asdict(), ensure_ascii=False) + "\n" for row in rows)


def read_answers(path: str | pathlib.Path) -> list[SharedAnswer]:
    """Read a file that `write_answers` wrote, or another program in the same form.

    Raises:
      StoreError: the file cannot be read, or a line of it is no answer; it is named.
    """
    _is_csv(str(path))  # a wrong name comes before a missing file
    try:
        data = pathlib.Path(path).read_bytes()
    except OSError as error:
        raise StoreError(f"the answers in {path} cannot be read ({error.strerror}).") from error
    return parse_answers(data, str(path))


def parse_answers(data: bytes, name: str) -> list[SharedAnswer]:
    """Read the bytes of a file of this name, as `read_answers`.

    Raises:
      StoreError: as `read_answers`.
    """
    is_csv = _is_csv(name)
    try:
        text = data.decode("utf-8-sig")  # spreadsheets begin with a byte order mark
        found = _csv_lines(text) if is_csv else _json_lines(text)
        return [_checked(fields, f"{name}, line {line}") for line, fields in found]
    except (csv.Error, ValueError, RecursionError) as error:
        raise StoreError(f"the answers in {name} cannot be read ({error}).") from error


def merge_answers(one: Sequence[SharedAnswer], other: Sequence[SharedAnswer]) -> list[SharedAnswer]:
    """Put two people's answers together, by sentence, then by time.

    An answer that both files hold, by its key, is kept once; it is taken back where either says so. A pair
    that two people answered differently is kept as both; `disagreements` lists it. Each file numbers its
    sets by itself: what belongs to one sentence is one set, and the sentence that was answered first is 1.

    Raises:
      StoreError: one key names two different answers, or the files have no sentence in common.
    """
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

    Raises:
      StoreError: they say two things.
    """
    if one._replace(set=0, undone_at=None) != other._replace(set=0, undone_at=None):
        raise StoreError(f"key {one.key!r} names two different answers; one of the files was changed.")


def _is_csv(name: str) -> bool:
    if not name.endswith((".csv", ".jsonl")):
        raise StoreError(f"answers are kept in .csv or .jsonl files; {name} is neither.")
    return name.endswith(".csv")


def _csv_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    for fields in reader:
        # What a CSV file leaves empty is nothing; what it has too much of stands under None.
        optional = {name: fields.get(name) or None for name in ("elapsed_s", "undone_at")}
        yield reader.line_num, {**fields, **optional}


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, written in enumerate(text.split("\n"), start=1):
        if written.strip():
            fields = json.loads(written)
            yield line, fields if isinstance(fields, dict) else {}


def _checked(fields: Mapping[str, Any], where: str) -> SharedAnswer:
    """Return one line's answer, or say what is wrong with the line."""
    if fields.keys() != set(SharedAnswer._fields):
        raise StoreError(f"{where}: expected the fields {', '.join(SharedAnswer._fields)}.")
    row = SharedAnswer(**fields)
    texts = (row.sentence, row.first, row.second, row.annotator, row.key)
    if not all(isinstance(text, str) for text in texts):
        raise StoreError(f"{where}: sentence, first, second, annotator and key must be texts.")
    if row.answer not in _WORDS:
        raise StoreError(f"{where}: {row.answer!r} is no answer; give {', '.join(_WORDS)}.")
    try:
        for time in (row.answered_at, row.undone_at or row.answered_at):
            datetime.fromisoformat(time)
        elapsed_s = None if row.elapsed_s is None else float(row.elapsed_s)
        return row._replace(set=int(row.set), bits=float(row.bits), elapsed_s=elapsed_s)
    except (ValueError, TypeError) as error:
        raise StoreError(f"{where}: {error}.") from error
