"""Write files so that a reader, or a kill at any moment, meets the old or the new one whole."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anneal_jax.errors import WorkdirError


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`, and put what was written there in its place.

    The temporary name keeps the suffix of `path`, for writers that choose a format by it (or, like
    `numpy.savez`, append one). File and folder are flushed to disk before the context ends; if the
    body raises, the temporary file is removed and `path` is left as it was.

    Args:
      path: the file to create or replace; its folder must exist.

    Yields:
      A path in the same folder, at which nothing exists yet.

    Raises:
      WorkdirError: the folder does not exist, or `path` is itself a folder.

    Example:
      >>> import pathlib, tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     target = pathlib.Path(folder, "tiles.txt")
      ...     with replacing(target) as temporary:
      ...         _ = temporary.write_text("forest")
      ...     target.read_text()
      'forest'
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise WorkdirError(f"cannot write {target}: its folder does not exist; create it first")
    if target.is_dir():
        raise WorkdirError(f"cannot write {target}: a folder has that name; move it or rename one")
    token = secrets.token_hex(4)  # two writers of one path never share a temporary file
    temporary = target.with_name(f".{target.stem}.{token}.tmp{target.suffix}")
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere a folder cannot be opened, nor needs to be
        _flush(target.parent)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace `path` by `data` atomically; errors as in `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Replace `path` by `text` in UTF-8, with newlines as given; errors as in `replacing`."""
    write_bytes(path, text.encode("utf-8"))


def _flush(path: Path) -> None:
    """Force a file's bytes, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
