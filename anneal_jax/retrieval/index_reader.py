"""An index opened for search: memory-mapped vectors and columns of many tiles."""

import dataclasses
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anneal_jax.errors import RetrievalError, UnwritableError, unknown_name
from anneal_jax.files import atomic
from anneal_jax.files.seals import FileSeal, damaged_files
from anneal_jax.retrieval.columns import COLUMNS, archive_columns, encoded_texts
from anneal_jax.retrieval.manifest import ModelCard, ShardRecord, missing_processes, read_manifests
from anneal_jax.retrieval.shards import map_column
from anneal_jax.text import forms_of
from anneal_jax.types import Archive, FloatArray

VERIFICATIONS = ("always", "once")
"""Ways to verify an index when it is opened."""

_VERIFIED = "verified.json"

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, eq=False)
class TileIndex:
    """The tiles of an index, numbered by row: shard after shard, in the order of their names.

    Attributes:
      folder: folder of the index.
      model: the model of the vectors.
      shards: records of the shards.
      starts: int64[S + 1], first row of each shard, followed by the number of rows.
      notes: sentences for the user.
    """

    folder: Path
    model: ModelCard
    shards: tuple[ShardRecord, ...]
    starts: npt.NDArray[np.int64]
    notes: tuple[str, ...] = ()
    _mapped: dict[str, list[np.ndarray]] = dataclasses.field(default_factory=dict, repr=False)

    @property
    def num_rows(self) -> int:
        """Number of tiles."""
        return int(self.starts[-1])

    def column(self, name: str) -> list[np.ndarray] | None:
        """Return a column shard by shard, each memory-mapped; None if no shard has it."""
        if name not in self._mapped:  # mapping a thousand shards takes a while
            if not any(name in record.files for record in self.shards):
                return None
            self._mapped[name] = [
                map_column(self.folder, record, name)
                if name in record.files
                else COLUMNS[name].blanks(record.num_rows)
                for record in self.shards
            ]
        return self._mapped[name]

    def take(self, name: str, rows: npt.ArrayLike) -> np.ndarray | None:
        """Return the values of a column for some rows, int[M]; None if no shard has it."""
        rows = np.asarray(rows, np.int64)
        columns = self.column(name)
        if columns is None:
            return None
        dtype = np.result_type(*{column.dtype for column in columns})  # texts have the width of their shard
        taken = np.empty((len(rows), *columns[0].shape[1:]), dtype)
        which = np.searchsorted(self.starts, rows, side="right") - 1
        for shard in np.unique(which):
            is_here = which == shard
            taken[is_here] = columns[shard][rows[is_here] - self.starts[shard]]
        return taken

    def ids(self, rows: npt.ArrayLike) -> list[str]:
        """Return the ids of some rows, int[M]."""
        return _texts(self.take("ids", rows))

    def labels(self, rows: npt.ArrayLike) -> list[str] | None:
        """Return the classes of some rows, "" without one; None if the index has none."""
        found = self.take("label", rows)
        return None if found is None else _texts(found)

    def source(self, row: int) -> str:
        """Return the spec of a row's archive."""
        return self.shards[int(np.searchsorted(self.starts, row, side="right")) - 1].source

    def rows_of(self, ids: Sequence[str]) -> npt.NDArray[np.int64]:
        """Return the row of each id, -1 if the index does not have it.

        An id that differs only in Unicode form (`anneal_jax.text`) matches if there is no exact match.
        """
        forms = {tile_id: sorted(forms_of(tile_id)) for tile_id in ids}
        names = np.array(sorted({form.encode() for every in forms.values() for form in every}), np.bytes_)
        found: dict[str, int] = {}
        for start, stored in zip(self.starts, self.column("ids") or [], strict=False):
            for row in np.flatnonzero(np.isin(stored, names)).tolist() if len(names) else ():
                found[bytes(stored[row]).decode()] = int(start) + row

        def row_of(tile_id: str) -> int:
            others = (found[form] for form in forms[tile_id] if form in found)
            return found.get(tile_id, next(others, -1))

        return np.array([row_of(tile_id) for tile_id in ids], np.int64)


def open_index(folder: str | Path, *, verify: str = "always") -> TileIndex:
    """Open an index after verifying its files against its manifests.

    Args:
      folder: folder of the index.
      verify: `always` reads every file and checks its SHA-256, in parallel, with a progress bar. `once`
        does so the first time, and then trusts a file with unchanged size, time and inode: opening is then
        immediate, but does not detect corruption of the disk.

    Raises:
      RetrievalError: there is no index, or one of its files is damaged; the message names it.
      ConfigError: `verify` is unknown.
    """
    if verify not in VERIFICATIONS:
        raise unknown_name("verify", verify, VERIFICATIONS)
    folder = Path(folder).expanduser()
    manifests = read_manifests(folder)
    shards = tuple(sorted((s for manifest in manifests for s in manifest.shards), key=lambda s: s.name))
    if not shards:
        raise RetrievalError(f"{folder} contains no index; write one with launch/embed.py.")
    seals = {record.file_name(column): seal for record in shards for column, seal in record.files.items()}
    _verify(folder, seals, once=verify == "once")
    starts = np.cumsum([0, *(record.num_rows for record in shards)], dtype=np.int64)
    return TileIndex(folder, manifests[0].model, shards, starts, _notes(missing_processes(manifests)))


def index_in_memory(
    archive: Archive,
    vectors: FloatArray,
    *,
    workdir: str | Path,
    fingerprint: str = "",
    notes: tuple[str, ...] = (),
) -> TileIndex:
    """Return an archive with its embeddings as an index, without writing files.

    Args:
      archive: N tiles; its metadata become columns.
      vectors: float32[N, D], unit norm or zero, its embeddings.
      workdir: workdir of their model.
      fingerprint: fingerprint of that model; empty if only tiles of the index are searched by.
      notes: sentences for the user.
    """
    columns = {
        "vectors": vectors,
        "ids": encoded_texts(archive.ids),
        "digests": archive.digests(),
        **archive_columns(archive),
    }
    model = ModelCard(fingerprint, vectors.shape[1], str(vectors.dtype), str(workdir))
    shards = (ShardRecord("memory", len(vectors), archive.spec, {}),)
    starts = np.array([0, len(vectors)], np.int64)
    mapped = {name: [column] for name, column in columns.items()}
    return TileIndex(Path(workdir), model, shards, starts, notes, mapped)


def _verify(folder: Path, seals: dict[str, FileSeal], *, once: bool) -> None:
    trusted = _read_trusted(folder) if once else {}
    states = {name: _state(folder / name) for name in seals}  # before reading, to detect later changes
    doubted = {
        name: seal
        for name, seal in seals.items()
        if states[name] is None or states[name] != trusted.get(name)
    }
    if damaged := damaged_files(folder, doubted, progress="verifying the index"):
        more = f", and {len(damaged) - 1} more," if len(damaged) > 1 else ""
        raise RetrievalError(
            f"{folder / damaged[0]}{more} is damaged: it is missing, or its SHA-256 is not the one in the "
            "manifest. Restore it, or write the index again with launch/embed.py."
        )
    if once and doubted:
        _write_trusted(folder, states)


def _state(path: Path) -> list[int] | None:
    """Return the size, time and inode of a file, which change when it is written."""
    try:
        status = path.stat()
    except OSError:
        return None
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def _read_trusted(folder: Path) -> dict[str, list[int] | None]:
    try:
        return dict(json.loads((folder / _VERIFIED).read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError, TypeError):
        return {}  # trust nothing, so read everything


def _write_trusted(folder: Path, states: dict[str, list[int] | None]) -> None:
    try:
        atomic.write_text(folder / _VERIFIED, json.dumps(states))
    except UnwritableError as error:
        _log.warning("%s; the next command verifies again.", error)


def _notes(missing: list[int]) -> tuple[str, ...]:
    if not missing:
        return ()
    which = ", ".join(map(str, missing))
    return (f"The index is incomplete: process {which} has not finished. The search uses what is there.",)


def _texts(stored: np.ndarray | None) -> list[str]:
    return [] if stored is None else [value.decode() for value in stored.tolist()]
