"""An archive of ready feature vectors in a NumPy .npz file, from any foundation model."""

import pathlib
import zipfile
import zlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from anneal_jax.data.catalogue import Catalogue, checked_indices, numbered_ids, sha256_rows
from anneal_jax.data.labels import encode_labels
from anneal_jax.errors import ArchiveError
from anneal_jax.types import FloatArray, IntArray

_VECTOR_KEYS = ("embeddings", "features")

# Outside these lengths the square of a vector's length leaves float32, and its direction is lost.
_MIN_LENGTH = 1e-18
_MAX_LENGTH = 1e18


@dataclass(frozen=True, kw_only=True, eq=False)
class VectorArchive(Catalogue):
    """Vectors held in memory."""

    vectors: FloatArray = field(repr=False)

    def load(self, indices: npt.ArrayLike, image_size: int, resampling: str = "bilinear") -> FloatArray:
        """Return float32[B, D], a copy; the other arguments have no meaning here."""
        del image_size, resampling
        return self.vectors[checked_indices(indices, len(self.ids))]

    def digests(self) -> npt.NDArray[np.uint8]:
        """Return uint8[N, 32], the SHA-256 of each vector's little-endian float32 bytes."""
        return sha256_rows(self.vectors)


def open_embeddings(location: str, on_bad_image: str) -> VectorArchive:
    """Open `embeddings:FILE.npz`.

    The file holds `embeddings` (or `features`, or a single array of any name): float16, float32 or
    float64 [N, D]; optionally `labels`, N whole numbers (-1: none) or texts (empty: none); and
    optionally `ids`, N unique texts. Without ids the tiles are called row0, row1 and so on.

    Args:
      location: the file; `~` is expanded.
      on_bad_image: not used, for a bad vector is refused in either case.

    Raises:
      ArchiveError: the file is missing, damaged or holds pickled objects; or a vector is not
        finite, not in the range of float32, or without a direction.
    """
    del on_bad_image
    path = pathlib.Path(location).expanduser().absolute()
    arrays = _read_npz(path)
    vectors = _checked_vectors(arrays["vectors"], path)
    labels, class_names = _checked_labels(arrays.get("labels"), len(vectors), path)
    return VectorArchive(
        spec=f"embeddings:{location}",
        ids=_checked_ids(arrays.get("ids"), len(vectors), path),
        labels=labels,
        class_names=class_names,
        kind="vector",
        vectors=vectors,
    )


def _read_npz(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Return the arrays `vectors` and, where present, `labels` and `ids`."""
    if not path.is_file():
        raise ArchiveError(f"{path} is no file; give one, as in embeddings:/data/features.npz")
    if not zipfile.is_zipfile(path):
        raise ArchiveError(f"{path} is no .npz file; write one with numpy.savez(FILE, embeddings=E)")
    try:
        with np.load(path, allow_pickle=False) as file:
            keys = {"vectors": _vector_key(file.files, path), "labels": "labels", "ids": "ids"}
            present = {name: key for name, key in keys.items() if key in file.files}
            return {name: _plain_array(file, key, path) for name, key in present.items()}
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ArchiveError(f"{path} is damaged: {error}; write it again") from error


def _vector_key(keys: list[str], path: pathlib.Path) -> str:
    for key in (*_VECTOR_KEYS, *(keys if len(keys) == 1 else ())):
        if key in keys:
            return key
    found = ", ".join(keys) or "nothing"
    raise ArchiveError(f"{path} must hold an array named embeddings or features; it has {found}")


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
    if not isinstance(array, np.ndarray):  # NumPy hands out the bytes of a foreign member
        raise ArchiveError(f"{path}: {key} is no NumPy array; write the file with numpy.savez")
    return array


def _checked_vectors(stored: np.ndarray, path: pathlib.Path) -> FloatArray:
    if stored.dtype.kind != "f" or stored.ndim != 2 or not stored.size:
        shape = ", ".join(map(str, stored.shape))
        raise ArchiveError(
            f"{path}: the embeddings are {stored.dtype}[{shape}]; they must be float16, float32 or"
            " float64 [N, D] with at least one row and one column"
        )
    _refuse_rows(~np.all(np.isfinite(stored), axis=1), "NaN or infinite values", path)
    with np.errstate(over="ignore", under="ignore"):
        vectors = np.ascontiguousarray(stored, dtype="<f4")
    _refuse_rows(~np.all(np.isfinite(vectors), axis=1), "values too large for float32", path)
    squared = np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64)
    _refuse_rows(squared < _MIN_LENGTH**2, "zero length, and so no direction", path)
    _refuse_rows(squared > _MAX_LENGTH**2, f"a length above {_MAX_LENGTH:.0e}; scale them down", path)
    return vectors


def _refuse_rows(bad: np.ndarray, fault: str, path: pathlib.Path) -> None:
    if np.any(bad):
        count = int(np.count_nonzero(bad))
        raise ArchiveError(
            f"{path}: {count:,} of {bad.size:,} embeddings have {fault}; the first is row"
            f" {int(np.argmax(bad))}, counted from 0. Compute them again or take them out."
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
                f"{path}: the id {tile_id!r} stands in rows {first_row[tile_id]} and {row}; ids"
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


def _texts(stored: np.ndarray) -> list[str]:
    decoded = np.char.decode(stored, "utf-8") if stored.dtype.kind == "S" else stored
    return [str(value) for value in decoded.tolist()]
