"""Read one image file safely: all that its header tells is checked before a pixel is decoded.

Accepted are JPEG, PNG and TIFF with 8 bits (or fewer) a channel. Grey and palette images become
RGB. Transparent pixels are laid over black, the usual colour of missing data in remote sensing.
CMYK is converted without a colour profile. Of a file with several pages the first is read. An EXIF
orientation is ignored in JPEG and PNG, and applied by Pillow in TIFF.

Damage that the format itself cannot show (a flipped bit inside a JPEG scan) goes unseen.
"""

import io
import pathlib
import stat
import struct
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from anneal_jax.errors import ArchiveError

MAX_TILE_PIXELS = 8192 * 8192
"""Most pixels that a file may declare: 201 MB once decoded to RGB."""

MAX_TILE_BYTES = 2**29
"""Longest file that is read, 512 MiB: twice the largest tile without any compression."""

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})

_PNG_HEADER = struct.Struct(">12x4sIIB")  # signature and length, IHDR, width, height, bit depth

# TIFF 6.0: photometric interpretation -> colour channels; sample formats; kinds of extra sample.
_TIFF_COLOUR_CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_TIFF_UNSIGNED_OR_UNKNOWN = {1, 4}
_TIFF_ALPHA = {1, 2}


class TileError(ArchiveError):
    """One tile cannot be used.

    Attributes:
      reason: the same text for every tile with the same fault; the message adds the detail.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason


def read_tile(path: pathlib.Path) -> bytes:
    """Return the bytes of `path`.

    Raises:
      TileError: it is missing, unreadable, no regular file, or longer than `MAX_TILE_BYTES`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise TileError("is no regular file")
        if status.st_size > MAX_TILE_BYTES:
            raise TileError(f"is longer than {MAX_TILE_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise TileError("cannot be read", error.strerror or str(error)) from error


def decode_tile(data: bytes) -> Image.Image:
    """Decode the bytes of an image file to 8-bit RGB at its own size.

    Raises:
      TileError: it is no JPEG, PNG or TIFF, is damaged, declares more than `MAX_TILE_PIXELS`,
        or holds something other than grey or colour in 8 bits a channel.
    """
    try:
        image = _open_checked(data)
        image.load()
        return _to_rgb(image)
    except (TileError, MemoryError):
        raise
    except Exception as error:  # on a damaged file Pillow raises nearly anything
        raise TileError("is truncated or corrupt", str(error)) from error


def tile_pixels(data: bytes, image_size: int, resampling: str = "bilinear") -> npt.NDArray[np.uint8]:
    """Decode `data` and squash it to a square, with antialiasing.

    Args:
      data: the bytes of an image file.
      image_size: side of the square, in pixels.
      resampling: Pillow's name of the filter, in small letters, such as `bicubic`.

    Returns:
      uint8[image_size, image_size, 3].
    """
    return _squashed(decode_tile(data), image_size, resampling)


def squash_tile(
    tile: npt.NDArray[np.uint8], image_size: int, resampling: str = "bilinear"
) -> npt.NDArray[np.uint8]:
    """Squash a decoded tile uint8[H, W, S] of any bands to a square as `tile_pixels` does.

    Returns:
      uint8[image_size, image_size, S].

    >>> squash_tile(np.zeros((40, 30, 3), np.uint8), 32).shape
    (32, 32, 3)
    """
    if tile.shape[2] == 3:
        return _squashed(Image.fromarray(tile), image_size, resampling)
    bands = (Image.fromarray(np.ascontiguousarray(band)) for band in np.moveaxis(tile, 2, 0))
    return np.stack([_squashed(band, image_size, resampling) for band in bands], axis=2)


def _squashed(image: Image.Image, image_size: int, resampling: str) -> npt.NDArray[np.uint8]:
    if image.size != (image_size, image_size):
        image = image.resize((image_size, image_size), Image.Resampling[resampling.upper()])
    return np.asarray(image)


def _open_checked(data: bytes) -> Image.Image:
    """Open by the file's first bytes, whatever its name, and check the header."""
    # The format classes are called directly because `Image.open` warns of large images.
    if data.startswith(b"\xff\xd8\xff"):
        image = JpegImagePlugin.JpegImageFile(io.BytesIO(data))
    elif data.startswith(b"\x89PNG\r\n\x1a\n"):
        _check_png_header(data)
        image = PngImagePlugin.PngImageFile(io.BytesIO(data))
    elif data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        _check_tiff_tags(data)
        image = TiffImagePlugin.TiffImageFile(io.BytesIO(data))
    else:
        raise TileError("is empty" if not data else "is no JPEG, PNG or TIFF file inside")
    _check_size(*image.size)
    if image.mode not in _EIGHT_BIT_MODES:
        raise TileError("is not 8-bit grey or colour", f"mode {image.mode}")
    return image


def read_tiff_tags(stream: BinaryIO) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Return the tags of a TIFF's first page; of a damaged one whatever Pillow raises comes through."""
    is_big_tiff = b"+" in stream.read(4)
    stream.seek(0)
    tags = TiffImagePlugin.ImageFileDirectory_v2(stream.read(16 if is_big_tiff else 8))
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def _check_png_header(data: bytes) -> None:
    chunk, width, height, bit_depth = _PNG_HEADER.unpack_from(data)
    if chunk != b"IHDR":
        raise TileError("is truncated or corrupt", "no PNG header")
    _check_size(width, height)
    _check_bits(bit_depth)


def _check_tiff_tags(data: bytes) -> None:
    """Refuse what Pillow would silently reduce: wide samples, signed ones, further bands."""
    tags = read_tiff_tags(io.BytesIO(data))
    _check_size(tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH])
    sample_formats = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)))
    if not sample_formats <= _TIFF_UNSIGNED_OR_UNKNOWN:
        raise TileError("stores signed, floating or complex numbers, not unsigned 8-bit ones")
    _check_bits(max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,))))
    _check_tiff_bands(tags)


def _check_tiff_bands(tags: TiffImagePlugin.ImageFileDirectory_v2) -> None:
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0)
    if photometric not in _TIFF_COLOUR_CHANNELS:
        raise TileError("is not 8-bit grey or colour", f"TIFF photometric {photometric}")
    num_bands = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    num_extra = num_bands - _TIFF_COLOUR_CHANNELS[photometric]
    extra_kinds = set(tags.get(TiffImagePlugin.EXTRASAMPLES, ()))
    if num_extra > 1 or (num_extra == 1 and not extra_kinds & _TIFF_ALPHA):
        detail = f"{num_bands} bands; export three of them as 8-bit RGB"
        raise TileError("has bands beyond grey or colour", detail)


def _check_size(width: int, height: int) -> None:
    if width < 1 or height < 1:
        raise TileError("has no pixels", f"{width} x {height}")
    if width * height > MAX_TILE_PIXELS:
        raise TileError(f"declares more than {MAX_TILE_PIXELS:,} pixels", f"{width} x {height}")


def _check_bits(bits: int) -> None:
    if bits > 8:
        raise TileError("stores more than 8 bits a channel", f"{bits} bits; scale it to 8")


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert("RGB")
