"""CSV files made by people: read by one rule, whatever they say about tiles.

They are UTF-8 with or without a byte order mark, have commas between fields, and a header that names the
columns. Column names and ids are compared as folded by `anneal_jax.text`.
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
    """The rows of a CSV file, read one at a time.

    Attributes:
      what: name of the file in messages.
      columns: column names in the header.
    """

    def __init__(self, lines: Iterable[str], what: str, error: type[AnnealError]):
        """Read the header.

        Args:
          lines: lines of the file.
          what: name of the file in messages.
          error: class of the error to raise.

        Raises:
          AnnealError: fields are not separated by commas, or a column name occurs twice.
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
        """Yield the last line number of each row, and its fields by column; empty lines are skipped.

        Args:
          filled: columns that may not be empty.

        Raises:
          AnnealError: a row has more or fewer fields than the header, or a required field is empty.
        """
        for fields in self._reader:
            row = dict(zip(self.columns, fields, strict=False))
            if fields and (
                len(fields) != len(self.columns) or not all(row[name].strip() for name in filled)
            ):
                among = f" with an {' and an '.join(filled)} among them" if filled else ""
                raise self._error(
                    f"{self.what}, line {self._reader.line_num}: expected {len(self.columns)} fields{among}"
                    "; quote a field that contains a comma"
                )
            if fields:
                yield self._reader.line_num, row


@contextmanager
def opened_table(path: Path, what: str, error: type[AnnealError]) -> Iterator[Table]:
    """Open a CSV file; any failure to read it, now or at a later row, gives a one-sentence error.

    Args:
      path: path of the file.
      what: kind of file, such as "labels file".
      error: class of the error to raise.

    Raises:
      AnnealError: of that class.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets write a BOM
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
    return error(f"{what} {path} is not a CSV file in UTF-8: {fault}; save it again in that format")
