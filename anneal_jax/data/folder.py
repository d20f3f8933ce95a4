"""An archive in a folder of image files, with one sub-folder per class or none."""

import hashlib
import pathlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from anneal_jax.data.catalogue import (
    Catalogue,
    TileFile,
    check_image_size,
    checked_indices,
    first_few,
    stacked_digests,
)
from anneal_jax.data.file_walk import quoted, walk_notes
from anneal_jax.data.folder_scan import Fault, Scan, scan_folder
from anneal_jax.data.image_headers import FORMATS
from anneal_jax.data.labels import encode_labels, folder_class
from anneal_jax.data.tiles import TileError, decode_tile, read_tile, tile_pixels
from anneal_jax.errors import ArchiveError
from anneal_jax.files.threads import threaded

_SIDES_LOOKED_AT = 25  # number of sampled tiles, spread over the archive


@dataclass(frozen=True, kw_only=True, eq=False)
class FolderArchive(Catalogue):
    """Image files below `root`; an id is the path relative to it, with `/` between its parts."""

    root: pathlib.Path
    file_digests: npt.NDArray[np.uint8] = field(repr=False)

    def tile_side(self) -> int:
        """Return the median of the longer sides of some tiles, in pixels."""
        rows = np.linspace(0, len(self.ids) - 1, min(len(self.ids), _SIDES_LOOKED_AT)).astype(int)
        sizes = threaded(lambda row: decode_tile(self._unchanged_bytes(row)).size, rows.tolist())
        return int(np.median([max(size) for size in sizes]))

    def load(
        self, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear"
    ) -> npt.NDArray[np.uint8]:
        """Decode tiles in several threads.

        Args:
          indices: int[B], rows of the archive.
          image_size: side of the returned squares in pixels.
          resampling: the filter that they are resized by, as Pillow names it in small letters.

        Returns:
          uint8[B, image_size, image_size, 3], RGB; see `anneal_jax.data.tiles` for the conversions.

        Raises:
          ArchiveError: a file is missing or has changed since the archive was opened.
        """
        check_image_size(image_size)
        rows = checked_indices(indices, len(self.ids)).tolist()
        tiles = np.empty((len(rows), image_size, image_size, 3), np.uint8)
        decoded = threaded(
            lambda row: tile_pixels(self._unchanged_bytes(row), image_size, resampling), rows
        )
        for slot, tile in enumerate(decoded):
            tiles[slot] = tile
        return tiles

    def digests(self) -> npt.NDArray[np.uint8]:
        """Return uint8[N, 32], the SHA-256 of each file at the time when the archive was opened."""
        return self.file_digests

    def tile_file(self, index: int) -> TileFile:
        """Return a file of the folder, byte for byte."""
        return TileFile(pathlib.PurePath(self.ids[index]).suffix, self._unchanged_bytes(index))

    def _unchanged_bytes(self, row: int) -> bytes:
        path = self.root / self.ids[row]
        advice = "restore it, or start again to read the folder as it is now"
        try:
            data = read_tile(path)
        except TileError as error:
            raise ArchiveError(
                f"{path} was readable when the archive was opened, but now {error}; {advice}"
            ) from error
        if hashlib.sha256(data).digest() != self.file_digests[row].tobytes():
            raise ArchiveError(f"{path} has changed since the archive was opened; {advice}")
        return data


def open_folder(location: str, on_bad_image: str) -> FolderArchive:
    """Open `folder:PATH`, reading and decoding every image once.

    This one pass (SHA-256, header checks, decoding) ensures that a long run never meets a bad file in the
    middle. The first folder of an image's relative path is its class; images directly in `location` have
    none.

    Args:
      location: the folder; `~` is expanded.
      on_bad_image: "refuse" raises one error for all bad files; "skip" leaves them out with a note.

    Raises:
      ArchiveError: there is no such folder, it holds no usable image, or one is bad and refused.
    """
    root = pathlib.Path(location).expanduser().absolute()
    if not location or not root.is_dir():
        raise ArchiveError(
            f"folder:{location} is not a folder on this machine; give the path of one, as in"
            " folder:/data/tiles"
        )
    scan = scan_folder(root)
    if scan.faults and on_bad_image == "refuse":
        raise ArchiveError(_refusal(root, scan))
    if not scan.tiles:
        others = " ".join(_notes(scan))
        raise ArchiveError(f"{root} contains no usable {FORMATS} image. {others}".rstrip())
    labels, class_names = encode_labels([folder_class(name) for name in scan.tiles])
    return FolderArchive(
        spec=f"folder:{location}",
        ids=tuple(scan.tiles),
        labels=labels,
        class_names=class_names,
        notes=tuple(_notes(scan)),
        left_out=tuple(scan.faults),
        root=root,
        file_digests=stacked_digests(tile.digest for tile in scan.tiles.values()),
    )


def _refusal(root: pathlib.Path, scan: Scan) -> str:
    named = [f"{name!r} {fault.message}" for name, fault in scan.faults.items()]
    return (
        f"{root}: {len(named):,} of {len(named) + len(scan.tiles):,} images cannot be used:"
        f" {first_few(named)}. Repair them, or set on_bad_image=skip to leave them out."
    )


def _notes(scan: Scan) -> Iterator[str]:
    """Yield a sentence for each kind of thing that was found but left out."""
    for reason, names in sorted(_names_by_reason(scan.faults).items()):
        yield f"Left out {len(names):,} images; each {reason}: {quoted(names)}."
    yield from walk_notes(scan.walked)
    loose = [name for name in scan.tiles if folder_class(name) is None]
    if 0 < len(loose) < len(scan.tiles):
        yield f"Images outside the class folders have no label: {quoted(loose)}."
    turned = [name for name, tile in scan.tiles.items() if tile.is_turned]
    if turned:
        yield (
            f"{len(turned):,} images are read as stored, though their EXIF asks viewers to turn them: "
            f"{quoted(turned)}."
        )


def _names_by_reason(faults: dict[str, Fault]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = defaultdict(list)
    for name, fault in faults.items():
        names[fault.reason].append(name)
    return names
