"""Detects whether files have changed since they were written: SHA-256 seals, checked in parallel.

A seal detects accidents: flipped bits, truncated files, swapped files. It is not a signature: whoever
rewrites a file on purpose can rewrite its seal too.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tqdm import tqdm

from anneal_jax.files import atomic
from anneal_jax.files.threads import threaded

_CHUNK_BYTES = 1 << 20
_PROGRESS_AFTER_S = 2
_MAX_THREADS = 16


class FileSeal(NamedTuple):
    """The content of a file when it was written.

    Attributes:
      size_bytes: its length.
      sha256: SHA-256 of its bytes, in hexadecimal.
    """

    size_bytes: int
    sha256: str


def seal_of(path: str | os.PathLike[str]) -> FileSeal:
    """Return the seal of a file as it is now."""
    return _sealed_reading(Path(path), tqdm(disable=True))


def seals_below(folder: str | os.PathLike[str]) -> dict[str, FileSeal]:
    """Return the seal of every file below a folder, by its relative path with `/` between parts."""
    root = Path(folder)
    return {
        path.relative_to(root).as_posix(): seal_of(path)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def damaged_files(
    folder: str | os.PathLike[str], seals: Mapping[str, FileSeal], *, progress: str = ""
) -> list[str]:
    """Return the files that are missing or do not match their seals, sorted.

    The files are read once, in threads; hashing releases the interpreter's lock.

    Args:
      folder: the names are relative to it.
      seals: seals by name.
      progress: text of a progress bar on standard error, in bytes; no bar if empty. It stays hidden for two
        seconds, and if standard error is not a terminal.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     path = Path(folder, "a.bin")
      ...     _ = path.write_bytes(b"forest")
      ...     seals = {"a.bin": seal_of(path)}
      ...     before = damaged_files(folder, seals)
      ...     _ = path.write_bytes(b"forert")
      ...     before, damaged_files(folder, seals)
      ([], ['a.bin'])
    """
    names = sorted(seals)
    total_bytes = sum(seal.size_bytes for seal in seals.values())
    with tqdm(
        total=total_bytes,
        desc=progress,
        unit="B",
        unit_scale=True,
        delay=_PROGRESS_AFTER_S,
        leave=False,
        disable=None if progress else True,
    ) as bar:
        is_sound = threaded(
            lambda name: _is_sound(Path(folder, name), seals[name], bar), names, most_threads=_MAX_THREADS
        )
        return [name for name, sound in zip(names, is_sound, strict=True) if not sound]


def write_sealed(path: str | os.PathLike[str], content: Mapping[str, Any]) -> None:
    """Atomically replace `path` by JSON with its own SHA-256, followed by `content`."""
    atomic.write_bytes(path, _sealed_bytes(content))


def read_sealed(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the content that `write_sealed` wrote.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file has changed, if only by one bit.

    Example:
      >>> import tempfile
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     write_sealed(Path(folder, "a.json"), {"rounds": 3})
      ...     read_sealed(Path(folder, "a.json"))
      {'rounds': 3}
    """
    data = Path(path).read_bytes()
    content = json.loads(data)["content"]
    # Byte for byte, to detect changes that JSON ignores, such as 1e5 to 1E5.
    if _sealed_bytes(content) != data:
        raise ValueError("its content does not match its SHA-256")
    return content


def _sealed_bytes(content: Mapping[str, Any]) -> bytes:
    body = json.dumps(content, ensure_ascii=False, allow_nan=False)
    sealed = {"sha256": hashlib.sha256(body.encode()).hexdigest(), "content": json.loads(body)}
    return (json.dumps(sealed, ensure_ascii=False, indent=1) + "\n").encode()


def _is_sound(path: Path, seal: FileSeal, bar: "tqdm[Any]") -> bool:
    try:
        return path.stat().st_size == seal.size_bytes and _sealed_reading(path, bar) == seal
    except OSError:
        return False


def _sealed_reading(path: Path, bar: "tqdm[Any]") -> FileSeal:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            size_bytes += len(chunk)
            bar.update(len(chunk))
    return FileSeal(size_bytes, digest.hexdigest())
