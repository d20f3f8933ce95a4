"""Converts what a person types, a path or an archive's name, to the spec that `open_archive` expects."""

import itertools
import os
import pathlib
from collections.abc import Iterator

from PIL import TiffImagePlugin

from anneal_jax.data.archives import archive_schemes
from anneal_jax.data.file_walk import may_hold_tiles
from anneal_jax.data.folder_scan import IMAGE_ENDINGS
from anneal_jax.data.image_headers import read_tiff_tags
from anneal_jax.errors import ArchiveError, reason_of

READ = (
    "a folder of images, a folder of GeoTIFF scenes or one of them, or vectors in an .npz, .npy or "
    ".parquet file or in a folder of .parquet files"
)
"""What `recognise` accepts, in words."""

_PATH_SCHEMES = ("folder", "geotiff", "embeddings")
_VECTORS = (b"PK\x03\x04", b"\x93NUM", b"PAR1")  # .npz, .npy, Parquet
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TIFF_ENDINGS = (".tif", ".tiff")
_GEO_TAGS = {33550, 34264, 34735}  # GeoTIFF 1.1: pixel scale, transformation, key directory
_LARGEST_TILE_PX = 512
_LOOKED_AT = 20  # files of a folder to inspect


def recognise(path: str) -> str:
    """Return the spec for a path or an archive's name, with absolute paths.

    A file is recognised by its first bytes, whatever its name. A folder contains scenes if its first images
    are all georeferenced TIFFs that cannot be tiles: they are longer than 512 pixels, or have more than 8
    bits or more than four bands. Otherwise it contains tiles.

    Args:
      path: such as `tiles`, `scene.tif`, `vectors.npz`, `digits` or `folder:tiles`.

    Raises:
      ArchiveError: the path does not exist, or it is not a supported archive.
    """
    place = pathlib.Path(path).expanduser()
    scheme, _, location = path.partition(":")
    if not place.exists() and scheme in archive_schemes():
        is_path = scheme in _PATH_SCHEMES and location
        return f"{scheme}:{_absolute(location)}" if is_path else path
    if place.is_dir():
        return f"{_scheme_of_folder(place)}:{_absolute(path)}"
    if not place.is_file():
        raise ArchiveError(f"{path!r} does not exist; give {READ}.")
    return f"{_scheme_of_file(place)}:{_absolute(path)}"


def _absolute(path: str) -> str:
    return str(pathlib.Path(path).expanduser().resolve())


def _scheme_of_file(path: pathlib.Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read ({reason_of(error)}); give {READ}.") from error
    if start in _VECTORS:
        return "embeddings"
    if start in _TIFF:
        return "geotiff"
    raise ArchiveError(f"{path} is not a supported archive; give {READ}.")


def _scheme_of_folder(folder: pathlib.Path) -> str:
    found = list(itertools.islice(_images(folder), _LOOKED_AT))
    if not found and any(folder.glob("*.parquet")):
        return "embeddings"
    return "geotiff" if found and all(map(_is_scene, found)) else "folder"


def _images(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    for here, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(filter(may_hold_tiles, subfolders))
        for name in sorted(files):
            if name.lower().endswith(tuple(IMAGE_ENDINGS)) and not name.startswith("."):
                yield pathlib.Path(here, name)


def _is_scene(path: pathlib.Path) -> bool:
    if path.suffix.lower() not in _TIFF_ENDINGS:
        return False
    try:
        with path.open("rb") as file:
            tags = read_tiff_tags(file)
        sides = tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH]
        bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
        num_bands = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    except Exception:  # Pillow can raise nearly anything; opening the file later reports the problem
        return False
    return bool(_GEO_TAGS & set(tags)) and (max(sides) > _LARGEST_TILE_PX or bits > 8 or num_bands > 4)
