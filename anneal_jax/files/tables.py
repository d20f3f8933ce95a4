"""CSV files that people make: read by one rule, whatever they say of tiles.

UTF-8 with or without a byte order mark, commas between fields, a header that names the columns. Names of
columns, and ids, are compared as `anneal_jax.text` folds them.
"""

import csv
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from anneal_jax.errors import AnnealError, reason_of
from anneal_jax.text import folded

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}


class Table:
    """The rows of a CSV file, one after the other.

    Attributes:
      what: names the file in messages.
      columns: names in the header.
    """

    def __init__(self, lines: Iterable[str], what: str, error: type[AnnealError]):
        """Read the header.

        Args:
          lines: of the file.
          what: names it in messages.
          error: class of what is raised.

        Raises:
          AnnealError: fields are separated by something else than commas, or a column is named twice.
        """
        self.what, self._error = what, error
        self._reader = csv.reader(lines, strict=True)
        header = next(self._reader, [])
        self.columns = [folded(name) for name in header]
        if len(header) == 1 and (used := [name for mark, name in _SEPARATORS.items() if mark in header[0]]):
            raise error(
                f"{what} begins with the line {header[0]}: its fields are separated by {used[0]}; save it "
                "with commas between them"
            )
        twice = [name for name, count in Counter(self.columns).items() if count > 1]
        if twice:
            raise error(f"{what} has two columns {twice[0]!r}; keep one")

    def rows(self, filled: Collection[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the number of the line on which a row ends, and its fields by column; empty lines are none.

        Args:
          filled: columns that may not be empty.

        Raises:
          AnnealError: a row has more or fewer fields than the header, or lacks one that must be there.
        """
        for fields in self._reader:
            row = dict(zip(self.columns, fields, strict=False))
            if fields and (
                len(fields) != len(self.columns) or not all(row[name].strip() for name in filled)
            ):
                among = f" with an {' and an '.join(filled)} among them" if filled else ""
                raise self._error(
                    f"{self.what}, line {self._reader.line_num}: expected {len(self.columns)} fields{among}"
                    "; quote a field that holds a comma"
                )
            if fields:
                yield self._reader.line_num, row


@contextmanager
def opened_table(path: Path, what: str, error: type[AnnealError]) -> Iterator[Table]:
    """Open a CSV file; whatever cannot be read, now or at a later row, is one sentence.

    Args:
      path: of the file.
      what: kind of file, such as "labels file".
      error: class of what is raised.

    Raises:
      AnnealError: of that class.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets begin with a BOM
            yield Table(file, f"{what} {path}", error)
    except (OSError, ValueError) as fault:
        if isinstance(fault, AnnealError):
            raise
        if isinstance(fault, UnicodeDecodeError):
            raise _no_csv(path, what, fault, error) from fault
        raise error(f"{what} {path} cannot be read: {reason_of(fault)}") from fault
    except csv.Error as fault:
        raise _no_csv(path, what, fault, error) from fault


def _no_csv(path: Path, what: str, fault: Exception, error: type[AnnealError]) -> AnnealError:
    return error(f"{what} {path} is no CSV file in UTF-8: {fault}; save it anew as that")
