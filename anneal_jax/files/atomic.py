"""Writes files atomically: a reader, or a kill at any moment, leaves the complete old or new file."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from anneal_jax.errors import UnwritableError, is_full_disk, reason_of

_MAX_STEM_LENGTH, _MAX_SUFFIX_LENGTH = 40, 20  # letters of a temporary name, at most 4 bytes each
_ZEROS = 2**20
_ADVICE = {
    errno.ENAMETOOLONG: "give a shorter name",
    errno.EACCES: "change its folder's rights",
    errno.EPERM: "change its folder's rights",
}


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path next to `path`, then move the file written there to `path`.

    The temporary name keeps the suffix of `path`, for writers that choose a format by it (or, like
    `numpy.savez`, append one). File and folder are flushed to disk before the context ends. If the body
    raises, the temporary file is removed and `path` is unchanged.

    Args:
      path: the file to create or replace; its folder must exist.

    Yields:
      A path in the same folder, at which nothing exists yet.

    Raises:
      UnwritableError: the folder does not exist, `path` is a folder or a device, or the disk is full,
        read-only or otherwise refuses the file; the message says which, and what to do.

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
    with reporting_unwritable(target):
        _require_place(target)
        temporary = _temporary_name(target)
        _probe(temporary)
        try:
            yield temporary
            _flush(temporary)
            temporary.replace(target)
        finally:
            with contextlib.suppress(OSError):  # report the first fault
                temporary.unlink(missing_ok=True)
        if os.name == "posix":  # elsewhere a folder cannot and need not be opened
            _flush_folder(target.parent)


@contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary folder next to `path`, and rename it to `path` once the body has filled it.

    If the body raises, the temporary folder is removed with its contents.

    Args:
      path: a missing or empty folder; its parent must exist.

    Raises:
      UnwritableError: `path` is not empty, or the disk is full, read-only or otherwise refuses the files.
    """
    target = Path(path)
    require_new_folder(target)
    temporary = _temporary_name(target)
    with reporting_unwritable(target):
        temporary.mkdir()
        try:
            yield temporary
            for made in temporary.rglob("*"):
                _flush(made)
            _flush(temporary)
            temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        if os.name == "posix":
            _flush_folder(target.parent)


def require_new_folder(path: str | os.PathLike[str] | None) -> None:
    """Refuse a path that `new_folder` would refuse, before long work rather than after it.

    Args:
      path: the folder to be made later; None and empty paths are ignored.

    Raises:
      UnwritableError: as for `new_folder`.
    """
    if not path:
        return
    target = Path(path)
    with reporting_unwritable(target):
        if not target.parent.is_dir():
            raise UnwritableError(f"cannot write {target}: its folder does not exist; create it first")
        if target.is_dir() and any(target.iterdir()):
            raise UnwritableError(f"cannot write {target}: it already contains files; give a new folder")
        if target.exists() and not target.is_dir():
            raise UnwritableError(f"cannot write {target}: a file has that name; give a new folder")
        _probe(_temporary_name(target))


def require_writable(*paths: str | os.PathLike[str] | None) -> None:
    """Refuse output paths that cannot be written to, before long work rather than after it.

    Args:
      paths: files to be created or replaced later; None and empty paths are ignored.

    Raises:
      UnwritableError: as for `replacing`.
    """
    for target in (Path(path) for path in paths if path):
        with reporting_unwritable(target):
            _require_place(target)
            with contextlib.suppress(FileNotFoundError):
                target.lstat()  # a name that is too long fails here
            _probe(_temporary_name(target))


@contextmanager
def reporting_unwritable(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an error in writing `path` into an UnwritableError that says what to do about it.

    Raises:
      UnwritableError: the body raised an OSError, with or without a number, or a library's error about a
        full disk.
    """
    try:
        yield
    except Exception as error:
        if not (isinstance(error, OSError) or is_full_disk(error)):
            raise
        number = error.errno if isinstance(error, OSError) else None
        advice = "free some space there" if is_full_disk(error) else _ADVICE.get(number or 0, "")
        advice = f"{advice}, or " if advice else ""
        raise UnwritableError(
            f"cannot write {path} ({reason_of(error)}); {advice}give a path on another disk"
        ) from error


def reserve(file: IO[bytes], num_bytes: int) -> None:
    """Reserve the full length of an empty file on disk, so that a map of it can be written to.

    Writing to a page of a mapped file without room on the disk kills the process with a bus error.

    Raises:
      OSError: the disk does not have that much room.
    """
    if num_bytes and hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, num_bytes)
        return
    for start in range(0, num_bytes, _ZEROS):  # macOS
        file.write(bytes(min(_ZEROS, num_bytes - start)))
    file.flush()


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Replace `path` by `data` atomically; errors as in `replacing`."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_private(path: str | os.PathLike[str], text: str) -> None:
    """Replace `path` by `text` in a file of mode 0600, which nobody else can read at any time.

    A link at `path` is itself replaced; its target is unchanged. Errors as in `replacing`.
    """
    with replacing(path) as temporary:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Replace `path` by `text` in UTF-8, with newlines as given; errors as in `replacing`."""
    write_bytes(path, text.encode("utf-8"))


def _require_place(target: Path) -> None:
    if not target.parent.is_dir():
        raise UnwritableError(f"cannot write {target}: its folder does not exist; create it first")
    if target.is_dir():
        raise UnwritableError(f"cannot write {target}: a folder has that name; move it or rename one")
    if target.exists() and not target.is_file():  # such as /dev/null, which must not be replaced
        raise UnwritableError(f"cannot write {target}: it is not a regular file; give another name")


def _probe(path: Path) -> None:
    """Write a byte to a path and remove it again, because even a full disk accepts an empty file."""
    try:
        path.write_bytes(b"-")
    finally:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _temporary_name(target: Path) -> Path:
    """Return an unused name next to `target` that is not too long for a disk."""
    token = secrets.token_hex(4)  # two writers of one path never share a temporary file
    suffix = target.suffix if len(target.suffix) <= _MAX_SUFFIX_LENGTH else ""
    return target.with_name(f".{target.stem[:_MAX_STEM_LENGTH]}.{token}.tmp{suffix}")


def _flush(path: Path) -> None:
    """Force a file's bytes, or a folder's list of names, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(path: Path) -> None:
    try:
        _flush(path)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):  # the file is already in place
            raise
