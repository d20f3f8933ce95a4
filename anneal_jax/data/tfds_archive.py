"""An archive of array_record files prepared by TensorFlow Datasets, read without TensorFlow.

`tfds:NAME?OPTIONS`, with NAME as in tfds: `eurosat`, `eurosat/rgb` or `eurosat/rgb:2.0.0`.
"""

import hashlib
import importlib
import os
import pathlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from anneal_jax.data.catalogue import (
    Catalogue,
    TileFile,
    check_image_size,
    checked_indices,
    first_few,
    numbered_ids,
    stacked_digests,
)
from anneal_jax.data.image_headers import image_format
from anneal_jax.data.labels import encode_labels
from anneal_jax.data.options import split_options
from anneal_jax.data.tiles import TileError, decode_tile, tile_pixels
from anneal_jax.errors import ArchiveError, how_to_install
from anneal_jax.files.progress import progress_bar
from anneal_jax.files.threads import threaded

TFDS_OPTIONS = ("dir", "split")

_DEFAULT_DIR = "~/tensorflow_datasets"


@dataclass(frozen=True, kw_only=True, eq=False)
class TfdsArchive(Catalogue):
    """Encoded images in array_record files; an id is the name of a split and a number in it.

    Attributes:
      sources: random access to the records of each split.
      image_key: the feature that is the image.
      places: int64[N, 2]: number of the source, and of the record in it.
      tile_digests: uint8[N, 32].
    """

    sources: tuple[Any, ...] = field(repr=False)
    image_key: str
    places: npt.NDArray[np.int64] = field(repr=False)
    tile_digests: npt.NDArray[np.uint8] = field(repr=False)

    def load(
        self, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear"
    ) -> npt.NDArray[np.uint8]:
        """Decode tiles in several threads.

        Args:
          indices: int[B], rows of the archive.
          image_size: side of the returned squares, in pixels.
          resampling: lower-case name of the Pillow filter used for resizing.

        Returns:
          uint8[B, image_size, image_size, 3], RGB.

        Raises:
          ArchiveError: the files have changed since the archive was opened.
        """
        check_image_size(image_size)
        rows = checked_indices(indices, len(self.ids)).tolist()
        tiles = np.empty((len(rows), image_size, image_size, 3), np.uint8)
        encoded = [self._unchanged_bytes(row) for row in rows]
        decoded = threaded(lambda data: tile_pixels(data, image_size, resampling), encoded)
        for slot, tile in enumerate(decoded):
            tiles[slot] = tile
        return tiles

    def digests(self) -> npt.NDArray[np.uint8]:
        """Return uint8[N, 32], the SHA-256 of each encoded image."""
        return self.tile_digests

    def tile_file(self, index: int) -> TileFile:
        """Return an image as encoded in the data set."""
        data = self._unchanged_bytes(index)
        return TileFile(f".{image_format(data).lower()}", data)

    def _unchanged_bytes(self, row: int) -> bytes:
        source, number = self.places[row].tolist()
        data = self.sources[source][number][self.image_key]
        if hashlib.sha256(data).digest() != self.tile_digests[row].tobytes():
            raise ArchiveError(
                f"{self.spec}: {self.ids[row]} has changed since the archive was opened; restore the "
                "files, or start again to read them as they are now"
            )
        return data


def open_tfds(location: str, on_bad_image: str) -> TfdsArchive:
    """Open `tfds:NAME?OPTIONS`, reading and decoding every image once, like `folder:`.

    Nothing is downloaded or prepared, and the code of the data set is not run.

    Args:
      location: the data set, and options (docs/archives.md).
      on_bad_image: "refuse" raises one error for all bad images; "skip" leaves them out with a note.

    Raises:
      ArchiveError: the data set is not prepared as array_record (the message has the command), has no image
        feature or several, or an image is bad and refused; or tfds is not installed.
    """
    name, options = split_options(location, TFDS_OPTIONS)
    builder = _builder(name, options)
    image_key, label_key = _keys(name, builder.info.features)
    splits = options["split"].split(",") if "split" in options else sorted(builder.info.splits)
    sources = tuple(_source(builder, split, image_key, name) for split in splits)
    ids = [numbered_ids(split, len(source)) for split, source in zip(splits, sources, strict=True)]
    tile_ids, places, classes, digests, faults = [], [], [], [], {}
    for place, number, record in _records(sources):
        tile_id = ids[place][number]
        inspected = _inspect(record[image_key])
        if isinstance(inspected, str):
            faults[tile_id] = inspected
            continue
        tile_ids.append(tile_id)
        places.append((place, number))
        digests.append(inspected)
        classes.append(int(record[label_key]) if label_key else -1)
    notes = _faults_note(location, faults, len(tile_ids), on_bad_image)
    if not tile_ids:
        raise ArchiveError(f"tfds:{location} contains no usable image. {' '.join(notes)}".rstrip())
    texts: list[str] = list(builder.info.features[label_key].names) if label_key else []
    labels, class_names = encode_labels([texts[number] if number >= 0 else None for number in classes])
    return TfdsArchive(
        spec=f"tfds:{location}",
        ids=tuple(tile_ids),
        labels=labels,
        class_names=class_names,
        notes=notes,
        left_out=tuple(faults),
        sources=sources,
        image_key=image_key,
        places=np.array(places, np.int64),
        tile_digests=stacked_digests(digests),
    )


def _builder(name: str, options: dict[str, str]) -> Any:
    try:
        tfds = importlib.import_module("tensorflow_datasets")
        finding = importlib.import_module("tensorflow_datasets.core.read_only_builder")
    except ImportError as error:
        raise ArchiveError(
            "tfds: needs tensorflow-datasets, which is not installed; "
            f"install it with {how_to_install('tfds')}"
        ) from error
    folder = pathlib.Path(options.get("dir") or os.environ.get("TFDS_DATA_DIR") or _DEFAULT_DIR)
    folder = folder.expanduser().absolute()
    try:
        builder = finding.builder_from_files(name, data_dir=folder)
    except (tfds.core.DatasetNotFoundError, ValueError, FileNotFoundError) as error:
        raise _not_prepared(name, folder) from error
    if builder.info.file_format is not tfds.core.FileFormat.ARRAY_RECORD:
        raise _not_prepared(name, folder)
    return builder


def _not_prepared(name: str, folder: pathlib.Path) -> ArchiveError:
    return ArchiveError(
        f"{folder} contains no data set {name!r} prepared as array_record; if TensorFlow is installed, "
        f"prepare it: tfds build {name} --data_dir={folder} --file_format=array_record"
    )


def _keys(name: str, features: Any) -> tuple[str, str]:
    """Return the names of the image and of the class; the latter "" without one."""
    kinds = {key: type(feature).__name__ for key, feature in features.items()}
    images = [key for key, kind in kinds.items() if kind == "Image" and features[key].shape[-1] in (1, 3)]
    if len(images) != 1:
        raise ArchiveError(
            f"tfds:{name} has {len(images)} features that are grey or RGB images, among "
            f"{', '.join(sorted(kinds))}; data sets with one can be used"
        )
    classes = [key for key, kind in kinds.items() if kind == "ClassLabel"]
    return images[0], "label" if "label" in classes else classes[0] if len(classes) == 1 else ""


def _source(builder: Any, split: str, image_key: str, name: str) -> Any:
    tfds = importlib.import_module("tensorflow_datasets")
    if split not in builder.info.splits:
        known = ", ".join(sorted(builder.info.splits))
        raise ArchiveError(f"tfds:{name} has no split {split!r}; choose among {known}")
    return builder.as_data_source(split=split, decoders={image_key: tfds.decode.SkipDecoding()})


def _records(sources: tuple[Any, ...]) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield the index of the source, the number and the record of every tile, in order."""
    with progress_bar(sum(map(len, sources)), "checking images", "image") as bar:
        for place, source in enumerate(sources):
            for number in range(len(source)):
                yield place, number, source[number]
                bar.update()


def _inspect(data: bytes) -> bytes | str:
    """Return the digest of an encoded image, or what is wrong with it."""
    try:
        decode_tile(data)
    except TileError as error:
        return str(error)
    return hashlib.sha256(data).digest()


def _faults_note(
    location: str, faults: dict[str, str], num_good: int, on_bad_image: str
) -> tuple[str, ...]:
    if not faults:
        return ()
    named = first_few([f"{tile_id} {fault}" for tile_id, fault in faults.items()])
    if on_bad_image == "refuse":
        raise ArchiveError(
            f"tfds:{location}: {len(faults):,} of {len(faults) + num_good:,} images cannot be used: "
            f"{named}. Prepare the data set again, or set on_bad_image=skip to leave them out."
        )
    return (f"Left out {len(faults):,} images: {named}.",)
