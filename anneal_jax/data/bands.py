"""The bands of an archive's tiles, derived from its spec alone, and tiles as a person sees them.

They follow from the spec, not the files, so that a model can build its network without the archive.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.data.options import split_options
from anneal_jax.errors import ArchiveError
from anneal_jax.types import Archive

GEOTIFF_OPTIONS = ("tile", "stride", "bands", "rgb", "nodata", "percentile", "range", "pool", "codes")
"""Names of the options of `geotiff:`; docs/geotiff.md explains them."""

_MAX_BANDS = 1_000


class Bands(NamedTuple):
    """The bands of an archive's tiles.

    Attributes:
      numbers: number of each of the S bands in the files, from 1.
      rgb: positions of red, green and blue among the S bands, from 0; None if no band is visible.
    """

    numbers: tuple[int, ...] = (1, 2, 3)
    rgb: tuple[int, int, int] | None = (0, 1, 2)


def bands_of(spec: str) -> Bands:
    """Return the bands of the archive that a spec opens; RGB for all but `geotiff:`.

    Raises:
      ArchiveError: the options `bands` and `rgb` of a `geotiff:` cannot be used.

    >>> bands_of("geotiff:/data/scenes?bands=2,3,4,8&rgb=4,3,2")
    Bands(numbers=(2, 3, 4, 8), rgb=(2, 1, 0))
    >>> bands_of("digits").rgb
    (0, 1, 2)
    """
    scheme, _, location = spec.partition(":")
    if scheme != "geotiff":
        return Bands()
    return bands_from_options(split_options(location, GEOTIFF_OPTIONS)[1])


def holds_vectors(spec: str) -> bool:
    """Return whether a spec opens precomputed vectors.

    Raises:
      ArchiveError: the options of a `geotiff:` cannot be used.

    >>> holds_vectors("embeddings:e.npz"), holds_vectors("geotiff:/data/aef?tile=32&pool=mean")
    (True, True)
    >>> holds_vectors("geotiff:/data/scenes")
    False
    """
    scheme, _, location = spec.partition(":")
    if scheme == "geotiff":
        return "pool" in split_options(location, GEOTIFF_OPTIONS)[1]
    return scheme == "embeddings"


def bands_from_options(options: Mapping[str, str]) -> Bands:
    """Return the bands that the options `bands` and `rgb` name, both by band number of the file.

    Three bands are red, green and blue, in this order, unless `rgb` says otherwise; for any other number of
    bands, `rgb` names the visible ones.

    Raises:
      ArchiveError: they are not band numbers, or `rgb` names a band that `bands` does not.

    >>> bands_from_options({"bands": "8,11,12", "rgb": "none"}).rgb is None
    True
    """
    numbers = _numbers("bands", options.get("bands", "1,2,3"))
    chosen = options.get("rgb", ",".join(map(str, numbers)) if len(numbers) == 3 else "none")
    if chosen == "none":
        return Bands(numbers, None)
    rgb = _numbers("rgb", chosen)
    if len(rgb) != 3 or not set(rgb) <= set(numbers):
        known = ",".join(map(str, numbers))
        raise ArchiveError(f"rgb={chosen} must be none, or name red, green and blue among bands={known}")
    red, green, blue = (numbers.index(number) for number in rgb)
    return Bands(numbers, (red, green, blue))


def rgb_tiles(
    archive: Archive, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear"
) -> npt.NDArray[np.uint8]:
    """Return tiles as RGB pictures for a person.

    Args:
      archive: of images.
      indices: int[B], rows.
      image_size: side in pixels.
      resampling: lower-case name of the Pillow filter used for resizing.

    Returns:
      uint8[B, image_size, image_size, 3]; if no band is visible, the first one as grey.
    """
    tiles = archive.load(indices, image_size, resampling)
    bands = bands_of(archive.spec)
    return tiles[..., list(bands.rgb or (0, 0, 0))]


def _numbers(name: str, text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() and 1 <= int(part) <= _MAX_BANDS for part in parts):
        raise ArchiveError(f"{name}={text} must be band numbers from 1 on, as in {name}=4,3,2")
    numbers = tuple(map(int, parts))
    if len(set(numbers)) < len(numbers):
        raise ArchiveError(f"{name}={text} names a band twice; name each once")
    return numbers
