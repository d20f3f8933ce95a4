"""Reads TIFFs that Pillow has no decoder for, with GDAL if rasterio is installed."""

import importlib
import warnings
from typing import Any

import numpy as np
from PIL import Image

from anneal_jax.data.image_headers import TiffKind, TileError
from anneal_jax.errors import how_to_install, reason_of

_COMPRESSIONS = {
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50000: "ZSTD",
    50001: "WEBP",
    50002: "JXL",
}
_MODES = {1: "L", 3: "RGB", 4: "CMYK"}


def read_by_gdal(data: bytes, kind: TiffKind) -> Image.Image:
    """Decode a TIFF that Pillow cannot.

    Channels of fewer than 8 bits are stretched to the range 0 to 255, as Pillow does for grey.

    Args:
      data: the bytes of the file, with samples of at most 8 bits.
      kind: from its header.

    Raises:
      TileError: rasterio is not installed, or GDAL cannot read it either.
    """
    name = _COMPRESSIONS.get(kind.compression, f"compression {kind.compression}")
    what = f"{name}, {kind.bits} bits a channel"
    try:
        rasterio: Any = importlib.import_module("rasterio")
    except ImportError as error:
        advice = f"for a reader, {how_to_install('geotiff')}"
        raise TileError("is a TIFF of a kind that Pillow cannot read", f"{what}; {advice}") from error
    try:
        # By this driver alone: another one might follow a name in the bytes to another file.
        with (
            warnings.catch_warnings(action="ignore", category=rasterio.errors.NotGeoreferencedWarning),
            rasterio.MemoryFile(data) as file,
            file.open(driver="GTiff") as dataset,
        ):
            bands = dataset.read()
            has_alpha = dataset.colorinterp[-1].name == "alpha"
    except Exception as error:
        raise TileError("cannot be read by Pillow, nor by GDAL", f"{what}: {reason_of(error)}") from error
    return _as_image(bands, kind, has_alpha=has_alpha)


def _as_image(bands: np.ndarray, kind: TiffKind, *, has_alpha: bool) -> Image.Image:
    colours = bands[:-1] if has_alpha else bands
    if kind.photometric != 3 and kind.bits < 8:
        colours = np.rint(colours * (255.0 / (2**kind.bits - 1))).astype(np.uint8)
    if kind.photometric == 0:
        colours = 255 - colours
    image = Image.merge(_MODES[len(colours)], [Image.fromarray(band) for band in colours])
    if kind.photometric == 3:
        image = with_palette(image, kind.colour_map)
    if has_alpha:
        image.putalpha(Image.fromarray(bands[-1]))
    return image


def with_palette(image: Image.Image, colour_map: tuple[int, ...]) -> Image.Image:
    """Return an image of indices, mode L or P, with the palette of a TIFF.

    Its values have 16 bits; if none is above 255 they were written with 8, as libtiff also assumes.

    >>> image = with_palette(Image.new("L", (1, 1), 1), (0, 200, 0, 40, 0, 10))
    >>> image.convert("RGB").getpixel((0, 0))
    (200, 40, 10)
    """
    values = np.reshape(colour_map, (3, -1))
    levels = values if values.max(initial=0) < 256 else values // 256
    paletted = Image.frombytes("P", image.size, image.tobytes())
    paletted.putpalette(levels.T.astype(np.uint8).tobytes())
    return paletted
