"""Vectors from Parquet and GeoParquet: what is read, guessed and refused in which words."""

import datetime
import json
import struct
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anneal_jax.data import parquet_rows
from anneal_jax.data.archives import open_archive
from anneal_jax.data.scratch import FileVectors
from anneal_jax.errors import ArchiveError

VECTORS = np.random.default_rng(5).standard_normal((6, 4)).astype(np.float32)
IDS = [f"tile {number} é" for number in range(6)]


def lists(vectors, inner=None):
    return pa.array(list(vectors), pa.list_(inner or pa.from_numpy_dtype(vectors.dtype)))


def polygon(west, south, east, north):
    ring = [west, south, east, south, east, north, west, north, west, south]
    return struct.pack("<BIII10d", 1, 3, 1, 5, *ring)


@pytest.fixture
def save(tmp_path):
    """Save columns to one file and return its spec."""

    def to_spec(options="", geo=None, name="some vectors, v2.parquet", **columns):
        table = pa.table(columns)
        if geo is not None:
            table = table.replace_schema_metadata({"geo": json.dumps(geo)})
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(table, tmp_path / name)
        return f"embeddings:{tmp_path / name}{options}"

    return to_spec


@pytest.mark.parametrize("name", ["embedding", "embeddings", "vector"])
@pytest.mark.parametrize("inner", [pa.float16(), pa.float32(), pa.float64()], ids=str)
@pytest.mark.parametrize("kind", ["list", "large_list", "fixed_size_list"])
def test_vectors_of_every_type(save, name, inner, kind):
    numbers = VECTORS.astype(inner.to_pandas_dtype())
    makers = {
        "list": pa.list_(inner),
        "large_list": pa.large_list(inner),
        "fixed_size_list": pa.list_(inner, 4),
    }
    archive = open_archive(save(**{name: pa.array(list(numbers), makers[kind])}))
    assert archive.kind == "vector"
    assert list(archive.ids) == [f"row{number}" for number in range(6)]
    assert (archive.labels, archive.boxes, archive.dates) == (None, None, None)
    np.testing.assert_array_equal(archive.load([4, 0], 224), numbers[[4, 0]].astype(np.float32))
    assert archive.load([4, 0], 224).dtype == np.float32


def test_8_bits_are_multiplied_by_the_scale_of_their_row(save):
    codes = np.random.default_rng(0).integers(-128, 128, (6, 4)).astype(np.int8)
    scales = np.linspace(0.01, 0.5, 6).astype(np.float32)
    archive = open_archive(save(embedding=lists(codes), scale=scales))
    np.testing.assert_array_equal(archive.load(range(6), 0), codes.astype(np.float32) * scales[:, None])
    by_number = open_archive(save("?scale=0.25", embedding=lists(codes)))
    np.testing.assert_array_equal(by_number.load(range(6), 0), codes * np.float32(0.25))
    plain = open_archive(save("?scale=none", embedding=lists(codes), scale=scales))
    np.testing.assert_array_equal(plain.load(range(6), 0), codes)


def test_options_name_columns_and_leave_them_out(save):
    columns = {
        "a": lists(VECTORS), "b": IDS, "embedding": lists(VECTORS[:, :2]), "id": list("abcdef"),
        "klass": ["river", None, "beach", "", "river", "beach"], "date": ["2021-06-30"] * 6,
        "geometry": [b"no geometry"] * 6,
    }  # fmt: skip
    archive = open_archive(save("?vector=a&id=b&label=klass&date=none&geometry=none", **columns))
    assert list(archive.ids) == IDS
    assert archive.class_names == ("beach", "river")
    assert archive.labels.tolist() == [1, -1, 0, -1, 1, 0]
    assert archive.boxes is None and archive.dates is None
    np.testing.assert_array_equal(archive.load(range(6), 0), VECTORS)
    assert archive.notes == ("Read vectors of 4 numbers: a, ids: b, classes: klass.",)
    numbered = open_archive(save("?vector=a&id=none&geometry=none", **columns))
    assert list(numbered.ids)[:2] == ["row0", "row1"]


def test_digests_are_those_of_the_same_vectors_in_npz(save, tmp_path):
    np.savez(tmp_path / "e.npz", embeddings=VECTORS)
    np.testing.assert_array_equal(
        open_archive(save(embedding=lists(VECTORS))).digests(),
        open_archive(f"embeddings:{tmp_path / 'e.npz'}").digests(),
    )


DATES = [
    datetime.datetime(2021, 6, 30, 10, 0, 1), None, datetime.datetime(1969, 1, 1),
    *[datetime.datetime(2024, 2, 29, 23, 59, 59)] * 3,
]  # fmt: skip


@pytest.mark.parametrize(
    "kind",
    [
        pa.timestamp("s"),
        pa.timestamp("us"),
        pa.timestamp("ns"),
        pa.timestamp("ms", "Europe/Berlin"),
        pa.string(),
    ],
    ids=str,
)
def test_dates(save, kind):
    texts = [None if date is None else date.isoformat() for date in DATES]
    stored = (
        pa.array(texts)
        if kind == pa.string()
        else pa.array(DATES, pa.timestamp("us")).cast(kind, safe=False)
    )
    archive = open_archive(save(embedding=lists(VECTORS), datetime=stored))
    np.testing.assert_array_equal(archive.dates, np.array(DATES, "datetime64[s]"))


def test_days_and_texts_with_an_offset(save):
    days = pa.array([datetime.date(2021, 6, 30)] * 6, pa.date32())
    assert str(open_archive(save(embedding=lists(VECTORS), date=days)).dates[5]) == "2021-06-30T00:00:00"
    texts = ["2021-06-30T12:00:00+02:00"] * 6
    assert str(open_archive(save(embedding=lists(VECTORS), date=texts)).dates[0]) == "2021-06-30T10:00:00"


def test_places_of_points_polygons_and_centres(save):
    point = struct.pack("<BI2d", 1, 1, 7.5, 50.25)
    big_endian = struct.pack(">BI2d", 0, 1, 7.5, 50.25)
    with_z = struct.pack("<BII3d", 1, 1 | 0xA0000000, 4326, 7.5, 50.25, 300.0)
    empty = struct.pack("<BI2d", 1, 1, np.nan, np.nan)
    blobs = [point, polygon(5, 50, 6, 51), None, big_endian, with_z, empty]
    archive = open_archive(save(embedding=lists(VECTORS), geometry=pa.array(blobs, pa.binary())))
    here, unknown = [7.5, 50.25, 7.5, 50.25], [np.nan] * 4
    np.testing.assert_array_equal(archive.boxes, [here, [5, 50, 6, 51], unknown, here, here, unknown])
    centres = {
        "centre_lon": pa.array([7.5] * 5 + [None]),
        "centre_lat": pa.array([50.25] * 6, pa.float32()),
    }
    archive = open_archive(save(embedding=lists(VECTORS), **centres))
    np.testing.assert_array_equal(archive.boxes, [here] * 5 + [unknown])


def test_a_polygon_across_the_180th_meridian_has_its_east_above_180(save):
    both = struct.pack("<BII", 1, 6, 2) + polygon(179, -1, 180, 1) + polygon(-180, -1, -178, 1)
    far = struct.pack("<BII", 1, 6, 2) + polygon(-120, -1, -110, 1) + polygon(100, -1, 110, 1)
    around = struct.pack("<BII", 1, 6, 2) + polygon(-180, -9, 0, 9) + polygon(0, -9, 180, 9)
    blobs = [
        polygon(179, -1, -179, 1),
        both,
        polygon(-180, -90, 180, 90),
        far,
        around,
        polygon(-20, 1, 30, 2),
    ]
    archive = open_archive(save(embedding=lists(VECTORS), geometry=blobs))
    assert archive.boxes.tolist() == [
        [179, -1, 181, 1], [179, -1, 182, 1], [-180, -90, 180, 90], [100, -1, 250, 1], [-180, -9, 180, 9],
        [-20, 1, 30, 2],
    ]  # fmt: skip


def test_places_in_metres_become_degrees(save):
    from rasterio.crs import CRS
    from rasterio.warp import transform_bounds

    metres = (500_000.0, 5_000_000.0, 502_560.0, 5_002_560.0)
    crs = CRS.from_epsg(32631)
    about = {"encoding": "WKB", "crs": crs.to_dict(projjson=True)}
    geo = {"version": "1.1.0", "primary_column": "where", "columns": {"where": about}}
    archive = open_archive(save(geo=geo, embedding=lists(VECTORS), where=[polygon(*metres)] * 6))
    np.testing.assert_allclose(archive.boxes[3], transform_bounds(crs, "EPSG:4326", *metres), atol=1e-9)


def test_a_folder_is_read_in_the_order_of_its_parts(save, tmp_path):
    for number, (start, stop) in enumerate([(0, 2), (2, 3), (3, 6)]):
        kind = [np.float32, np.float64, np.float16][number]
        save(
            name=f"parts/{number}.gpq",
            embedding=lists(VECTORS[start:stop].astype(kind)),
            id=IDS[start:stop],
        )
    save(name="parts/.hidden.parquet", embedding=lists(VECTORS[:, :1]))
    (tmp_path / "parts" / "_metadata.parquet").write_text("of another program")
    archive = open_archive(f"embeddings:{tmp_path / 'parts'}")
    assert list(archive.ids) == IDS
    expected = np.concatenate([VECTORS[:3], VECTORS[3:].astype(np.float16)])
    np.testing.assert_array_equal(archive.load(range(6), 0), expected)


def test_many_vectors_go_through_a_file(save, monkeypatch, tmp_path):
    monkeypatch.setattr(parquet_rows, "BYTES_IN_MEMORY", 0)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    vectors = np.random.default_rng(1).standard_normal((40_000, 3)).astype(np.float32)
    archive = open_archive(save(embedding=lists(vectors)))
    assert isinstance(archive.vectors, FileVectors)
    rows = [39_999, 0, 1, 2, 2, 16_384, 16_383]
    np.testing.assert_array_equal(archive.load(rows, 0), vectors[rows])
    np.testing.assert_array_equal(archive.load(range(40_000), 0), vectors)
    assert archive.load([], 0).shape == (0, 3)
    in_memory = open_archive(save(embedding=lists(vectors)))
    np.testing.assert_array_equal(archive.digests(), in_memory.digests())
    assert archive.ids[39_999] == "row39999" and archive.ids[-40_000] == "row00000"


@pytest.mark.parametrize(
    ("options", "columns", "message"),
    [
        ("", {"a": IDS}, r"has no column embedding, embeddings, vector; .* as in \?vector=NAME, among a$"),
        ("?vector=embeding", {"embedding": lists(VECTORS)}, r"did you mean 'embedding'\?\) for \?vector="),
        ("?id=x", {"embedding": lists(VECTORS)}, r"has no column 'x' for \?id=; it has embedding"),
        ("?geometry=x", {"embedding": lists(VECTORS)}, r"has no column 'x' for \?geometry="),
        ("?scale=-1", {"embedding": lists(VECTORS)}, r"\?scale=, a column or a number above 0"),
        ("?key=a", {"embedding": lists(VECTORS)}, "there is no option 'key' for this format"),
        ("?vektor=a", {"embedding": lists(VECTORS)}, r"there is no option 'vektor' \(did you mean"),
        ("", {"embedding": IDS}, "column 'embedding' cannot be used: holds string; a vector is a list"),
        ("", {"embedding": [[[1.0]]] * 6}, "holds lists of list<.*>; a vector is one list of float16"),
        ("", {"embedding": [[1], [2]]}, "holds lists of int64; a vector is one list of"),
        ("", {"embedding": [[1.0], None]}, "column 'embedding' has null instead of a vector in row 1"),
        ("", {"embedding": [[1.0, None]]}, "has null among its numbers in row 0, counted from 0"),
        ("", {"embedding": [[1.0], [1.0, 2.0]]}, "another length than the 1 numbers .* in row 1"),
        ("", {"embedding": [[1.0], [np.nan]]}, "1 of 2 embeddings have NaN .* row 1, counted from 0"),
        ("", {"embedding": [[0.0], [1.0]]}, "1 of 2 embeddings have zero length"),
        ("", {"embedding": lists(VECTORS[:, :0])}, r"float32\[6, 0\]; they must be"),
        ("", {"embedding": pa.array([], pa.list_(pa.float32()))}, "has no row"),
        ("", {"embedding": [[1.0]] * 3, "id": ["a", "b", "a"]}, r"'a' is in rows 0 and 2 .* \?id=none"),
        ("", {"embedding": [[1.0]] * 2, "id": ["a", None]}, "'id' has null instead of an id in row 1"),
        ("", {"embedding": [[1.0]] * 2, "id": [1.5, 2.5]}, "holds double, but must hold texts"),
        ("", {"embedding": [[1.0]], "date": ["summer"]}, r"'date' cannot be used: .*'summer'; \?date=none"),
        ("", {"embedding": [[1.0]], "geometry": [b"\1\2"]}, r"is not WKB .* row 0, .*\?geometry=none"),
        ("", {"embedding": [[1.0]], "geometry": [polygon(0, 0, 5e5, 5e6)]}, r"not degrees, .*try=none"),
        ("", {"embedding": pa.array([[1]], pa.list_(pa.int8())), "scale": [0.0]}, "a scale that is no"),
    ],
)  # fmt: skip
def test_refusals(save, options, columns, message):
    with pytest.raises(ArchiveError, match=message):
        open_archive(save(options, **columns))


def test_parts_that_differ_are_named(save, tmp_path):
    save(name="parts/a.parquet", embedding=lists(VECTORS), id=IDS)
    save(name="parts/b.parquet", embedding=lists(VECTORS))
    with pytest.raises(ArchiveError, match=r"b.parquet has no column 'id', and .*a.parquet has one"):
        open_archive(f"embeddings:{tmp_path / 'parts'}")
    save(name="parts/b.parquet", embedding=lists(VECTORS[:, :3]), id=[f"other {name}" for name in IDS])
    with pytest.raises(ArchiveError, match=r"b.parquet: from row 0 on, vectors have 3 numbers, .* have 4"):
        open_archive(f"embeddings:{tmp_path / 'parts'}")
    save(name="parts/b.parquet", embedding=lists(VECTORS), id=IDS)
    with pytest.raises(ArchiveError, match=r"the id 'tile 0 é' is in rows 0 and 6"):
        open_archive(f"embeddings:{tmp_path / 'parts'}")


def test_files_that_are_no_parquet(tmp_path):
    with pytest.raises(ArchiveError, match=r"absent.parquet is not a file; give one"):
        open_archive(f"embeddings:{tmp_path}/absent.parquet")
    (tmp_path / "text.parquet").write_text("a text")
    with pytest.raises(ArchiveError, match=r"text.parquet cannot be read as Parquet \("):
        open_archive(f"embeddings:{tmp_path}/text.parquet")
    (tmp_path / "folder").mkdir()
    with pytest.raises(ArchiveError, match=r"folder contains no file that ends with \.parquet, "):
        open_archive(f"embeddings:{tmp_path}/folder")


def test_a_missing_package_is_named(save, monkeypatch):
    spec = save(embedding=lists(VECTORS))
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(
        ArchiveError, match=r"pyarrow, which is not installed; install it with pip install 'anneal-jax\[par"
    ):
        open_archive(spec)


def test_a_disk_without_space_is_named(save, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parquet_rows, "BYTES_IN_MEMORY", 0)
    monkeypatch.setattr("os.posix_fallocate", full)
    with pytest.raises(ArchiveError, match=r"6 vectors of 4 numbers take 0.0 GB .* set .* TMPDIR"):
        open_archive(save(embedding=lists(VECTORS)))


_VALUES = st.one_of(
    st.none(), st.floats(width=32), st.integers(-128, 127), st.text(max_size=5), st.binary(max_size=40)
)
_COLUMNS = ("embedding", "id", "scale", "geometry", "date", "label", "centre_lon", "centre_lat", "west")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_table_is_read_or_refused_in_a_sentence(tmp_path, data):
    columns = {}
    for name in data.draw(st.lists(st.sampled_from(_COLUMNS), unique=True)):
        rows = st.lists(
            _VALUES if name != "embedding" else st.lists(_VALUES, max_size=3), min_size=3, max_size=3
        )
        try:
            columns[name] = pa.array(data.draw(rows))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            return  # of no one type
    pq.write_table(pa.table(columns), tmp_path / "any.parquet")
    try:
        archive = open_archive(f"embeddings:{tmp_path / 'any.parquet'}")
    except ArchiveError as error:
        assert len(str(error)) < 1_000
    else:
        assert np.isfinite(archive.load(range(3), 0)).all()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(st.integers(0, 2**31), max_size=4), value=st.integers(1, 255), cut=st.integers(0, 2**31)
)
def test_any_damage_is_refused_in_a_sentence_or_leaves_sound_vectors(save, tmp_path, places, value, cut):
    save(embedding=lists(VECTORS), id=IDS, geometry=[polygon(5, 50, 6, 51)] * 6, date=["2021-06-30"] * 6)
    content = bytearray((tmp_path / "some vectors, v2.parquet").read_bytes())
    for place in places:
        content[place % len(content)] ^= value
    (tmp_path / "bad.parquet").write_bytes(content if cut % 2 else content[: cut % len(content)])
    try:
        archive = open_archive(f"embeddings:{tmp_path / 'bad.parquet'}")
    except ArchiveError as error:
        assert len(str(error)) < 1_000
    else:
        assert np.isfinite(archive.load(range(len(archive.ids)), 0)).all()
        assert len(set(archive.ids)) == len(archive.ids)
