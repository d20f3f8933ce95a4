"""Copies among the tiles of an archive, as a table and as CSV."""

import csv
import os
from collections.abc import Iterator, Sequence

from anneal_jax.files import atomic
from anneal_jax.retrieval.duplicates import Duplicates

MAX_SHOWN = 20
"""Maximum rows of the table; the CSV has all."""

_COLUMNS = ("kind", "difference", "first", "second")


def duplicates_table(duplicates: Duplicates, ids: Sequence[str]) -> str:
    """Return the first 20 pairs as text, after a sentence with their number.

    Args:
      duplicates: duplicates of an archive.
      ids: ids of its tiles.

    >>> import numpy as np
    >>> pairs = np.array([[0, 2]], np.int32)
    >>> print(duplicates_table(Duplicates(pairs, pairs[:0], np.empty(0), False), ["a", "b", "c"]))
    1 tiles are identical to an earlier one; 0 pairs of others differ little.
    kind       difference  first  second
    identical      0.0000  a      c
    """
    num_near = len(duplicates.near)
    lines = [
        f"{len(duplicates.identical):,} tiles are identical to an earlier one; {num_near:,} pairs of "
        "others differ little."
    ]
    if duplicates.is_cut:
        lines.append(
            "There are more such pairs than can be listed; these are the nearest by a coarse comparison."
        )
    rows = [row for row, _ in zip(_rows(duplicates, ids), range(MAX_SHOWN), strict=False)]
    if rows:
        width = max(len(first) for _, _, first, _ in [*rows, _COLUMNS])
        lines.append(f"{'kind':<9}  difference  {'first':<{width}}  second")
        lines += [
            f"{kind:<9}  {float(d):>10.4f}  {first:<{width}}  {second}" for kind, d, first, second in rows
        ]
    num_more = len(duplicates.identical) + num_near - len(rows)
    return "\n".join([*lines, *([f"... and {num_more:,} more"] if num_more else [])])


def write_duplicates(duplicates: Duplicates, ids: Sequence[str], path: str | os.PathLike[str]) -> None:
    """Atomically write all pairs as CSV with the columns kind, difference, first, second.

    Args:
      duplicates: duplicates of an archive.
      ids: ids of its tiles.
      path: the file to create or replace.
    """
    with atomic.replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(_rows(duplicates, ids))


def _rows(duplicates: Duplicates, ids: Sequence[str]) -> Iterator[tuple[str, str, str, str]]:
    for first, second in duplicates.identical:
        yield "identical", "0", ids[int(first)], ids[int(second)]
    for (first, second), difference in zip(duplicates.near, duplicates.differences, strict=True):
        yield "near", f"{difference:.6g}", ids[int(first)], ids[int(second)]
