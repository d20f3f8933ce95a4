"""Class labels: their numbering, and the CSV file that gives or overrides them."""

import csv
import dataclasses
import difflib
import os
import pathlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

from anneal_jax.data.catalogue import Catalogue
from anneal_jax.errors import ArchiveError
from anneal_jax.types import IntArray

_CatalogueT = TypeVar("_CatalogueT", bound=Catalogue)


def encode_labels(names: Sequence[str | None]) -> tuple[IntArray | None, tuple[str, ...]]:
    """Number the class of each tile.

    Classes are sorted by name, or by value where every name is a whole number.

    Args:
      names: class of each tile, None where there is none.

    Returns:
      int32[N] with -1 for None, or None if no tile has a class; and the C class names.

    >>> encode_labels(["river", None, "beach"])
    (array([ 1, -1,  0], dtype=int32), ('beach', 'river'))
    >>> encode_labels(["10", "9"])[1]
    ('9', '10')
    """
    classes = {name for name in names if name is not None}
    if not classes:
        return None, ()
    all_numbers = all(name.isascii() and name.isdigit() for name in classes)
    ordered = sorted(classes, key=(lambda name: (int(name), name)) if all_numbers else None)
    number: dict[str | None, int] = {name: index for index, name in enumerate(ordered)}
    return np.array([number.get(name, -1) for name in names], np.int32), tuple(ordered)


def folder_class(name: str) -> str | None:
    """Return the class of a file by its path below an archive: its first folder, None without one.

    >>> folder_class("river/2021/07.tif"), folder_class("07.tif")
    ('river', None)
    """
    folder, slash, _ = name.partition("/")
    return folder if slash else None


def with_labels_csv(archive: _CatalogueT, labels_csv: str | os.PathLike[str]) -> _CatalogueT:
    """Return `archive` with the labels of a CSV file laid over its own.

    The header names the columns `id` and `label`; others are ignored. An id is that of the
    archive or, for a folder, a file name that occurs once. An empty label takes a label away. A
    tile that the file does not name keeps the label it had.

    Raises:
      ArchiveError: the file is missing or malformed, names a tile twice with two labels, or names
        one that the archive does not have.
    """
    path = pathlib.Path(labels_csv).expanduser()
    given = _resolve(_read_rows(path), archive, path)
    names = [_name_or_none(archive, row) for row in range(len(archive.ids))]
    num_kept = 0
    for row, tile_id in enumerate(archive.ids):
        if tile_id in given:
            names[row] = given[tile_id] or None
        else:
            num_kept += 1
    labels, class_names = encode_labels(names)
    notes = archive.notes
    if num_kept:
        kept = f"{num_kept:,} of {len(names):,} tiles are not in {path} and keep the label they had"
        notes = (*notes, f"{kept}, if any.")
    return dataclasses.replace(archive, labels=labels, class_names=class_names, notes=notes)


def labels_of_csv(archive: Catalogue, labels_csv: str | os.PathLike[str]) -> IntArray:
    """Return int32[N], the labels that a CSV file gives, -1 elsewhere, whatever labels the archive has.

    Raises:
      ArchiveError: as `with_labels_csv`, or the file gives no label at all.
    """
    bare = dataclasses.replace(archive, labels=None, class_names=())
    labels = with_labels_csv(bare, labels_csv).labels
    if labels is None:
        raise ArchiveError(f"labels file {labels_csv} gives no tile a label")
    return labels


def _name_or_none(archive: Catalogue, row: int) -> str | None:
    if archive.labels is None or archive.labels[row] < 0:
        return None
    return archive.class_names[archive.labels[row]]


def _read_rows(path: pathlib.Path) -> dict[str, str]:
    """Return label by name as written; `utf-8-sig` because spreadsheets begin with a BOM."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            return dict(_checked_rows(csv.DictReader(file, strict=True), path))
    except OSError as error:
        raise ArchiveError(f"labels file {path} cannot be read: {error.strerror}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise ArchiveError(f"labels file {path} is no CSV file in UTF-8: {error}") from error


def _checked_rows(reader: "csv.DictReader[str]", path: pathlib.Path) -> Iterator[tuple[str, str]]:
    columns = reader.fieldnames or ()
    if not {"id", "label"} <= set(columns):
        found = ", ".join(columns) or "nothing"
        raise ArchiveError(f"labels file {path} must begin with the line id,label; found {found}")
    seen: dict[str, str] = {}
    for row in reader:
        name, label = row["id"], row["label"]
        if not name or label is None or None in row:
            raise ArchiveError(
                f"labels file {path}, line {reader.line_num}: expected {len(columns)} fields"
                " with an id among them; quote a field that holds a comma"
            )
        if seen.setdefault(name, label) != label:
            raise ArchiveError(
                f"labels file {path}, line {reader.line_num}: {name!r} is labelled {label!r} here"
                f" and {seen[name]!r} above; keep one"
            )
        yield name, label


def _resolve(rows: dict[str, str], archive: Catalogue, path: pathlib.Path) -> dict[str, str]:
    """Return label by archive id; tiles that were left out for being bad may be named too."""
    known = dict.fromkeys((*archive.ids, *archive.left_out))
    by_file_name: dict[str, list[str]] = defaultdict(list)
    for tile_id in known:
        by_file_name[tile_id.rpartition("/")[2]].append(tile_id)
    given: dict[str, str] = {}
    unknown: list[str] = []
    for name, label in rows.items():
        matches = [name] if name in known else by_file_name.get(name, [])
        if len(matches) > 1:
            raise ArchiveError(
                f"labels file {path}: {name!r} may be {matches[0]!r} or {matches[1]!r}; write the path"
            )
        if not matches:
            unknown.append(name)
        elif given.setdefault(matches[0], label) != label:
            raise ArchiveError(f"labels file {path} gives {matches[0]!r} two labels; keep one")
    if unknown:
        raise ArchiveError(_unknown_text(unknown, list(known), path))
    return given


def _unknown_text(unknown: list[str], known: list[str], path: pathlib.Path) -> str:
    nearest = difflib.get_close_matches(unknown[0], known, n=1, cutoff=0.0)
    hint = f"; the nearest is {nearest[0]!r}" if nearest else ""
    plural = "id that is" if len(unknown) == 1 else "ids that are"
    return (
        f"labels file {path} has {len(unknown):,} {plural} not in the archive, first {unknown[0]!r}{hint}"
    )
