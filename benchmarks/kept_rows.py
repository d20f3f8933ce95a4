"""Rows of a measurement that are kept in a file, so that a second call computes only what is missing."""

import json


def kept_row(path, name, compute):
    """Return the row of a name from a file of JSON lines, or compute it and append it.

    Args:
      path: pathlib.Path of the file; it need not exist.
      name: dict, what a row must have to be the one.
      compute: without arguments, returns the rest of the row, a dict.
    """
    if path.exists():
        for text in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(text)
            if name.items() <= row.items():
                return row
    row = name | compute()
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    return row
