"""Checks the first bytes of an image file: its format, and whether it can be a tile.

All checks run before a pixel is decoded: on sizes, so that a small file cannot take much memory; and on
bits and bands, which decoders silently reduce.
"""

import io
import struct
from typing import BinaryIO, NamedTuple

from PIL import TiffImagePlugin

from anneal_jax.errors import ArchiveError

MAX_TILE_PIXELS = 8192 * 8192
"""Maximum number of pixels that a file may declare: 201 MB when decoded to RGB."""

FORMATS = "JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP"
"""Supported formats, for messages."""

_PNG_HEADER = struct.Struct(">12x4sIIB")  # signature and length, IHDR, width, height, bit depth

# TIFF 6.0: photometric interpretation -> colour channels; sample formats; kinds of extra sample.
_TIFF_COLOUR_CHANNELS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_TIFF_UNSIGNED_OR_UNKNOWN = {1, 4}
_TIFF_ALPHA = {1, 2}

_MARKS = (
    ("JPEG", (b"\xff\xd8\xff",)),
    ("PNG", (b"\x89PNG\r\n\x1a\n",)),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    ("JPEG2000", (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")),
    ("BMP", (b"BM",)),
)


class TileError(ArchiveError):
    """One tile cannot be used.

    Attributes:
      reason: the same text for every tile with the same fault; the message adds the detail.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason} ({detail})" if detail else reason)
        self.reason = reason


class TiffKind(NamedTuple):
    """The properties that decide how the pixels of a TIFF are read.

    Attributes:
      compression: number of its compression method.
      photometric: 0 grey from white to black, 1 from black, 2 RGB, 3 palette, 5 CMYK, 6 YCbCr.
      bits: bits of the widest channel.
      colour_map: palette with all reds, then greens, then blues; empty if there is none.
    """

    compression: int
    photometric: int
    bits: int
    colour_map: tuple[int, ...]


def image_format(data: bytes) -> str:
    """Return the format of a file from its first bytes, whatever its suffix.

    Raises:
      TileError: the format is not supported.
    """
    for name, marks in _MARKS:
        if data.startswith(marks):
            return name
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    raise TileError("is empty" if not data else f"does not contain a {FORMATS} file")


def check_size(width: int, height: int) -> None:
    """Raise TileError unless an image has pixels, and no more than `MAX_TILE_PIXELS`."""
    if width < 1 or height < 1:
        raise TileError("has no pixels", f"{width} x {height}")
    if width * height > MAX_TILE_PIXELS:
        raise TileError(f"declares more than {MAX_TILE_PIXELS:,} pixels", f"{width} x {height}")


def check_png(data: bytes) -> None:
    """Raise TileError if a PNG cannot be a tile."""
    chunk, width, height, bit_depth = _PNG_HEADER.unpack_from(data)
    if chunk != b"IHDR":
        raise TileError("is truncated or corrupt", "no PNG header")
    check_size(width, height)
    _check_bits(bit_depth)


def check_webp(data: bytes) -> None:
    """Raise TileError if a WebP is too large; opening one takes the memory of its canvas.

    Source: RFC 9649, sections 2.5 to 2.7.
    """
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif kind == b"VP8L":
        packed = int.from_bytes(data[21:25], "little")
        width, height = (packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1
    else:
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    check_size(width, height)


def check_jpeg2000(data: bytes) -> None:
    """Raise TileError if a JPEG 2000 file cannot be a tile: Pillow silently cuts 16 bits to 8.

    Source: ITU-T T.800, annexes A.5.1 (SIZ) and I.5.3.6 (channel definitions).
    """
    at = data.find(b"\xff\x4f\xff\x51")
    if at < 0:
        raise TileError("is truncated or corrupt", "no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">4I", data, at + 8)
    check_size(right - left, bottom - top)
    (num_bands,) = struct.unpack_from(">H", data, at + 40)
    depths = data[at + 42 : at + 42 + 3 * num_bands : 3]
    if any(depth & 0x80 for depth in depths):
        raise TileError("stores signed, floating or complex numbers, not unsigned 8-bit ones")
    _check_bits(max(depth & 0x7F for depth in depths) + 1)
    if num_bands > 4 or (num_bands in (2, 4) and b"cdef" not in data[:at]):  # no transparency channel
        raise _too_many_bands(num_bands)


def read_tiff_tags(stream: BinaryIO) -> TiffImagePlugin.ImageFileDirectory_v2:
    """Return the tags of a TIFF's first page; for a damaged file, Pillow's errors pass through."""
    is_big_tiff = b"+" in stream.read(4)
    stream.seek(0)
    tags = TiffImagePlugin.ImageFileDirectory_v2(stream.read(16 if is_big_tiff else 8))
    stream.seek(tags.next)
    tags.load(stream)
    return tags


def check_tiff(data: bytes) -> TiffKind:
    """Return how to read a TIFF; refuse wide samples and extra bands, which Pillow would silently reduce.

    Raises:
      TileError: it cannot be a tile.
    """
    tags = read_tiff_tags(io.BytesIO(data))
    check_size(tags[TiffImagePlugin.IMAGEWIDTH], tags[TiffImagePlugin.IMAGELENGTH])
    sample_formats = set(tags.get(TiffImagePlugin.SAMPLEFORMAT, (1,)))
    if not sample_formats <= _TIFF_UNSIGNED_OR_UNKNOWN:
        raise TileError("stores signed, floating or complex numbers, not unsigned 8-bit ones")
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    _check_bits(bits)
    photometric = tags.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 0)
    _check_tiff_bands(tags, photometric)
    colour_map = tuple(tags.get(TiffImagePlugin.COLORMAP, ())) if photometric == 3 else ()
    return TiffKind(tags.get(TiffImagePlugin.COMPRESSION, 1), photometric, bits, colour_map)


def without_texts(data: bytes) -> bytes:
    """Return a PNG without texts, colour profile and EXIF, none of which affects its pixels.

    Pillow refuses a valid file whose texts decompress to more than its limits.
    """
    kept, at = [data[:8]], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        end = at + 12 + length
        if data[at + 4 : at + 8] not in (b"tEXt", b"zTXt", b"iTXt", b"iCCP", b"eXIf"):
            kept.append(data[at:end])
        at = end
    return b"".join([*kept, data[at:]])


def _check_tiff_bands(tags: TiffImagePlugin.ImageFileDirectory_v2, photometric: int) -> None:
    if photometric not in _TIFF_COLOUR_CHANNELS:
        raise TileError("is not 8-bit grey or colour", f"TIFF photometric {photometric}")
    num_bands = tags.get(TiffImagePlugin.SAMPLESPERPIXEL, 1)
    num_extra = num_bands - _TIFF_COLOUR_CHANNELS[photometric]
    extra_kinds = set(tags.get(TiffImagePlugin.EXTRASAMPLES, ()))
    if num_extra > 1 or (num_extra == 1 and not extra_kinds & _TIFF_ALPHA):
        raise _too_many_bands(num_bands)


def _too_many_bands(num_bands: int) -> TileError:
    return TileError(
        "has bands beyond grey or colour", f"{num_bands} bands; export three of them as 8-bit RGB"
    )


def _check_bits(bits: int) -> None:
    if bits > 8:
        raise TileError("stores more than 8 bits a channel", f"{bits} bits; scale it to 8")
