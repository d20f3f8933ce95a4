"""Writes an index or adds to one: shard by shard, each on disk before the next begins.

After a kill, the same call continues after the last shard. Tiles whose id the index already has are not
encoded again. Several processes share an archive by position: process p of P handles rows p N / P to (p +
1) N / P, and writes its own shards and manifest.
"""

import fcntl
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from anneal_jax.errors import RetrievalError, reason_of
from anneal_jax.files.seals import damaged_files
from anneal_jax.retrieval.columns import COLUMNS, archive_columns, encoded_texts
from anneal_jax.retrieval.manifest import (
    Manifest,
    ModelCard,
    ShardRecord,
    read_manifests,
    write_manifest,
)
from anneal_jax.retrieval.shards import map_column, write_shard
from anneal_jax.types import Archive, FloatArray

SHARD_ROWS = 16_384
"""Tiles per shard; a kill loses the progress within one."""

_KEYS = ("ids", "digests")  # columns that identify a tile


class Appended(NamedTuple):
    """The result of a call.

    Attributes:
      num_new: number of tiles encoded.
      num_old: number of tiles of its share that already existed.
    """

    num_new: int
    num_old: int


def append_tiles(
    folder: str | Path,
    archive: Archive,
    embed: Callable[[Archive, npt.NDArray[np.integer]], FloatArray],
    model: ModelCard,
    *,
    metadata: Mapping[str, np.ndarray] | None = None,
    process: int | None = None,
    num_processes: int | None = None,
    shard_rows: int = SHARD_ROWS,
) -> Appended:
    """Add the tiles of an archive that an index lacks; create the index if it is missing.

    Memory holds the ids of the archive and one shard, but not all tiles.

    Args:
      folder: folder of the index.
      archive: N tiles, which `embed` reads.
      embed: maps the archive and rows int[M] to vectors float32[M, D] of unit norm.
      model: description of `embed`.
      metadata: columns of all N tiles, among those in `columns` with a blank. A missing class is taken from
        the archive, and so are boxes and dates if the metadata have none at all.
      process: number of this process, from 0; by default that of `jax.distributed`.
      num_processes: number of processes that share the archive; each makes this call, at any time and in
        any order. By default that of `jax.distributed`.
      shard_rows: tiles per shard.

    Raises:
      RetrievalError: the index has another model or another dtype; one of its tiles has changed since;
        another process writes with the same number; or a file is damaged.
    """
    process = jax.process_index() if process is None else process
    num_processes = jax.process_count() if num_processes is None else num_processes
    if not 0 <= process < num_processes:
        raise RetrievalError(f"process {process} of {num_processes} does not exist; count from 0.")
    folder = Path(folder).expanduser()
    with _locked(folder, process):
        manifests = read_manifests(folder)
        manifest = _own_manifest(folder, manifests, model, process, num_processes)
        _remove_leftovers(folder, manifest)
        ids = encoded_texts(archive.ids)
        rows = slice(process * len(ids) // num_processes, (process + 1) * len(ids) // num_processes)
        digests = archive.digests()
        is_present = _is_present(folder, manifests, ids[rows], digests[rows])
        new = rows.start + np.flatnonzero(~is_present)
        columns = {"ids": ids, "digests": digests, **_known(archive_columns(archive), metadata or {})}
        starts = range(0, len(new), shard_rows)
        for start in tqdm(starts, "shards", leave=False, disable=None):
            chosen = new[start : start + shard_rows]
            vectors = embed(archive, chosen).astype(model.dtype)
            arrays = {
                "vectors": vectors,
                **{name: _trimmed(column[chosen]) for name, column in columns.items()},
            }
            name = f"shard-{process}-{len(manifest.shards):06d}"
            record = write_shard(folder, name, arrays, source=archive.spec)
            manifest = _with(manifest, record, is_complete=False)
            write_manifest(folder, manifest)
        write_manifest(folder, _with(manifest, is_complete=True))
        return Appended(len(new), len(is_present) - len(new))


@contextmanager
def _locked(folder: Path, process: int) -> Iterator[None]:
    """Lock a process's part of an index, with a lock of the operating system."""
    if folder.is_dir() and any(folder.iterdir()) and not list(folder.glob("lock-*")):
        raise RetrievalError(f"{folder} contains unrelated files; give a new folder for the index.")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = (folder / f"lock-{process}").open("w")
    except OSError as error:
        raise RetrievalError(f"cannot write an index into {folder} ({reason_of(error)}).") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RetrievalError(
                f"another command is writing to {folder} as process {process}; wait for it, or give each "
                "its own number."
            ) from error
        yield


def _own_manifest(
    folder: Path, manifests: list[Manifest], model: ModelCard, process: int, num_processes: int
) -> Manifest:
    for manifest in manifests:
        old = manifest.model
        if (old.fingerprint, old.dim) != (model.fingerprint, model.dim):
            raise RetrievalError(
                f"{folder} was made by another model ({old.workdir}, {old.fingerprint[:12]}) than this one "
                f"({model.workdir}, {model.fingerprint[:12]}); their vectors do not compare. "
                "Give a new folder."
            )
        if old.dtype != model.dtype:
            raise RetrievalError(f"{folder} stores {old.dtype}; continue with that, or give a new folder.")
    own = next((manifest for manifest in manifests if manifest.process == process), None)
    if own is None:
        return Manifest(model, process, num_processes)
    return Manifest(model, process, max(own.num_processes, num_processes), shards=own.shards)


def _with(manifest: Manifest, *records: ShardRecord, is_complete: bool) -> Manifest:
    shards = (*manifest.shards, *records)
    return Manifest(manifest.model, manifest.process, manifest.num_processes, is_complete, shards)


def _remove_leftovers(folder: Path, manifest: Manifest) -> None:
    """Remove files of a killed call of this process that no manifest names."""
    unfinished = re.compile(rf"\.(shard-{manifest.process}-|manifest-{manifest.process}\.).*")
    written = re.compile(rf"shard-{manifest.process}-.*")
    named = {record.file_name(column) for record in manifest.shards for column in record.files}
    for path in folder.iterdir():
        if unfinished.fullmatch(path.name) or (written.fullmatch(path.name) and path.name not in named):
            path.unlink()


def _is_present(
    folder: Path, manifests: list[Manifest], ids: np.ndarray, digests: npt.NDArray[np.uint8]
) -> npt.NDArray[np.bool_]:
    """Return bool[M]: whether the index has each tile, from any process."""
    present = np.zeros(len(ids), np.bool_)
    if not any(manifest.shards for manifest in manifests):
        return present
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    for record in (record for manifest in manifests for record in manifest.shards):
        _require_sound(folder, record)
        stored = map_column(folder, record, "ids")
        places = np.searchsorted(ordered, stored).clip(max=max(len(ids) - 1, 0))
        is_own = ordered[places] == stored if len(ids) else np.zeros(len(stored), np.bool_)
        rows = order[places[is_own]]
        changed = np.any(map_column(folder, record, "digests")[is_own] != digests[rows], axis=1)
        if changed.any():
            raise RetrievalError(
                f"{int(changed.sum()):,} tiles have changed since they were added to {folder}, first "
                f"{ids[rows[changed]][0].decode()!r}; write a new index, or restore them."
            )
        present[rows] = True
    return present


def _require_sound(folder: Path, record: ShardRecord) -> None:
    seals = {record.file_name(column): record.files[column] for column in _KEYS}
    if damaged := damaged_files(folder, seals):
        raise RetrievalError(f"{folder / damaged[0]} is damaged; restore it, or write the index again.")


def _known(own: dict[str, np.ndarray], given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the archive's columns updated by the metadata; a missing class is the archive's own."""
    found = {**own, **given}
    if "label" in own and "label" in given:
        found["label"] = np.where(given["label"] == COLUMNS["label"].blank, own["label"], given["label"])
    return found


def _trimmed(column: np.ndarray) -> np.ndarray:
    """Return texts only as wide as the longest remaining one."""
    if column.dtype.kind != "S":
        return column
    return column.astype(f"S{max(1, int(np.strings.str_len(column).max(initial=1)))}")
