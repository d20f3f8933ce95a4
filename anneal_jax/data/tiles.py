"""Reads an image file safely: its header is checked before a pixel is decoded.

It accepts JPEG, PNG, TIFF, WebP, JPEG 2000 and BMP with at most 8 bits per channel. Grey and palette images
become RGB. Transparent pixels are blended with black, the usual colour of missing data in remote sensing.
CMYK is converted without a colour profile. Only the first page or frame of a file is read. GDAL reads TIFFs
that Pillow has no decoder for, if rasterio is installed.

Pixels keep their stored orientation: an EXIF orientation, which cameras write for upright viewing, is
ignored (`says_turned` reports it). In TIFF the orientation is part of the format, and is applied.

Damage that the format cannot reveal (such as a flipped bit inside a JPEG scan) is not detected.
"""

import importlib.util
import io
import pathlib
import stat

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from anneal_jax.data.gdal_images import read_by_gdal, with_palette
from anneal_jax.data.image_headers import (
    MAX_TILE_PIXELS as MAX_TILE_PIXELS,
)
from anneal_jax.data.image_headers import (
    TileError as TileError,
)
from anneal_jax.data.image_headers import (
    check_jpeg2000,
    check_png,
    check_size,
    check_tiff,
    check_webp,
    image_format,
    without_texts,
)
from anneal_jax.errors import reason_of

MAX_TILE_BYTES = 2**29
"""Maximum size of a file, 512 MiB: twice the largest uncompressed tile."""

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr"})

# The classes are called directly because `Image.open` warns about large images.
_OPENERS = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
}
_CHECKS = {"PNG": check_png, "WEBP": check_webp, "JPEG2000": check_jpeg2000}
_LIBRARIES = {"WEBP": "webp", "JPEG2000": "jpg_2000"}  # optional in builds of Pillow

# In every build of Pillow's libtiff; other methods may fail on a valid file.
_SURE_COMPRESSIONS = {1, 2, 3, 4, 5, 7, 8, 32773, 32946}
_WEBP = 50001  # not in Pillow's wheels, whose libtiff reports it on stderr
_UPRIGHT, _ORIENTATION = 1, 0x0112


def read_tile(path: pathlib.Path) -> bytes:
    """Return the bytes of `path`.

    Raises:
      TileError: it is missing, unreadable, not a regular file, or longer than `MAX_TILE_BYTES`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise TileError("is not a regular file")
        if status.st_size > MAX_TILE_BYTES:
            raise TileError(f"is longer than {MAX_TILE_BYTES >> 20} MiB")
        return path.read_bytes()
    except MemoryError as error:
        raise TileError("needs more memory than there is") from error
    except OSError as error:
        raise TileError("cannot be read", reason_of(error)) from error


def decode_tile(data: bytes) -> Image.Image:
    """Decode the bytes of an image file to 8-bit RGB at its own size.

    Raises:
      TileError: its format is not supported, it is damaged, declares more than `MAX_TILE_PIXELS`, needs
        more memory than available, cannot be read by the installed libraries, or is not grey or colour with
        at most 8 bits per channel.
    """
    try:
        return _to_rgb(_loaded(data))
    except TileError:
        raise
    except MemoryError as error:
        raise TileError("needs more memory than there is") from error
    except Exception as error:  # on a damaged file Pillow can raise nearly anything
        raise TileError("is truncated or corrupt", reason_of(error)) from error


def says_turned(data: bytes) -> bool:
    """Return whether the EXIF of an image asks viewers to rotate or mirror it."""
    kind = image_format(data)
    if kind not in ("JPEG", "PNG", "WEBP") or not any(mark in data for mark in (b"Exif", b"eXIf", b"EXIF")):
        return False
    try:
        return _OPENERS[kind](io.BytesIO(data)).getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT
    except Exception:  # ignore damaged EXIF, because the pixels are valid
        return False


def tile_pixels(data: bytes, image_size: int, resampling: str = "bilinear") -> npt.NDArray[np.uint8]:
    """Decode `data` and resize it to a square, with antialiasing.

    Args:
      data: the bytes of an image file.
      image_size: side of the square, in pixels.
      resampling: lower-case name of a Pillow filter, such as `bicubic`.

    Returns:
      uint8[image_size, image_size, 3].
    """
    return _squashed(decode_tile(data), image_size, resampling)


def squash_tile(
    tile: npt.NDArray[np.uint8], image_size: int, resampling: str = "bilinear"
) -> npt.NDArray[np.uint8]:
    """Resize a decoded tile uint8[H, W, S] with any bands to a square, like `tile_pixels`.

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


def _loaded(data: bytes) -> Image.Image:
    """Return a decoded image, in its own 8-bit mode."""
    kind = image_format(data)
    if kind in _LIBRARIES and not features.check(_LIBRARIES[kind]):
        raise TileError(f"is {kind}, which this build of Pillow lacks", "install Pillow from a wheel")
    if kind == "TIFF":
        return _loaded_tiff(data)
    if kind in _CHECKS:
        _CHECKS[kind](data)
    try:
        return _decoded(kind, data)
    except ValueError:
        if kind != "PNG":
            raise
        return _decoded(kind, without_texts(data))  # its texts may exceed Pillow's limits


def _loaded_tiff(data: bytes) -> Image.Image:
    header = check_tiff(data)
    if header.compression == _WEBP and importlib.util.find_spec("rasterio"):
        return read_by_gdal(data, header)
    try:
        image = _decoded("TIFF", data)
    except (KeyError, SyntaxError):  # from its tables: a compression, a layout of bits
        return read_by_gdal(data, header)
    except OSError:
        if header.compression in _SURE_COMPRESSIONS:
            raise
        return read_by_gdal(data, header)
    if image.mode == "P" and max(header.colour_map, default=256) < 256:  # Pillow uses only the high byte
        return with_palette(image, header.colour_map)
    return image


def _decoded(kind: str, data: bytes) -> Image.Image:
    image = _OPENERS[kind](io.BytesIO(data))
    check_size(*image.size)
    if image.mode not in _EIGHT_BIT_MODES:
        raise TileError("is not 8-bit grey or colour", f"mode {image.mode}")
    image.load()
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.has_transparency_data:
        black = Image.new("RGBA", image.size, (0, 0, 0, 255))
        image = Image.alpha_composite(black, image.convert("RGBA"))
    return image.convert("RGB")
