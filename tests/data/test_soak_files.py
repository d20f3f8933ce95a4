"""Readers of files against whatever bytes there are: a value or a sentence, soon, and in little memory."""

import contextlib
import io
import pathlib
import struct
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from rasterio.transform import from_origin

from anneal_jax.answers.file_format import SharedAnswer, parse_answers
from anneal_jax.data.archives import open_archive
from anneal_jax.data.labels import with_labels_csv
from anneal_jax.data.tiles import decode_tile
from anneal_jax.errors import AnnealError
from anneal_jax.retrieval.metadata import read_metadata
from anneal_jax.retrieval.queries import read_names
from tests.data.test_image_formats import gdal_tiff
from tests.data.test_scene_facts import scene
from tests.data.test_tiles import encoded, photograph, tiff

pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
SECONDS, MEBIBYTES = 10.0, 300

KINDS = ("JPEG", "PNG", "TIFF", "WEBP", "JPEG2000", "BMP")
PLACE = from_origin(1.0, 1.0, 1.0, 1.0)
SMALL = photograph((24, 17))
SEEDS = [
    *(encoded(SMALL, kind) for kind in KINDS),
    *(encoded(SMALL.convert("P"), kind) for kind in ("PNG", "TIFF", "BMP")),
    tiff(np.ones((8, 8, 3), np.uint8), 2),
    gdal_tiff(np.ones((3, 32, 32), np.uint8), compress="lerc", transform=PLACE),
    gdal_tiff(np.ones((1, 32, 32), np.uint8), nbits=3, transform=PLACE),
    gdal_tiff(np.ones((4, 64, 64), np.uint8), tiled=True, blockxsize=16, blockysize=16, transform=PLACE),
]
CHANGES = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.one_of(
            st.binary(min_size=1, max_size=4),
            st.sampled_from([b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f"]),
        ),
    ),
    max_size=6,
)
SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


@contextlib.contextmanager
def soon_and_small():
    """Fail where a reader takes long or much memory, or raises what is no sentence of ours."""
    tracemalloc.start()
    start = time.monotonic()
    try:
        yield
    except AnnealError as error:
        str(error).encode("utf-8", "backslashreplace")
        assert str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert time.monotonic() - start < SECONDS and peak < MEBIBYTES << 20


def damaged(data, changes, kept):
    data = bytearray(data)
    for position, patch in changes:
        at = int(position * len(data))
        data[at : at + len(patch)] = patch
    return bytes(data[: int(kept * len(data)) + 1])


def check_image(data):
    with soon_and_small():
        assert np.asarray(decode_tile(data)).shape[2] == 3


def check_tiff_tag(data, entry, field, value):
    """Put a number into a field of one entry of the first directory: its tag, kind, count or value."""
    data = bytearray(data)
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    place = at + 2 + 12 * (entry % count)
    offset, code = [(0, "H"), (2, "H"), (4, "I"), (8, "I")][field]
    struct.pack_into(order + code, data, place + offset, value & (0xFFFF if code == "H" else 0xFFFFFFFF))
    check_image(bytes(data))


def check_scene(folder, data):
    path = pathlib.Path(folder) / "s.tif"
    path.write_bytes(data)
    for options in ("", "&bands=1", "&percentile=2,98"):
        with soon_and_small():
            archive = open_archive(f"geotiff:{path}?tile=8{options}", on_bad_image="skip")
            archive.load([0], 8)


def check_tables(folder, data):
    path = pathlib.Path(folder) / "t.csv"
    (path.parent / "v.npz").write_bytes(VECTORS[0])
    archive = open_archive(f"embeddings:{path.parent / 'v.npz'}")
    for header in (b"", b"id,label\n", b"id,date,west,south,east,north\n"):
        path.write_bytes(header + data)
        with soon_and_small():
            with_labels_csv(archive, path)
        with soon_and_small():
            read_metadata(path, archive.ids)
        with soon_and_small():
            read_names(path)
    header = ",".join(SharedAnswer._fields).encode() + b"\n"
    for name, content in (("a.csv", data), ("a.csv", header + data), ("a.jsonl", data)):
        with soon_and_small():
            parse_answers(content, name)


def check_vectors(folder, data):
    path = pathlib.Path(folder) / "v.npz"
    path.write_bytes(data)
    with soon_and_small():
        open_archive(f"embeddings:{path}")


def vectors(compressed):
    stream = io.BytesIO()
    save = np.savez_compressed if compressed else np.savez
    save(stream, embeddings=np.eye(4, dtype=np.float32), ids=np.array(list("abcd")), labels=np.arange(4))
    return stream.getvalue()


@pytest.fixture(scope="module")
def a_scene(tmp_path_factory):
    return scene(tmp_path_factory.mktemp("scene") / "s.tif").read_bytes()


VECTORS = [vectors(False), vectors(True)]
ROWS = st.one_of(
    st.binary(max_size=80),
    st.text(st.sampled_from('",;\n\r\0a1.-:T {}[]é\ud7ff'), max_size=80).map(str.encode),
)


def fuzz(examples):
    """Return the tests of this page, each with so many examples."""
    options = settings(max_examples=examples, suppress_health_check=SLOW, deadline=None)

    @options
    @given(st.sampled_from(SEEDS), CHANGES, st.floats(0, 1))
    def images(seed, changes, kept):
        check_image(damaged(seed, changes, kept))

    @options
    @given(
        st.sampled_from([seed for seed in SEEDS if seed[:4] == b"II*\0"]),
        st.integers(0, 20),
        st.integers(0, 3),
        st.one_of(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 2**16, 2**31, 2**32 - 1])),
    )
    def tags(seed, entry, field, value):
        check_tiff_tag(seed, entry, field, value)

    @options
    @given(CHANGES, st.floats(0, 1))
    def scenes(folder, a_scene, changes, kept):
        check_scene(folder, damaged(a_scene, changes, kept))

    @options
    @given(ROWS)
    def tables(folder, rows):
        check_tables(folder, rows)

    @options
    @given(st.sampled_from(VECTORS), CHANGES, st.floats(0, 1))
    def npz(folder, seed, changes, kept):
        check_vectors(folder, damaged(seed, changes, kept))

    return {"images": images, "tags": tags, "scenes": scenes, "tables": tables, "npz": npz}


def run(name, examples, folder, a_scene):
    test = fuzz(examples)[name]
    given_here = {"scenes": {"folder": folder, "a_scene": a_scene}, "tables": {"folder": folder}}
    given_here["npz"] = given_here["tables"]
    test(**given_here.get(name, {}))


NAMES = ("images", "tags", "scenes", "tables", "npz")


@pytest.mark.parametrize("name", NAMES)
def test_readers_a_little(name, tmp_path, a_scene):
    run(name, 30, tmp_path, a_scene)


@pytest.mark.soak
@pytest.mark.parametrize("name", NAMES)
def test_readers_for_long(name, tmp_path, a_scene):
    run(name, 5_000, tmp_path, a_scene)


def test_a_small_file_cannot_take_much_memory():
    """A PNG of 8,193 x 8,192 pixels of one colour is 200 kB on disk; one within the limit is decoded."""
    data = encoded(Image.new("1", (8_192, 8_193)), "PNG")
    assert len(data) < 200_000
    check_image(data)
