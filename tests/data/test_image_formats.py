"""Pixels of every kind of image file, by GDAL's reading of it or from what was written."""

import struct
import sys

import numpy as np
import pytest
import rasterio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from anneal_jax.data.archives import open_archive
from anneal_jax.data.folder_scan import IMAGE_ENDINGS
from anneal_jax.data.tiles import TileError, decode_tile, says_turned
from anneal_jax.errors import ArchiveError
from tests.data.test_tiles import encoded, photograph, png_chunk, tiff

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")

RNG = np.random.default_rng(7)
RGB = RNG.integers(0, 256, (24, 40, 3), np.uint8)
GREY = RNG.integers(0, 256, (24, 40), np.uint8)
ALPHA = RNG.integers(0, 256, (24, 40), np.uint8)
PALETTE = RNG.integers(0, 256, (16, 3), np.uint8)
INDICES = RNG.integers(0, 16, (24, 40), np.uint8)


def over_black(colours, alpha):
    """Return colours laid over black, in float64; Pillow rounds by its own rule, to within a level."""
    return colours * (alpha[..., None] / 255.0)


def image_of(kind):
    """Return an image of a mode, and its pixels as RGB."""
    grey = GREY[..., None].repeat(3, axis=2)
    bilevel = np.where(GREY > 127, 255, 0).astype(np.uint8)
    paletted = Image.fromarray(INDICES).convert("P")
    paletted.putdata(INDICES.ravel().tolist())
    paletted.putpalette(PALETTE.tobytes())
    with_alpha = np.dstack([RGB, ALPHA])
    return {
        "1": (Image.fromarray(bilevel).convert("1"), bilevel[..., None].repeat(3, axis=2)),
        "L": (Image.fromarray(GREY), grey),
        "LA": (Image.fromarray(np.dstack([GREY, ALPHA]), "LA"), over_black(grey, ALPHA)),
        "P": (paletted, PALETTE[INDICES]),
        "RGB": (Image.fromarray(RGB), RGB),
        "RGBA": (Image.fromarray(with_alpha), over_black(RGB, ALPHA)),
        "CMYK": (Image.fromarray(np.dstack([RGB, ALPHA]), "CMYK"), None),
    }[kind]


def gdal_rgb(data):
    """Return uint8[H, W, 3] as GDAL reads a file: expanded palettes and greys, transparency over black."""
    with rasterio.MemoryFile(data) as file, file.open() as dataset:
        bands = dataset.read().astype(np.float64)
        kinds = [kind.name for kind in dataset.colorinterp]
        if kinds[0] == "palette":
            table = dataset.colormap(1)
            colours = np.array([table[index][:3] for index in range(len(table))])
            return colours[bands[0].astype(int)]
    if dataset.nodata is None and "alpha" in kinds:
        alpha, bands, kinds = bands[-1], bands[:-1], kinds[:-1]
    else:
        alpha = np.full(bands.shape[1:], 255.0)
    if len(bands) == 1 and bands.max() <= 1:  # one bit
        bands = bands * 255
    colours = np.moveaxis(bands if len(bands) == 3 else bands[:1].repeat(3, axis=0), 0, -1)
    return over_black(colours, alpha)


LOSSLESS = [
    *((mode, "PNG", {}) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")),
    *(
        (mode, "TIFF", {"compression": compression})
        for mode in ("1", "L", "P", "RGB", "RGBA", "LA")
        for compression in (None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma")
    ),
    *((mode, "BMP", {}) for mode in ("1", "L", "P", "RGB")),
    *((mode, "WEBP", {"lossless": True, "exact": True}) for mode in ("RGB", "RGBA")),
    *((mode, "JPEG2000", {"irreversible": False}) for mode in ("L", "LA", "RGB", "RGBA")),
]


@pytest.mark.parametrize(
    ("mode", "kind", "options"),
    LOSSLESS,
    ids=[f"{m}-{k}-{o.get('compression', '')}" for m, k, o in LOSSLESS],
)
def test_pixels_are_what_was_written_and_what_gdal_reads(mode, kind, options):
    image, expected = image_of(mode)
    data = encoded(image, kind, **{name: value for name, value in options.items() if value is not None})
    read = np.asarray(decode_tile(data), np.float64)
    np.testing.assert_allclose(read, expected, rtol=0, atol=0 if "A" not in mode else 1.0)
    if not (kind == "TIFF" and mode == "LA"):  # GDAL leaves the meaning of a second band open there
        np.testing.assert_allclose(read, gdal_rgb(data), rtol=0, atol=0 if "A" not in mode else 1.0)


def test_lossy_formats_are_near_what_was_written():
    smooth = Image.fromarray(np.add.outer(np.arange(32) * 4, np.arange(48) * 2).astype(np.uint8))
    for kind, options in (("JPEG", {"quality": 95}), ("WEBP", {"quality": 95}), ("JPEG2000", {})):
        data = encoded(smooth.convert("RGB"), kind, **options)
        difference = np.abs(np.asarray(decode_tile(data), np.int32) - np.asarray(smooth)[..., None])
        assert difference.max() <= 8, kind
        assert np.abs(np.asarray(decode_tile(data), np.float64) - gdal_rgb(data)).max() <= 3, kind


PROFILES = {
    "lerc": {"compress": "lerc"},
    "webp": {"compress": "webp", "webp_lossless": True},
    "zstd": {"compress": "zstd", "predictor": 2},
    "lzma": {"compress": "lzma"},
    "planar": {"interleave": "band", "compress": "deflate"},
    "tiled": {"tiled": True, "blockxsize": 16, "blockysize": 16, "compress": "lzw", "predictor": 2},
    "big": {"bigtiff": "YES"},
    "big-endian": {"endianness": "BIG"},
}


def gdal_tiff(bands, **profile):
    with rasterio.MemoryFile() as file:
        with file.open(
            driver="GTiff",
            count=len(bands),
            height=bands.shape[1],
            width=bands.shape[2],
            dtype="uint8",
            **profile,
        ) as dataset:
            dataset.write(bands)
        return file.read()


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("num_bands", [1, 3, 4])
def test_tiffs_that_gdal_writes(name, num_bands):
    if name == "webp" and num_bands == 1:
        pytest.skip("WebP in TIFF has three bands or four")
    bands = np.concatenate([np.moveaxis(RGB, -1, 0), ALPHA[None]])[:num_bands]
    extra = {"photometric": "RGB", "alpha": "YES"} if num_bands == 4 else {}
    read = np.asarray(decode_tile(gdal_tiff(bands, **PROFILES[name], **extra)), np.float64)
    colours = np.moveaxis(bands[:3] if num_bands >= 3 else bands.repeat(3, axis=0), 0, -1)
    expected = over_black(colours, ALPHA) if num_bands == 4 else colours
    np.testing.assert_allclose(read, expected, rtol=0, atol=1.0 if num_bands == 4 else 0)


@pytest.mark.parametrize("bits", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("num_bands", [1, 3])
def test_fewer_bits_are_stretched_to_eight(bits, num_bands):
    bands = RNG.integers(0, 2**bits, (num_bands, 16, 24), np.uint8)
    expected = np.rint(bands * (255 / (2**bits - 1)))
    read = np.asarray(decode_tile(gdal_tiff(bands, nbits=bits)), np.float64)
    np.testing.assert_array_equal(read, np.moveaxis(np.broadcast_to(expected, (3, 16, 24)), 0, -1))


def test_white_may_be_zero():
    written = np.asarray(decode_tile(tiff(GREY[..., None], photometric=0)))
    np.testing.assert_array_equal(written[..., 0], 255 - GREY)
    lerc = gdal_tiff(GREY[None], compress="lerc", photometric="MINISWHITE")
    np.testing.assert_array_equal(np.asarray(decode_tile(lerc))[..., 0], 255 - GREY)


@pytest.mark.parametrize("factor", [1, 256, 257])
def test_a_palette_is_one_of_8_bits_or_of_16(factor):
    """Scanners and older programs write the colours of a TIFF's palette as 0 to 255, not to 65,535."""
    colours = np.zeros((3, 256), np.int64)
    colours[:, :16] = PALETTE.T
    ours, pillows = ((colours * times).astype("<u2").tobytes() for times in (factor, 256))
    written = encoded(image_of("P")[0], "TIFF")
    assert written.count(pillows) == 1
    written = written.replace(pillows, ours)
    stored = np.asarray(decode_tile(written))
    np.testing.assert_array_equal(stored, PALETTE[INDICES])
    np.testing.assert_array_equal(stored, gdal_rgb(written))


def test_texts_and_profiles_of_a_png_are_no_reason_to_refuse_it():
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "x" * 1_200_000, zip=True)
    np.testing.assert_array_equal(decode_tile(encoded(Image.fromarray(RGB), "PNG", pnginfo=info)), RGB)
    many = PngImagePlugin.PngInfo()
    for number in range(80):  # each within Pillow's limit, beyond it together
        many.add_text(f"t{number}", "y" * 1_000_000, zip=True)
    np.testing.assert_array_equal(decode_tile(encoded(Image.fromarray(RGB), "PNG", pnginfo=many)), RGB)
    plain = encoded(Image.fromarray(RGB), "PNG")
    for name in (b"iTXt", b"zTXt", b"iCCP"):
        body = b"name\0\0" + b"\1\0en\0en\0" * (name == b"iTXt") + b"no deflate stream"
        np.testing.assert_array_equal(decode_tile(plain[:33] + png_chunk(name, body) + plain[33:]), RGB)


def test_what_pillow_cannot_read_names_what_can(monkeypatch):
    data = gdal_tiff(GREY[None], compress="lerc")
    np.testing.assert_array_equal(np.asarray(decode_tile(data))[..., 0], GREY)
    with pytest.raises(TileError, match=r"by Pillow, nor by GDAL \(LERC, 8 bits a channel"):
        decode_tile(data[: len(data) // 2] + bytes(len(data) - len(data) // 2 - 300) + data[-300:])
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(TileError, match=r"that Pillow cannot read \(LERC, .*pip install 'anneal-jax\[geot"):
        decode_tile(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            b"RIFF\x24\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0\xff\x3f\0",
            r"declares more .*\(16384 x 16384",
        ),
        (
            b"RIFF\x24\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xff\xff\xff\x0f" + bytes(9),
            r"declares more .*\(16384 x 16384",
        ),
        (
            b"RIFF\x24\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f",
            r"declares more .*\(16383 x",
        ),
        (b"RIFF\x24\0\0\0WEBP", "has no pixels"),
        (encoded(photograph(), "WEBP")[:-100], "is truncated or corrupt"),
        (encoded(photograph(), "JPEG2000")[:100], "is truncated or corrupt"),
        (encoded(photograph(), "BMP")[:100], "is truncated or corrupt"),
        (encoded(photograph(), "BMP")[:10], "is truncated or corrupt"),
        (b"BM" + bytes(60), "is truncated or corrupt"),
        (b"\xff\x4f\xff\x51" + bytes(8), "is truncated or corrupt"),
        (encoded(Image.new("I;16", (8, 8), 4000), "JPEG2000"), "more than 8 bits a channel .16 bits"),
    ],
)
def test_refusals_of_the_newer_formats(data, message):
    with pytest.raises(TileError, match=message):
        decode_tile(data)


def test_a_bmp_may_not_declare_more_than_a_tile():
    data = bytearray(encoded(photograph(), "BMP"))
    struct.pack_into("<ii", data, 18, 30_000, 30_000)
    with pytest.raises(TileError, match=r"declares more than 67,108,864 pixels"):
        decode_tile(bytes(data))


def jpeg2000(bands, dtype="uint8"):
    with rasterio.MemoryFile() as file:
        with file.open(
            driver="JP2OpenJPEG",
            count=len(bands),
            height=bands.shape[1],
            width=bands.shape[2],
            dtype=dtype,
            quality="100",
            reversible="YES",
        ) as dataset:
            dataset.write(bands)
        return file.read()


def test_bands_and_bits_of_jpeg2000_are_not_cut_without_a_word():
    wide = RNG.integers(0, 4096, (3, 24, 40)).astype(np.uint16)
    with pytest.raises(TileError, match="more than 8 bits a channel"):
        decode_tile(jpeg2000(wide, "uint16"))
    four = np.concatenate([np.moveaxis(RGB, -1, 0), ALPHA[None]])  # the fourth is near infrared
    with pytest.raises(TileError, match=r"bands beyond grey or colour .4 bands"):
        decode_tile(jpeg2000(four))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_pixels_stay_as_stored_and_a_note_says_what_exif_asks(tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn for viewers
    options = {} if kind in ("PNG", "TIFF") else {"quality": 95}
    data = encoded(Image.fromarray(RGB), kind, exif=exif, **options)
    shape = np.asarray(decode_tile(data)).shape
    assert shape == ((40, 24, 3) if kind == "TIFF" else (24, 40, 3))  # in TIFF it is no mere advice
    assert says_turned(data) == (kind != "TIFF")
    assert not says_turned(encoded(Image.fromarray(RGB), kind, **options))
    (tmp_path / f"a.{'tif' if kind == 'TIFF' else kind.lower()}").write_bytes(data)
    notes = open_archive(f"folder:{tmp_path}").notes
    assert any("asks viewers to turn them: 'a." in note for note in notes) == (kind != "TIFF")


def test_every_ending_is_read_from_a_folder(tmp_path):
    kinds = {
        **dict.fromkeys((".jpg", ".jpeg"), "JPEG"),
        **dict.fromkeys((".tif", ".tiff"), "TIFF"),
        **dict.fromkeys((".jp2", ".j2k", ".jpx"), "JPEG2000"),
        **{".png": "PNG", ".webp": "WEBP", ".bmp": "BMP"},
    }
    assert set(kinds) == IMAGE_ENDINGS
    for ending, kind in kinds.items():
        (tmp_path / f"a{ending}").write_bytes(encoded(photograph(), kind))
    assert len(open_archive(f"folder:{tmp_path}").ids) == len(kinds)


def test_thumbnails_and_what_was_deleted_are_no_tiles(tmp_path):
    tile = encoded(photograph(), "TIFF")
    for place in (
        *("river/0.tif", "river/._0.tif", "river/@eaDir/0.tif/SYNOPHOTO_THUMB_M.tif", "@eaDir/river/1.tif"),
        *("$RECYCLE.BIN/S-1-5/$R1.tif", "lost+found/x.tif", "#recycle/y.tif", "__MACOSX/river/0.tif"),
        *("System Volume Information/z.tif", ".Trash-1000/files/w.tif"),
    ):
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / place).write_bytes(tile)
    (tmp_path / "notes.txt").write_text("x")
    archives = [open_archive(f"folder:{tmp_path}"), open_archive(f"geotiff:{tmp_path}?tile=16")]
    assert [archive.class_names for archive in archives] == [("river",)] * 2
    assert archives[0].ids == ("river/0.tif",)
    assert {tile_id.partition("@y")[0] for tile_id in archives[1].ids} == {"river/0.tif"}
    for archive in archives:
        assert "Files of other kinds are ignored: 1 .txt." in archive.notes
        (note,) = (note for note in archive.notes if "thumbnails" in note)
        assert note == (
            "Folders of thumbnails and deleted files are skipped: '#recycle', '$RECYCLE.BIN', "
            "'@eaDir', 'System Volume Information', '__MACOSX', and 2 more."
        )


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    kind=st.sampled_from(["JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "BMP"]),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4
    ),
    kept=st.floats(0, 1),
)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_files_give_pixels_or_a_sentence(kind, changes, kept):
    data = bytearray(encoded(photograph((9, 7)), kind))
    for position, byte in changes:
        data[int(position * len(data))] = byte
    try:
        assert np.asarray(decode_tile(bytes(data[: int(kept * len(data)) + 1]))).ndim == 3
    except ArchiveError as error:
        assert str(error)
