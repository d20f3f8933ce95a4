"""The log of a run: `rounds.jsonl`, with one strict JSON object per line and one line per round."""

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Mapping
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np

from anneal_jax.errors import WorkdirError
from anneal_jax.files import atomic

Row = dict[str, Any]
"""One round: field names to int, float, str, bool or None, in the order they are written."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RoundRow:
    """The fields of a round, in the order they are written; None if a round lacks the value.

    Attributes:
      round_index: 0 is the model trained on the initial answers.
      bits_spent: answers about pairs so far, or the cost of labels.
      seconds_spent: seconds that an average person takes for these answers (`GlanceSeconds`); None if
        nobody is asked.
      num_labelled_images: images with a known class or group; rounds that ask about pairs leave it out.
      num_labelled_pairs: usable answers so far.
      num_derived_pairs: pairs implied by them, at no cost.
      num_contradictory_pairs: pairs with both labels implied, which are left out.
      answer_s: the seconds of this round's answers, expected like `seconds_spent`.
      yes_share: [0, 1], share of similar answers in this round.
      threshold: [-1, 1], cosine similarity above which pairs count as similar.
      threshold_lower: [-1, 1], lower end of the interval for the threshold.
      threshold_upper: [-1, 1], upper end of the interval for the threshold.
      selection_certified: whether the scan found the same pairs as float64: see `ScanResult`.
      selection_band: number of kept pairs that its precision leaves undecided.
      selection_band_complete: whether these are all undecided pairs.
      pool_share: [0, 1], share of all pairs that were scored.
      select_s: seconds that the choice took.
      mean_average_precision_at_5: [0, 1], divided by min(k, R).
      precision_at_5: [0, 1].
      mean_average_precision_at_5_features: [0, 1], the same with the backbone's features: an ablation.
      train_s: seconds that the fit took.
    """

    round_index: int
    bits_spent: int
    seconds_spent: float | None = None
    num_labelled_images: int | None = None
    num_labelled_pairs: int = 0
    num_derived_pairs: int = 0
    num_contradictory_pairs: int = 0
    answer_s: float | None = None
    yes_share: float | None = None
    threshold: float | None = None
    threshold_lower: float | None = None
    threshold_upper: float | None = None
    selection_certified: bool | None = None
    selection_band: int | None = None
    selection_band_complete: bool | None = None
    pool_share: float | None = None
    select_s: float = 0.0
    mean_average_precision_at_5: float | None = None
    precision_at_5: float | None = None
    mean_average_precision_at_5_features: float | None = None
    train_s: float | None = None

    def to_row(self) -> Row:
        """Return the row of the log."""
        row = dataclasses.asdict(self)
        if self.num_labelled_images is None:
            del row["num_labelled_images"]
        return row


TIME_SUFFIX = "_s"
"""Suffix of fields in seconds, which differ between two runs of the same command, except `answer_s`."""


def read_rounds(path: str | os.PathLike[str]) -> list[Row]:
    """Read every round of a log, oldest first.

    Args:
      path: a `rounds.jsonl`; a missing file has no rounds.

    Returns:
      One dict per round, keys in file order; `round_index` increases by one from row to row.

    Raises:
      WorkdirError: the file is incomplete or was edited; the message names the line.
    """
    try:
        lines = Path(path).read_bytes().splitlines()
    except FileNotFoundError:
        return []
    rows: list[Row] = []
    for number, line in enumerate(lines, start=1):
        try:
            row = _parse(line)
            _check_order(rows, row)
        except ValueError as error:
            raise WorkdirError(
                f"{path}, line {number}: {error}; the file is incomplete or was edited: "
                "restore it, or start again in a new workdir"
            ) from error
        rows.append(row)
    return rows


def append_round(path: str | os.PathLike[str], row: Mapping[str, Any]) -> None:
    """Add one round to a log; the file is replaced atomically, so a kill never damages it.

    Args:
      path: a `rounds.jsonl`, which may not exist yet; its folder must.
      row: the fields of one round; NumPy scalars are written as the numbers they are.

    Raises:
      ValueError: a value is NaN or infinite, which JSON cannot express (use None for a missing value), or
        `round_index` is not the next one.
      WorkdirError: the log is incomplete or was edited.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     log = pathlib.Path(folder, "rounds.jsonl")
      ...     append_round(log, {"round_index": 0, "bits_spent": 672, "train_s": 1.5})
      ...     without_times(read_rounds(log))
      [{'round_index': 0, 'bits_spent': 672}]
    """
    for name, value in row.items():
        if isinstance(value, float | np.floating) and not math.isfinite(value):
            raise ValueError(f"{name} is {value}: write None for a missing value")
    rows = read_rounds(path)
    _check_order(rows, row)
    lines = [json.dumps(each, allow_nan=False, default=_number) for each in [*rows, dict(row)]]
    atomic.write_text(path, "\n".join(lines) + "\n")


def without_times(rows: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return the rows without the fields in seconds, to compare two runs of one command."""
    return [{name: value for name, value in row.items() if not name.endswith(TIME_SUFFIX)} for row in rows]


def _parse(line: bytes) -> Row:
    try:
        row = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # of syntax, encoding or depth
        raise ValueError("this is not strict JSON") from error
    if not isinstance(row, dict):
        raise ValueError("this is not a JSON object")
    return row


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _check_order(rows: list[Row], row: Mapping[str, Any]) -> None:
    """Raise ValueError unless `row` may follow `rows`."""
    index = row.get("round_index")
    if not isinstance(index, Integral):
        raise ValueError(f"round_index is {index!r}, but must be a whole number")
    if index != len(rows):
        raise ValueError(f"round {index} is in the place of round {len(rows)}")


def _number(value: object) -> object:
    """Convert a NumPy scalar to a Python number for `json`."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{value!r} is neither a number, a text nor None")
