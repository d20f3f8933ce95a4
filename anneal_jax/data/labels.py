"""Class labels: their numbering, and the CSV file that adds or overrides them."""

import dataclasses
import difflib
import os
import pathlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

import numpy as np

from anneal_jax.data.catalogue import Catalogue
from anneal_jax.errors import AnnealError, ArchiveError
from anneal_jax.files.tables import opened_table
from anneal_jax.text import Names, folded
from anneal_jax.types import IntArray

_CatalogueT = TypeVar("_CatalogueT", bound=Catalogue)


def encode_labels(names: Sequence[str | None]) -> tuple[IntArray | None, tuple[str, ...]]:
    """Number the class of each tile.

    Classes are sorted by name, or by value if every name is a whole number. Names that differ only in
    Unicode form (`anneal_jax.text`) are one class, under the name that sorts first.

    Args:
      names: class of each tile, None if it has none.

    Returns:
      int32[N] with -1 for None, or None if no tile has a class; and the C class names.

    >>> encode_labels(["river", None, "beach"])
    (array([ 1, -1,  0], dtype=int32), ('beach', 'river'))
    >>> encode_labels(["10", "9"])[1]
    ('9', '10')
    """
    written = sorted({name for name in names if name is not None})
    if not written:
        return None, ()
    one_of = {folded(name): name for name in reversed(written)}
    classes = {one_of[folded(name)] for name in written}
    all_numbers = all(name.isascii() and name.isdigit() for name in classes)
    ordered = sorted(classes, key=(lambda name: (int(name), name)) if all_numbers else None)
    places = {name: index for index, name in enumerate(ordered)}
    number: dict[str | None, int] = {name: places[one_of[folded(name)]] for name in written}
    return np.array([number.get(name, -1) for name in names], np.int32), tuple(ordered)


def folder_class(name: str) -> str | None:
    """Return the class of a file from its path in an archive: its first folder, None without one.

    >>> folder_class("river/2021/07.tif"), folder_class("07.tif")
    ('river', None)
    """
    folder, slash, _ = name.partition("/")
    return folder if slash else None


def with_labels_csv(archive: _CatalogueT, labels_csv: str | os.PathLike[str]) -> _CatalogueT:
    """Return `archive` with its labels overridden by those of a CSV file.

    The header names the columns `id` and `label`; other columns are ignored. Ids are matched by
    `TileNames`. An empty label removes a label. A tile that is not in the file keeps its label.

    Raises:
      ArchiveError: the file is missing or malformed, gives a tile two labels, or names a tile that is not
        in the archive.
    """
    path = pathlib.Path(labels_csv).expanduser()
    given = _resolve(_read_rows(path), archive, path)
    names = [_name_or_none(archive, row) for row in range(len(archive.ids))]
    num_kept = 0
    for row, tile_id in enumerate(archive.ids):
        if tile_id in given:
            names[row] = given[tile_id] if given[tile_id].strip() else None
        else:
            num_kept += 1
    labels, class_names = encode_labels(names)
    notes = archive.notes
    if num_kept:
        kept = f"{num_kept:,} of {len(names):,} tiles are not in {path} and keep the label they had"
        notes = (*notes, f"{kept}, if any.")
    return dataclasses.replace(archive, labels=labels, class_names=class_names, notes=notes)


def labels_of_csv(archive: Catalogue, labels_csv: str | os.PathLike[str]) -> IntArray:
    """Return int32[N], the labels in a CSV file, -1 for other tiles, whatever labels the archive has.

    Raises:
      ArchiveError: as for `with_labels_csv`, or the file contains no label.
    """
    bare = dataclasses.replace(archive, labels=None, class_names=())
    labels = with_labels_csv(bare, labels_csv).labels
    if labels is None:
        raise ArchiveError(f"labels file {labels_csv} contains no label")
    return labels


def _name_or_none(archive: Catalogue, row: int) -> str | None:
    if archive.labels is None or archive.labels[row] < 0:
        return None
    return archive.class_names[archive.labels[row]]


def _read_rows(path: pathlib.Path) -> dict[str, str]:
    """Return the label of each name as written."""
    with opened_table(path, "labels file", ArchiveError) as table:
        if not {"id", "label"} <= set(table.columns):
            found = ", ".join(table.columns) or "nothing"
            raise ArchiveError(f"{table.what} must begin with the line id,label; found {found}")
        seen: dict[str, str] = {}
        for line, row in table.rows(filled=["id"]):
            name, label = row["id"], row["label"]
            if seen.setdefault(name, label) != label:
                raise ArchiveError(
                    f"{table.what}, line {line}: {name!r} is labelled {label!r} here and {seen[name]!r} "
                    "above; keep one"
                )
        return seen


class TileNames:
    """The names by which other files may refer to an archive's tiles: ids or, for a folder, file names.

    A name matches a tile as written, or as folded by `anneal_jax.text`, or if it is the last part of
    exactly one id.
    """

    def __init__(self, ids: Iterable[str]):
        """Index the ids of an archive."""
        self._ids = Names(ids)
        self._by_file_name: Names | None = None
        self._with_file_name: dict[str, list[str]] = defaultdict(list)

    def find(self, name: str, where: str, error: type[AnnealError]) -> str | None:
        """Return the id of the tile that a file names; None if there is none.

        Args:
          name: the name in the file.
          where: name of the file, to start a message with.
          error: class of the error to raise.

        Raises:
          AnnealError: the name matches several tiles.
        """
        matches = self._ids.find(name) or self._of_file_name(name)
        if len(matches) > 1:
            raise error(f"{where}: {name!r} may be {matches[0]!r} or {matches[1]!r}; write the path")
        return matches[0] if matches else None

    def nearest(self, name: str) -> str:
        """Return the end of a sentence that names the id most like a name."""
        nearest = difflib.get_close_matches(name, list(self._ids), n=1, cutoff=0.0)
        return f"; the nearest is {nearest[0]!r}" if nearest else ""

    def _of_file_name(self, name: str) -> list[str]:
        if self._by_file_name is None:  # built for the first name that is not an id
            for tile_id in self._ids:
                self._with_file_name[tile_id.rpartition("/")[2]].append(tile_id)
            self._by_file_name = Names(self._with_file_name)
        return [tile_id for file in self._by_file_name.find(name) for tile_id in self._with_file_name[file]]


def _resolve(rows: dict[str, str], archive: Catalogue, path: pathlib.Path) -> dict[str, str]:
    """Return the label of each archive id; bad tiles that were left out may be named too."""
    names = TileNames([*archive.ids, *archive.left_out])
    given: dict[str, str] = {}
    unknown: list[str] = []
    for name, label in rows.items():
        tile_id = names.find(name, f"labels file {path}", ArchiveError)
        if tile_id is None:
            unknown.append(name)
        elif given.setdefault(tile_id, label) != label:
            raise ArchiveError(f"labels file {path} gives {tile_id!r} two labels; keep one")
    if unknown:
        plural = "id that is" if len(unknown) == 1 else "ids that are"
        raise ArchiveError(
            f"labels file {path} has {len(unknown):,} {plural} not in the archive, first {unknown[0]!r}"
            f"{names.nearest(unknown[0])}"
        )
    return given
