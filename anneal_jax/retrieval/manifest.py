"""The manifest of an index: the model of its vectors, and its shards with their seals.

Every process that writes to an index has its own manifest, `manifest-PROCESS.json`, so that several hosts
never write the same file. A shard becomes part of the index when its manifest names it.
"""

import dataclasses
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from anneal_jax.errors import RetrievalError
from anneal_jax.files.seals import FileSeal, read_sealed, write_sealed

FORMAT = 1
"""Format version, increased if a reader of the old files could misread the new ones."""

_NAME = re.compile(r"manifest-(\d+)\.json")


class ModelCard(NamedTuple):
    """The model of the vectors of an index.

    Attributes:
      fingerprint: SHA-256 of the model; vectors of two fingerprints are never mixed.
      dim: D, numbers per vector.
      dtype: dtype of the stored vectors, `float16` or `float32`.
      workdir: path of the model, for embedding queries.
    """

    fingerprint: str
    dim: int
    dtype: str
    workdir: str


class ShardRecord(NamedTuple):
    """One shard: some tiles, with one file per column.

    Attributes:
      name: prefix of its file names.
      num_rows: number of tiles.
      source: spec of their archive.
      files: seal of each file, by column name.
    """

    name: str
    num_rows: int
    source: str
    files: dict[str, FileSeal]

    def file_name(self, column: str) -> str:
        """Return the file name of a column."""
        return f"{self.name}.{column}.npy"


@dataclasses.dataclass(frozen=True)
class Manifest:
    """The output of one process.

    Attributes:
      model: the model of the vectors.
      process: number of the process, from 0.
      num_processes: largest number of processes that have shared the work.
      is_complete: whether its last call finished.
      shards: shards in the order in which they were written.
    """

    model: ModelCard
    process: int
    num_processes: int
    is_complete: bool = False
    shards: tuple[ShardRecord, ...] = ()


def manifest_path(folder: Path, process: int) -> Path:
    """Return the path of a process's manifest."""
    return folder / f"manifest-{process}.json"


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace a process's manifest, atomically."""
    content: dict[str, Any] = {"format": FORMAT, **dataclasses.asdict(manifest)}
    content["model"] = manifest.model._asdict()
    content["shards"] = [shard._asdict() for shard in manifest.shards]
    write_sealed(manifest_path(folder, manifest.process), content)


def read_manifest(path: Path) -> Manifest:
    """Return a manifest.

    Raises:
      RetrievalError: it is damaged, or was written by a newer version.
    """
    try:
        content = read_sealed(path)
        if content.pop("format") != FORMAT:
            raise RetrievalError(f"{path} was written by another version of this library; use that one.")
        model = ModelCard(**content.pop("model"))
        shards = tuple(map(_shard, content.pop("shards")))
        return Manifest(model=model, shards=shards, **content)
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise RetrievalError(
            f"{path} is damaged ({str(error).rstrip('.')}); restore it, or write the index again."
        ) from error


def read_manifests(folder: Path) -> list[Manifest]:
    """Return the manifests of all processes, by number; none if the folder contains no index.

    Raises:
      RetrievalError: one is damaged, missing or has another model than the first.
    """
    numbers = [int(found[1]) for path in folder.glob("*") if (found := _NAME.fullmatch(path.name))]
    manifests = [read_manifest(manifest_path(folder, number)) for number in sorted(numbers)]
    for manifest in manifests:
        _require_same_model(folder, manifests[0].model, manifest.model)
    return manifests


def missing_processes(manifests: Iterable[Manifest]) -> list[int]:
    """Return the processes that have not written anything yet, or have not finished.

    >>> card = ModelCard("00ff", 4, "float16", "runs/a")
    >>> missing_processes([Manifest(card, 1, 3, is_complete=True), Manifest(card, 2, 3)])
    [0, 2]

    A process that only took part when there were fewer still has its part of the last archive to do:

    >>> whole = Manifest(card, 0, 1, is_complete=True)
    >>> missing_processes([whole, Manifest(card, 1, 2, is_complete=True)])
    [0]
    """
    manifests = list(manifests)
    num_processes = max((manifest.num_processes for manifest in manifests), default=0)
    complete = {m.process for m in manifests if m.is_complete and m.num_processes == num_processes}
    return [process for process in range(num_processes) if process not in complete]


def _require_same_model(folder: Path, first: ModelCard, other: ModelCard) -> None:
    if (first.fingerprint, first.dim, first.dtype) != (other.fingerprint, other.dim, other.dtype):
        raise RetrievalError(
            f"{folder} contains vectors of two models or two dtypes; write them to two folders."
        )


def _shard(fields: dict[str, Any]) -> ShardRecord:
    seals = {column: FileSeal(*seal) for column, seal in fields["files"].items()}
    fields = {**fields, "files": seals}
    return ShardRecord(**fields)
