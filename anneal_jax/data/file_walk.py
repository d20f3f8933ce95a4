"""Finds files below a folder, by one rule for images and scenes."""

import os
import pathlib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from anneal_jax.data.catalogue import MAX_NAMED, first_few
from anneal_jax.errors import reason_of

# Folders of thumbnails and deleted files on network disks; compared in lower case.
_NO_TILES = frozenset(
    {
        *("@eadir", "#recycle", "#snapshot"),  # Synology
        *("@recycle", "@recently-snapshot", ".@__thumb"),  # QNAP
        *("$recycle.bin", "recycler", "system volume information"),  # Windows
        *("lost+found", "__macosx"),
    }
)


class Walked(NamedTuple):
    """The contents of a folder; paths are relative to it, with `/` between their parts.

    Attributes:
      names: sorted names of files with the requested suffixes.
      ignored_endings: number of files with each other suffix.
      linked_folders: links to folders, which are not followed, to avoid loops.
      passed_over: folders of thumbnails and of deleted files.
      unlisted: folders that cannot be listed, and why.
    """

    names: list[str]
    ignored_endings: Counter[str]
    linked_folders: list[str]
    passed_over: list[str]
    unlisted: dict[str, str]


def walk_files(root: pathlib.Path, endings: Collection[str]) -> Walked:
    """Find files below a folder. Names that begin with a dot are skipped; links to files are not.

    Args:
      root: the folder.
      endings: lower-case suffixes with their dots.
    """
    walked = Walked([], Counter(), [], [], {})

    def note_unreadable(error: OSError) -> None:
        walked.unlisted[pathlib.Path(error.filename).relative_to(root).as_posix()] = reason_of(error)

    for folder, subfolders, files in os.walk(root, onerror=note_unreadable):
        here = pathlib.Path(folder).relative_to(root)
        shown = sorted(name for name in subfolders if not name.startswith("."))
        subfolders[:] = [name for name in shown if may_hold_tiles(name)]
        bins = (here / name for name in shown if not may_hold_tiles(name))
        walked.passed_over.extend(path.as_posix() for path in bins)
        links = (here / name for name in subfolders if (root / here / name).is_symlink())
        walked.linked_folders.extend(link.as_posix() for link in links)
        for path in (here / name for name in files if not name.startswith(".")):
            ending = path.suffix.lower()
            if ending in endings:
                walked.names.append(path.as_posix())
            else:
                walked.ignored_endings[_printable(ending) or "no ending"] += 1
    walked.names.sort()
    walked.passed_over.sort()
    return walked


def may_hold_tiles(folder: str) -> bool:
    """Return whether to search a folder of this name: it is not hidden, a bin or a store of thumbnails.

    >>> may_hold_tiles("river"), may_hold_tiles("@eaDir"), may_hold_tiles(".git")
    (True, False, False)
    """
    return not folder.startswith(".") and folder.lower() not in _NO_TILES


def walk_notes(walked: Walked) -> Iterator[str]:
    """Yield a sentence for each kind of thing that was found but left out."""
    if walked.ignored_endings:
        yield f"Files of other kinds are ignored: {_counts(walked.ignored_endings)}."
    if walked.passed_over:
        yield f"Folders of thumbnails and deleted files are skipped: {quoted(walked.passed_over)}."
    if walked.linked_folders:
        yield f"Links to folders are not followed: {quoted(walked.linked_folders)}."


def quoted(names: Sequence[str]) -> str:
    """Return the first five names in quotes, and the number of further ones."""
    return first_few([repr(name) for name in names], ", ")


def _counts(endings: Counter[str]) -> str:
    ordered = sorted(endings.items(), key=lambda item: (-item[1], item[0]))
    num_others = sum(count for _, count in ordered[MAX_NAMED:])
    named = [f"{count:,} {ending}" for ending, count in ordered[:MAX_NAMED]]
    return ", ".join(named + [f"{num_others:,} others"] * (num_others > 0))


def _printable(ending: str) -> str:
    return ending.encode("utf-8", "backslashreplace").decode()
