"""Archives of precomputed feature vectors from any model, and their NumPy .npz files."""

import pathlib
import zipfile
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from anneal_jax.data.catalogue import Catalogue, checked_indices, numbered_ids, sha256_rows
from anneal_jax.data.labels import encode_labels
from anneal_jax.data.scratch import FileVectors
from anneal_jax.errors import ArchiveError, refusing
from anneal_jax.text import require_utf8
from anneal_jax.types import FloatArray, IntArray

_VECTOR_KEYS = ("embeddings", "features")

# Outside these lengths the squared length of a vector exceeds float32, and its direction is lost.
_MIN_LENGTH = 1e-18
_MAX_LENGTH = 1e18


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorArchive(Catalogue):
    """Ready vectors.

    Attributes:
      vectors: float32[N, D], in memory or in a file.
    """

    vectors: FloatArray | FileVectors = field(repr=False)

    def load(self, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear") -> FloatArray:
        """Return float32[B, D], a copy; the other arguments are ignored."""
        del image_size, resampling
        return self.vectors[checked_indices(indices, len(self.ids))]

    def digests(self) -> npt.NDArray[np.uint8]:
        """Return uint8[N, 32], the SHA-256 of each vector's little-endian float32 bytes."""
        return sha256_rows(self.vectors)


def open_npz(path: pathlib.Path, spec: str, key: str = "") -> VectorArchive:
    """Open a NumPy `.npz` file of vectors.

    The file holds `embeddings` (or `features`, or a single array of any name): float16, float32 or
    float64 [N, D]; optionally `labels`, N whole numbers (-1: none) or texts (empty: none); and optionally
    `ids`, N unique texts. Without ids the tiles are called row0 to row9 or, for up to 100, row00 to row99
    and so on, padded so that text order is row order.

    Args:
      path: of the file.
      spec: of the archive.
      key: name of the array of vectors; empty for the names above.

    Raises:
      ArchiveError: the file is missing, damaged or contains pickled objects; or a vector is not finite,
        exceeds the range of float32, or has no direction.
    """
    arrays = _read_npz(path, key)
    return vector_archive(arrays["vectors"], arrays.get("ids"), arrays.get("labels"), path, spec)


def vector_archive(
    stored: np.ndarray, ids: np.ndarray | None, labels: np.ndarray | None, path: pathlib.Path, spec: str
) -> VectorArchive:
    """Return an archive of vectors as stored in a file.

    Args:
      stored: float16, float32 or float64 [N, D].
      ids: N unique texts or whole numbers.
      labels: N whole numbers (-1: none) or texts (empty: none).
      path: of the file.
      spec: of the archive.

    Raises:
      ArchiveError: one of them cannot be used.
    """
    vectors = checked_vectors(stored, path)
    numbers, class_names = _checked_labels(labels, len(vectors), path)
    return VectorArchive(
        spec=spec,
        ids=_checked_ids(ids, len(vectors), path),
        labels=numbers,
        class_names=class_names,
        kind="vector",
        vectors=vectors,
    )


def _read_npz(path: pathlib.Path, key: str) -> dict[str, np.ndarray]:
    """Return the arrays `vectors` and, where present, `labels` and `ids`."""
    if not path.is_file():
        raise ArchiveError(f"{path} is not a file; give one, as in embeddings:/data/features.npz")
    if not zipfile.is_zipfile(path):
        raise ArchiveError(f"{path} is not an .npz file; write one with numpy.savez(FILE, embeddings=E)")

    def damaged(reason: str) -> ArchiveError:
        return ArchiveError(f"{path} is damaged: {reason}; write it again")

    # NumPy leaves a file open if it cannot read it.
    with refusing(damaged), path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
        keys = {"vectors": _vector_key(file.files, key, path), "labels": "labels", "ids": "ids"}
        present = {name: key for name, key in keys.items() if key in file.files}
        return {name: _plain_array(file, key, path) for name, key in present.items()}


def _vector_key(keys: list[str], asked: str, path: pathlib.Path) -> str:
    for key in (asked,) if asked else (*_VECTOR_KEYS, *(keys if len(keys) == 1 else ())):
        if key in keys:
            return key
    found = ", ".join(keys) or "nothing"
    wanted = repr(asked) if asked else "embeddings or features"
    raise ArchiveError(
        f"{path} must contain an array named {wanted}; it has {found}. Name the vectors, as in ?key=NAME."
    )


def _plain_array(file: np.lib.npyio.NpzFile, key: str, path: pathlib.Path) -> np.ndarray:
    try:
        array = file[key]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise ArchiveError(f"{path}: {key} is damaged: {error}; write it again") from error
        raise ArchiveError(
            f"{path}: {key} is stored as Python objects, which may run code when read; save plain"
            f" numbers or texts instead, as in {key}=numpy.array({key}.tolist())"
        ) from error
    if not isinstance(array, np.ndarray):  # NumPy returns the bytes of other members
        raise ArchiveError(f"{path}: {key} is not a NumPy array; write the file with numpy.savez")
    return array


def checked_vectors(stored: np.ndarray, path: pathlib.Path, first_row: int = 0) -> FloatArray:
    """Return vectors as float32[N, D].

    Args:
      stored: vectors of any type and shape.
      path: path of their file.
      first_row: row number of the first vector in the file.

    Raises:
      ArchiveError: they are not float[N, D], or a vector is not finite or has no direction.
    """
    if stored.dtype.kind != "f" or stored.ndim != 2 or not stored.size:
        shape = ", ".join(map(str, stored.shape))
        raise ArchiveError(
            f"{path}: the embeddings are {stored.dtype}[{shape}]; they must be float16, float32 or"
            " float64 [N, D] with at least one row and one column"
        )
    _refuse_rows(~np.all(np.isfinite(stored), axis=1), "NaN or infinite values", path, first_row)
    with np.errstate(over="ignore", under="ignore"):
        vectors = np.ascontiguousarray(stored, dtype="<f4")
    _refuse_rows(~np.all(np.isfinite(vectors), axis=1), "values too large for float32", path, first_row)
    squared = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    _refuse_rows(squared < _MIN_LENGTH**2, "zero length, and so no direction", path, first_row)
    _refuse_rows(
        squared > _MAX_LENGTH**2, f"a length above {_MAX_LENGTH:.0e}; scale them down", path, first_row
    )
    return vectors


def _refuse_rows(bad: np.ndarray, fault: str, path: pathlib.Path, first_row: int) -> None:
    if np.any(bad):
        count = int(np.count_nonzero(bad))
        raise ArchiveError(
            f"{path}: {count:,} of {bad.size:,} embeddings have {fault}; the first is row"
            f" {first_row + int(np.argmax(bad))}, counted from 0. Compute them again or remove them."
        )


def _checked_labels(
    stored: np.ndarray | None, num_rows: int, path: pathlib.Path
) -> tuple[IntArray | None, tuple[str, ...]]:
    if stored is None:
        return None, ()
    _check_column(stored, "labels", num_rows, path)
    missing = {"", "-1"} if stored.dtype.kind in "iu" else {""}
    return encode_labels([None if name in missing else name for name in _texts(stored)])


def _checked_ids(stored: np.ndarray | None, num_rows: int, path: pathlib.Path) -> tuple[str, ...]:
    if stored is None:
        return numbered_ids("row", num_rows)
    _check_column(stored, "ids", num_rows, path)
    ids = _texts(stored)
    first_row: dict[str, int] = {}
    for row, tile_id in enumerate(ids):
        if first_row.setdefault(tile_id, row) != row:
            raise ArchiveError(
                f"{path}: the id {tile_id!r} occurs in rows {first_row[tile_id]} and {row}; ids"
                " must be unique"
            )
    return tuple(ids)


def _check_column(stored: np.ndarray, key: str, num_rows: int, path: pathlib.Path) -> None:
    if stored.dtype.kind not in "iuUS" or stored.shape != (num_rows,):
        shape = ", ".join(map(str, stored.shape))
        raise ArchiveError(
            f"{path}: {key} is {stored.dtype}[{shape}]; it must be {num_rows} whole numbers or"
            " texts, one for each embedding"
        )
    for row, text in enumerate(_texts(stored) if stored.dtype.kind in "US" else ()):
        require_utf8(text, f"{path}: row {row} of {key},", ArchiveError)


def _texts(stored: np.ndarray) -> list[str]:
    if stored.dtype.kind != "S":
        return [str(value) for value in stored.tolist()]
    # Lone surrogates stand for bytes that are not UTF-8, so that one check finds both.
    return [value.decode("utf-8", "surrogateescape") for value in stored.tolist()]
