"""Lists a folder of image files and reads each file once."""

import hashlib
import pathlib
from typing import NamedTuple

from anneal_jax.data.file_walk import Walked, walk_files
from anneal_jax.data.tiles import TileError, decode_tile, read_tile, says_turned
from anneal_jax.files.progress import progress_bar
from anneal_jax.files.threads import threaded
from anneal_jax.text import is_utf8

IMAGE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".jp2", ".j2k", ".jpx", ".bmp"}
)
"""Suffixes of images in lower case; other files are ignored and counted."""


class Fault(NamedTuple):
    """Why a tile cannot be used: text only, because an exception would keep the tile in memory.

    Attributes:
      reason: the same for every tile with the same fault.
      message: the reason with its detail.
    """

    reason: str
    message: str


class Tile(NamedTuple):
    """A usable image.

    Attributes:
      digest: SHA-256 of the file.
      is_turned: whether its EXIF asks viewers to rotate it, which is ignored.
    """

    digest: bytes
    is_turned: bool


class Scan(NamedTuple):
    """The contents of a folder, by sorted relative paths with `/` between their parts.

    Attributes:
      tiles: each usable image.
      faults: why each of the other images (or a folder that cannot be listed) is not usable.
      walked: what else was found.
    """

    tiles: dict[str, Tile]
    faults: dict[str, Fault]
    walked: Walked


def scan_folder(root: pathlib.Path) -> Scan:
    """Hash and decode every image below `root`, in threads, with a progress bar on stderr."""
    walked = walk_files(root, IMAGE_ENDINGS)
    reason = "is a folder that cannot be listed"
    faults = {name: Fault(reason, f"{reason} ({why})") for name, why in walked.unlisted.items()}
    scan = Scan({}, faults, walked)
    results = threaded(lambda name: _inspect(root / name), walked.names)
    with progress_bar(len(walked.names), "checking images", "image") as bar:
        for name, result in zip(walked.names, results, strict=True):
            if isinstance(result, Fault):
                scan.faults[name] = result
            else:
                scan.tiles[name] = result
            bar.update()
    return scan


def _inspect(path: pathlib.Path) -> Tile | Fault:
    if not is_utf8(str(path)):
        reason = "has a name that is not valid UTF-8"
        return Fault(reason, reason)
    try:
        data = read_tile(path)
        decode_tile(data)
    except TileError as error:
        return Fault(error.reason, str(error))
    return Tile(hashlib.sha256(data).digest(), says_turned(data))
