"""Each trap of the image formats, with the words that a person sees."""

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageFile

from anneal_jax.data.tiles import MAX_TILE_PIXELS, TileError, decode_tile, read_tile, tile_pixels

RED = (200, 40, 10)


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_header(width: int, height: int, bit_depth: int = 8) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, bit_depth, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)


def tiff(
    samples: np.ndarray, photometric: int, sample_format: int = 1, extra: tuple[int, ...] = ()
) -> bytes:
    """Write an uncompressed little-endian TIFF of any depth and number of bands, by hand."""
    height, width, bands = samples.shape
    bits = samples.dtype.itemsize * 8
    pixels = samples.astype(samples.dtype.newbyteorder("<")).tobytes()
    columns = {
        256: ("I", (width,)),
        257: ("I", (height,)),
        258: ("H", (bits,) * bands),
        259: ("H", (1,)),
        262: ("H", (photometric,)),
        273: ("I", (8,)),
        277: ("H", (bands,)),
        278: ("I", (height,)),
        279: ("I", (len(pixels),)),
        338: ("H", extra),
        339: ("H", (sample_format,) * bands),
    }
    tags = {tag: column for tag, column in columns.items() if column[1]}
    directory_at = 8 + len(pixels)
    values_at = directory_at + 2 + 12 * len(tags) + 4
    entries, values = b"", b""
    for tag, (code, numbers) in tags.items():
        packed = struct.pack(f"<{len(numbers)}{code}", *numbers)
        if len(packed) > 4:
            packed, values = struct.pack("<I", values_at + len(values)), values + packed
        kind = {"H": 3, "I": 4}[code]
        entries += struct.pack("<HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", directory_at) + pixels + directory + values


def photograph(size: tuple[int, int] = (40, 30)) -> Image.Image:
    rng = np.random.default_rng(3)
    return Image.fromarray(rng.integers(0, 255, (*size[::-1], 3), np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_lossless_modes_become_their_rgb(kind, mode):
    image = photograph().convert(mode)
    np.testing.assert_array_equal(decode_tile(encoded(image, kind)), image.convert("RGB"))


def test_jpeg_modes():
    for mode in ("RGB", "L"):
        image = Image.new("RGB", (16, 16), (90, 90, 90)).convert(mode)
        pixels = np.asarray(decode_tile(encoded(image, "JPEG")), np.int32)
        assert pixels.shape == (16, 16, 3)
        assert np.abs(pixels - 90).max() <= 2


def test_cmyk_jpeg_keeps_its_colour():
    image = Image.new("RGB", (16, 16), RED).convert("CMYK")
    pixels = np.asarray(decode_tile(encoded(image, "JPEG", quality=95)), np.int32)
    assert np.abs(pixels - RED).max() <= 6


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_transparent_pixels_are_black(kind):
    image = Image.new("RGBA", (2, 1), (*RED, 255))
    image.putpixel((1, 0), (*RED, 0))
    assert np.asarray(decode_tile(encoded(image, kind))).tolist() == [[list(RED), [0, 0, 0]]]


def test_palette_with_transparent_entry():
    image = Image.new("P", (2, 1))
    image.putpalette([*RED, 9, 9, 9])
    image.putpixel((1, 0), 1)
    data = encoded(image, "PNG", transparency=b"\xff\x00")
    assert np.asarray(decode_tile(data)).tolist() == [[list(RED), [0, 0, 0]]]


def test_hand_made_tiff_is_sound():
    samples = np.random.default_rng(0).integers(0, 255, (3, 5, 3), np.uint8)
    np.testing.assert_array_equal(decode_tile(tiff(samples, photometric=2)), samples)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b"GIF89a....", "does not contain a JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP file"),
        (b"<html>not found</html>", "does not contain a JPEG, PNG, TIFF, WebP, JPEG 2000 or BMP file"),
        (encoded(photograph(), "JPEG")[:-200], "is truncated or corrupt"),
        (encoded(photograph(), "JPEG")[:20], "is truncated or corrupt"),
        (encoded(photograph(), "PNG")[:-200], "is truncated or corrupt"),
        (encoded(photograph(), "TIFF")[:300], "is truncated or corrupt"),
        (b"\x89PNG\r\n\x1a\n", "is truncated or corrupt"),
        (png_header(0, 5), r"has no pixels \(0 x 5\)"),
        (png_header(8, 8, bit_depth=16), "more than 8 bits a channel .16 bits; scale it to 8"),
        (encoded(Image.new("I;16", (4, 4)), "PNG"), "more than 8 bits a channel"),
        (encoded(Image.new("I;16", (4, 4)), "TIFF"), "more than 8 bits a channel"),
        (encoded(Image.new("F", (4, 4)), "TIFF"), "stores signed, floating or complex numbers"),
        (tiff(np.ones((4, 4, 3), np.uint16), 2), "more than 8 bits a channel .16 bits"),
        (tiff(np.ones((4, 4, 1), np.int8), 1, sample_format=2), "stores signed, floating"),
        (tiff(np.ones((4, 4, 12), np.uint8), 1), "bands beyond grey or colour .12 bands"),
        (tiff(np.ones((4, 4, 4), np.uint8), 2, extra=(0,)), "bands beyond .* .4 bands"),
        (tiff(np.ones((4, 4, 6), np.uint8), 2, extra=(0, 0, 0)), "bands beyond .* .6 bands"),
        (tiff(np.ones((4, 4, 5), np.uint8), 2, extra=(0, 2)), "bands beyond .* .5 bands"),
        (tiff(np.ones((4, 4, 3), np.uint8), 8), "TIFF photometric 8"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_refusals_name_the_fault(data, message):
    with pytest.raises(TileError, match=message):
        decode_tile(data)


def test_sixteen_bit_rgb_tiff_is_a_real_trap():
    """Pillow alone opens it as if it had 8 bits; should that end, the check may go."""
    with Image.open(io.BytesIO(tiff(np.ones((4, 4, 3), np.uint16), 2))) as image:
        assert image.mode == "RGB"


@pytest.mark.parametrize("kind", ["png", "tiff", "jpeg"])
def test_oversized_header_is_refused_without_allocation(kind, monkeypatch):
    """30,000 x 30,000 pixels would take 2.7 GB; Pillow's own warning must not appear either."""
    if kind == "png":
        data = png_header(30_000, 30_000) + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    elif kind == "tiff":
        data = tiff(np.zeros((1, 1, 3), np.uint8), 2).replace(
            struct.pack("<HHII", 256, 4, 1, 1) + struct.pack("<HHII", 257, 4, 1, 1),
            struct.pack("<HHII", 256, 4, 1, 30_000) + struct.pack("<HHII", 257, 4, 1, 30_000),
        )
    else:
        small = encoded(Image.new("L", (8, 8)), "JPEG")
        data = small.replace(struct.pack(">HH", 8, 8), struct.pack(">HH", 30_000, 30_000), 1)
    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", lambda _: pytest.fail("allocates"))
    with pytest.raises(TileError, match=r"declares more than 67,108,864 pixels \(30000 x 30000\)"):
        decode_tile(data)


def test_limit_itself_is_allowed():
    assert MAX_TILE_PIXELS == 8192 * 8192
    with pytest.raises(TileError, match="truncated"):  # past the size check, then no pixels
        decode_tile(png_header(8192, 8192))
    with pytest.raises(TileError, match="declares more"):
        decode_tile(png_header(8192, 8193))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@given(
    kind=st.sampled_from(["JPEG", "PNG", "TIFF"]),
    position=st.floats(0, 1, exclude_max=True),
    byte=st.integers(0, 255),
    kept=st.floats(0, 1),
)
def test_damage_gives_pixels_or_a_tile_error_and_nothing_else(kind, position, byte, kept):
    data = bytearray(encoded(photograph((9, 7)), kind))
    data[int(position * len(data))] = byte
    try:
        pixels = tile_pixels(bytes(data[: int(kept * len(data))]), 4)
    except TileError as error:
        assert error.reason
    else:
        assert pixels.shape == (4, 4, 3)


def test_tile_pixels_squashes_to_a_square():
    half = np.zeros((10, 20, 3), np.uint8)
    half[:, 10:] = 255
    pixels = tile_pixels(encoded(Image.fromarray(half), "PNG"), 4)
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels[:, 0], 0)
    np.testing.assert_array_equal(pixels[:, 3], 255)


def test_read_tile_refuses_what_is_no_file(tmp_path, monkeypatch):
    with pytest.raises(TileError, match=r"cannot be read \(No such file"):
        read_tile(tmp_path / "absent.jpg")
    with pytest.raises(TileError, match="is not a regular file"):
        read_tile(tmp_path)
    (tmp_path / "long.jpg").write_bytes(bytes(100))
    monkeypatch.setattr("anneal_jax.data.tiles.MAX_TILE_BYTES", 99)
    with pytest.raises(TileError, match="is longer than"):
        read_tile(tmp_path / "long.jpg")
