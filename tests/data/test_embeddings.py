"""Vectors from .npz files: what is taken, and what is refused in which words."""

import pathlib
import zipfile

import numpy as np
import pytest

from anneal_jax.data.archives import open_archive
from anneal_jax.errors import ArchiveError

VECTORS = np.random.default_rng(5).standard_normal((6, 4)).astype(np.float32)


@pytest.fixture
def save(tmp_path):
    """Save arrays to one .npz file and return its spec."""

    def to_spec(**arrays):
        np.savez(tmp_path / "some features, v2.npz", **arrays)
        return f"embeddings:{tmp_path}/some features, v2.npz"

    return to_spec


def changed(row, value, dtype=np.float32):
    vectors = VECTORS.astype(dtype)
    vectors[row] = value
    return vectors


@pytest.mark.parametrize("key", ["embeddings", "features", "arr_0"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8"])
def test_keys_and_precisions(save, key, dtype):
    archive = open_archive(save(**{key: VECTORS.astype(dtype)}))
    vectors = archive.load([4, 0], image_size=224)
    assert archive.kind == "vector"
    assert vectors.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(vectors, VECTORS.astype(dtype)[[4, 0]].astype(np.float32))
    assert archive.ids == ("row0", "row1", "row2", "row3", "row4", "row5")
    assert archive.labels is None


def test_labels_and_ids(save):
    archive = open_archive(save(embeddings=VECTORS, labels=[10, 9, -1, 9, 10, 2], ids=list("fedcba")))
    assert archive.class_names == ("2", "9", "10")
    assert archive.labels.tolist() == [2, 1, -1, 1, 2, 0]
    assert archive.ids == ("f", "e", "d", "c", "b", "a")


@pytest.mark.parametrize("dtype", ["U5", "S5"])
def test_text_labels(save, dtype):
    labels = np.array(["river", "", "beach", "river", "beach", ""], dtype)
    archive = open_archive(save(embeddings=VECTORS, labels=labels))
    assert archive.class_names == ("beach", "river")
    assert archive.labels.tolist() == [1, -1, 0, 1, 0, -1]


def test_equal_vectors_have_equal_digests_at_any_precision(save):
    halves = VECTORS.astype(np.float16)
    halves[3] = halves[1]
    half = open_archive(save(embeddings=halves)).digests()
    double = open_archive(save(embeddings=halves.astype(np.float64))).digests()
    np.testing.assert_array_equal(half, double)
    assert len(np.unique(half, axis=0)) == 5


def test_loaded_vectors_are_a_copy(save):
    archive = open_archive(save(embeddings=VECTORS))
    archive.load([0], image_size=1)[:] = 0
    np.testing.assert_array_equal(archive.load([0], image_size=1)[0], VECTORS[0])


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"embeddings": changed(2, np.nan)}, "1 of 6 embeddings have NaN .* first is row 2"),
        ({"embeddings": changed([1, 4], np.inf)}, "2 of 6 embeddings have NaN .* first is row 1"),
        ({"embeddings": changed(3, -np.inf)}, "1 of 6 embeddings have NaN or infinite values"),
        ({"embeddings": changed(5, 0)}, "have zero length, and so no direction; .* row 5"),
        ({"embeddings": changed(5, 1e-30)}, "have zero length"),
        ({"embeddings": changed(0, 1e30)}, r"a length above 1e\+18; scale them down; .* row 0"),
        ({"embeddings": changed(2, 1e200, np.float64)}, "too large for float32; .* row 2"),
        ({"embeddings": VECTORS[0]}, r"float32\[4\]; they must be .* \[N, D\]"),
        ({"embeddings": VECTORS[:0]}, "at least one row"),
        ({"embeddings": np.ones((2, 2), np.int64)}, r"are int64\[2, 2\]; they must be float16"),
        ({"embeddings": np.array([[{}]], object)}, "embeddings is stored as Python objects"),
        ({"a": VECTORS, "b": VECTORS}, "named embeddings or features; it has a, b"),
        ({"embeddings": VECTORS, "labels": [1, 2]}, r"labels is int64\[2\]; it must be 6 whole"),
        ({"embeddings": VECTORS, "labels": np.ones(6)}, r"labels is float64\[6\]"),
        ({"embeddings": VECTORS, "labels": np.array(["a"] * 6, object)}, "labels is stored as Py"),
        ({"embeddings": VECTORS, "ids": list("abcdeb")}, "the id 'b' occurs in rows 1 and 5"),
    ],
)
def test_refusals(save, arrays, message):
    with pytest.raises(ArchiveError, match=message):
        open_archive(save(**arrays))


def test_files_that_are_no_npz(tmp_path, save):
    with pytest.raises(ArchiveError, match=r"absent.npz is not a file; give one, as in embeddings:"):
        open_archive(f"embeddings:{tmp_path}/absent.npz")
    (tmp_path / "one.npz").write_text("a text")
    with pytest.raises(ArchiveError, match=r"one.npz is not an .npz file; write one with numpy.savez"):
        open_archive(f"embeddings:{tmp_path}/one.npz")


def test_a_key_names_the_vectors(save):
    spec = save(embeddings=VECTORS[:, :2], other=VECTORS, ids=list("abcdef"))
    archive = open_archive(f"{spec}?key=other")
    np.testing.assert_array_equal(archive.load(range(6), 0), VECTORS)
    assert archive.ids == tuple("abcdef") and archive.spec == f"{spec}?key=other"
    with pytest.raises(
        ArchiveError, match=r"array named 'x'; it has embeddings, other, ids. .* \?key=NAME"
    ):
        open_archive(f"{spec}?key=x")
    with pytest.raises(ArchiveError, match=r"no option 'vector' for this format, which takes key$"):
        open_archive(f"{spec}?vector=other")


@pytest.fixture
def npy(tmp_path):
    """Save an array, and the text of a CSV file beside it, and return its spec."""

    def to_spec(array, text=None):
        np.save(tmp_path / "vectors.npy", array)
        if text is not None:
            (tmp_path / "vectors.csv").write_text(text, encoding="utf-8")
        return f"embeddings:{tmp_path / 'vectors.npy'}"

    return to_spec


def test_an_npy_takes_its_ids_from_the_csv_beside_it(npy):
    plain = open_archive(npy(VECTORS.astype(np.float16)))
    assert plain.ids == tuple(f"row{number}" for number in range(6)) and plain.labels is None
    np.testing.assert_array_equal(plain.load([2], 0)[0], VECTORS[2].astype(np.float16))
    named = open_archive(npy(VECTORS, "\ufefflabel,id\nriver,é\n,b\nbeach,c\n,d\n,e\nriver,f\n"))
    assert named.ids == ("é", "b", "c", "d", "e", "f")
    assert named.class_names == ("beach", "river") and named.labels.tolist() == [1, -1, 0, -1, -1, 1]


@pytest.mark.parametrize(
    ("array", "text", "message"),
    [
        (
            VECTORS,
            "id\na\nb\n",
            r"vectors.csv names 2 rows, and .*vectors.npy has 6; write a line for each",
        ),
        (VECTORS, "name\na\n", "must begin with the line id or id,label; found name"),
        (VECTORS, "id\na\na\nb\nc\nd\ne\n", "the id 'a' occurs in rows 0 and 1"),
        (VECTORS, '"id\na', "is not a CSV file in UTF-8"),
        (VECTORS[0], None, r"float32\[4\]; they must be"),
        (np.array([[{}]], object), None, r"vectors.npy cannot be read \(.*pickle"),
    ],
)
def test_refusals_of_npy(npy, array, text, message):
    with pytest.raises(ArchiveError, match=message):
        open_archive(npy(array, text))


def test_a_zip_file_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.npz", "w") as file:
        file.writestr("embeddings", "text")
    with pytest.raises(ArchiveError, match=r"z.npz: embeddings is not a NumPy array; write the file"):
        open_archive(f"embeddings:{tmp_path}/z.npz")


def test_a_flipped_byte_is_noticed(save):
    spec = save(embeddings=VECTORS)
    path = pathlib.Path(spec.removeprefix("embeddings:"))
    content = bytearray(path.read_bytes())
    content[content.index(VECTORS.tobytes()) + 5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArchiveError, match=r"is damaged: .*; write it again"):
        open_archive(spec)
