"""List a folder of image files and read each of them once."""

import hashlib
import os
import pathlib
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tqdm import tqdm

from anneal_jax.data.tiles import TileError, decode_tile, read_tile
from anneal_jax.files.threads import threaded

IMAGE_ENDINGS = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff"})
"""Files with another ending, compared in lower case, are ignored and counted."""

_PROGRESS_AFTER_S = 2


class Fault(NamedTuple):
    """Why a tile cannot be used: text only, for an exception would keep the tile in memory.

    Attributes:
      reason: the same for every tile with the same fault.
      message: the reason with its detail.
    """

    reason: str
    message: str


class Scan(NamedTuple):
    """What lies below a folder, by sorted paths relative to it with `/` between their parts.

    Attributes:
      digests: SHA-256 of each usable image.
      faults: why each of the other images (or a folder that cannot be listed) is not usable.
      ignored_endings: how many files have which other ending.
      linked_folders: links to folders, which are not followed.
    """

    digests: dict[str, bytes]
    faults: dict[str, Fault]
    ignored_endings: Counter[str]
    linked_folders: list[str]


def scan_folder(root: pathlib.Path) -> Scan:
    """Hash and decode every image below `root`, in threads, with a progress bar on stderr.

    Names that begin with a dot are passed over. A link to a file is followed, one to a folder is
    not, so that no loop is possible.
    """
    scan = Scan({}, {}, Counter(), [])
    names = sorted(_image_names(root, scan))
    results = threaded(lambda name: _inspect(root / name), names)
    progress = tqdm(
        zip(names, results, strict=True),
        total=len(names),
        desc="Checking images",
        unit="image",
        delay=_PROGRESS_AFTER_S,
    )
    for name, result in progress:
        if isinstance(result, Fault):
            scan.faults[name] = result
        else:
            scan.digests[name] = result
    return scan


def _image_names(root: pathlib.Path, scan: Scan) -> Iterator[str]:
    """Yield the images' relative paths and note all else in `scan`."""

    def note_unreadable(error: OSError) -> None:
        name = pathlib.Path(error.filename).relative_to(root).as_posix()
        reason = "is a folder that cannot be listed"
        scan.faults[name] = Fault(reason, f"{reason} ({error.strerror})")

    for folder, subfolders, files in os.walk(root, onerror=note_unreadable):
        here = pathlib.Path(folder).relative_to(root)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        links = (here / name for name in subfolders if (root / here / name).is_symlink())
        scan.linked_folders.extend(link.as_posix() for link in links)
        for path in (here / name for name in files if not name.startswith(".")):
            ending = path.suffix.lower()
            if ending in IMAGE_ENDINGS:
                yield path.as_posix()
            else:
                scan.ignored_endings[ending or "no ending"] += 1


def _inspect(path: pathlib.Path) -> bytes | Fault:
    try:
        str(path).encode("utf-8")
        data = read_tile(path)
        decode_tile(data)
    except UnicodeEncodeError:
        reason = "has a name that is not valid UTF-8"
        return Fault(reason, reason)
    except TileError as error:
        return Fault(error.reason, str(error))
    return hashlib.sha256(data).digest()
