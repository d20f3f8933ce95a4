"""Precomputed vectors in files of several formats: `embeddings:PATH?OPTIONS`."""

import csv
import pathlib

import numpy as np

from anneal_jax.data.embeddings import VectorArchive, open_npz, vector_archive
from anneal_jax.data.options import split_options
from anneal_jax.data.parquet import is_parquet, open_parquet, read_texts
from anneal_jax.data.parquet_columns import PARQUET_OPTIONS
from anneal_jax.errors import ArchiveError, reason_of

_NPY_BEGINNING = b"\x93NUMPY"


def open_embeddings(location: str, on_bad_image: str) -> VectorArchive:
    """Open `embeddings:PATH?OPTIONS`; the first bytes of the file decide its format.

    Args:
      location: a file `.npz` (option `key`) or `.npy`, or a file or folder of Parquet (`PARQUET_OPTIONS`);
        `~` is expanded. An existing path that contains a question mark is not split.
      on_bad_image: ignored, because a bad vector is always refused.

    Raises:
      ArchiveError: the file cannot be used, or its format has no such option.
    """
    del on_bad_image
    is_path = _absolute(location).exists()
    place, options = (location, {}) if is_path else split_options(location, (*PARQUET_OPTIONS, "key"))
    path, spec = _absolute(place), f"embeddings:{location}"
    if is_parquet(path):
        _require(options, PARQUET_OPTIONS, path)
        return open_parquet(path, options, spec)
    if _begins_as_npy(path):
        _require(options, (), path)
        return _open_npy(path, spec)
    _require(options, ("key",), path)
    return open_npz(path, spec, options.get("key", ""))


def read_paths(spec: str, column: str) -> list[str]:
    """Return the paths in a column of a Parquet archive, relative to its folder.

    Raises:
      ArchiveError: the archive is not Parquet, or has no such column of texts.
    """
    location = spec.partition(":")[2]
    place = location if _absolute(location).exists() else split_options(location, PARQUET_OPTIONS)[0]
    path = _absolute(place)
    if not spec.startswith("embeddings:") or not is_parquet(path):
        raise ArchiveError(f"{column!r} is not a folder or file, and {spec} is not Parquet with columns")
    folder = path if path.is_dir() else path.parent
    return [str(folder / text) for text in read_texts(path, column)]


def _absolute(place: str) -> pathlib.Path:
    return pathlib.Path(place).expanduser().absolute()


def _begins_as_npy(path: pathlib.Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_NPY_BEGINNING)) == _NPY_BEGINNING
    except (OSError, ValueError):
        return False


def _require(options: dict[str, str], known: tuple[str, ...], path: pathlib.Path) -> None:
    for name in options:
        if name not in known:
            takes = f"takes {', '.join(known)}" if known else "takes no option"
            raise ArchiveError(f"{path}: there is no option {name!r} for this format, which {takes}")


def _open_npy(path: pathlib.Path, spec: str) -> VectorArchive:
    """Open an array of vectors, with ids and classes from a CSV file of the same name next to it."""
    try:
        stored = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise ArchiveError(f"{path} cannot be read ({error}); write it again with numpy.save") from error
    beside = path.with_suffix(".csv")
    ids, labels = _read_names(beside) if beside.is_file() else (None, None)
    if ids is not None and stored.ndim == 2 and len(ids) != len(stored):
        raise ArchiveError(
            f"{beside} names {len(ids):,} rows, and {path} has {len(stored):,}; write a line for each, in "
            "the same order"
        )
    return vector_archive(stored, ids, labels, path, spec)


def _read_names(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the column `id` of a CSV file in order, and `label` if present."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            fields = [name for name in ("id", "label") if name in (reader.fieldnames or ())]
            if "id" not in fields:
                found = ", ".join(reader.fieldnames or ()) or "nothing"
                raise ArchiveError(f"{path} must begin with the line id or id,label; found {found}")
            rows = [[row[name] or "" for name in fields] for row in reader]
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read: {reason_of(error)}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ArchiveError(f"{path} is not a CSV file in UTF-8: {error}") from error
    columns = [np.array(column, np.str_) for column in zip(*rows, strict=True)] or [np.empty(0, "U1")] * 2
    return columns[0], columns[1] if len(fields) > 1 else None
