"""One checkpoint per round, complete before the round counts as finished, and verified when read.

A step is a folder `checkpoints/<round_index>/` with the files of orbax and, written last, `manifest.json`
with the SHA-256 of each file and the provenance of the round. A step without a manifest was never
finished, or was written by a version without manifests. Orbax itself does not notice flipped bits.
"""

import contextlib
import importlib.metadata
import logging
import pathlib
import platform
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import logging as absl_logging

from anneal_jax._version import __version__
from anneal_jax.errors import WorkdirError
from anneal_jax.files import atomic
from anneal_jax.files.seals import (
    FileSeal,
    damaged_files,
    read_sealed,
    seals_below,
    write_sealed,
)
from anneal_jax.types import Params

MANIFEST = "manifest.json"

_ADVICE = "Restore the folder, or remove rounds.jsonl to train the rounds again from the stored answers."
_LIBRARIES = ("flax", "jax", "jaxlib", "numpy", "optax", "orbax-checkpoint")
_UNFINISHED = "*.orbax-checkpoint-tmp*"

_log = logging.getLogger(__name__)


class Checkpoint(NamedTuple):
    """A restored round.

    Attributes:
      round_index: the round.
      state: NumPy arrays, in the structure of the template, or in dicts without one.
      provenance: the origin of the round, as passed to `save`, with `versions`; None if the step has no
        manifest.
    """

    round_index: int
    state: Any
    provenance: dict[str, Any] | None


class RoundCheckpoints:
    """Orbax checkpoints of a workdir, one step per round.

    Attributes:
      folder: folder of the steps, `checkpoints/<round_index>/`.
    """

    def __init__(self, folder: str | pathlib.Path, *, read_only: bool = False):
        """Open the folder.

        Args:
          folder: created if missing.
          read_only: change nothing; a missing folder has no rounds. Otherwise unfinished steps of a killed
            run are removed, so only one process at a time may open the folder.
        """
        import orbax.checkpoint as ocp

        self.folder = pathlib.Path(folder).absolute()
        if not read_only:
            _remove_leftovers(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
        alone = _alone()
        # Not orbax's `read_only`, which warns three times; without `create` nothing is written.
        options = ocp.CheckpointManagerOptions(create=False, multiprocessing_options=alone)
        self._manager = ocp.CheckpointManager(
            self.folder,
            options=options,
            item_handlers=ocp.StandardCheckpointHandler(multiprocessing_options=alone),
        )

    def save(self, round_index: int, state: Params, *, provenance: Mapping[str, Any] | None = None) -> None:
        """Save a round's state; on return it is on disk. An older attempt at the round is replaced.

        Of several processes of `jax.distributed`, which all have the same state, only the first saves.

        Args:
          round_index: the round.
          state: a tree of arrays on any devices.
          provenance: the origin of the round, as JSON values; library versions are added.
        """
        import orbax.checkpoint as ocp

        if jax.process_index() > 0:
            return
        if round_index in self._manager.all_steps():
            self._manager.delete(round_index)
        arrays = ocp.args.StandardSave(jax.tree.map(np.asarray, state))
        with atomic.reporting_unwritable(self.folder / str(round_index)), _one_report():
            self._manager.save(
                round_index, args=arrays, force=True
            )  # otherwise only the newest round is kept
            # `save` returns before the files are complete; a kill then would lose the round.
            self._manager.wait_until_finished()
        step = self.folder / str(round_index)
        content = {
            "files": seals_below(step),
            "provenance": {**(provenance or {}), "round_index": round_index, "versions": _versions()},
        }
        write_sealed(step / MANIFEST, content)

    def restore(self, round_index: int, template: Params | None = None) -> Any:
        """Verify a round's files, and return its state as NumPy arrays.

        It may have been saved on other devices.

        Args:
          round_index: the round.
          template: a tree of the same structure and shapes; without one, nested dicts are returned.

        Raises:
          WorkdirError: the round has no complete checkpoint, or one that is damaged or of another network.
        """
        return self._read(round_index, template).state

    def restore_newest(
        self, last_round: int | None = None, template: Params | None = None
    ) -> Checkpoint | None:
        """Return the newest intact round, and warn about each newer one that is damaged.

        Args:
          last_round: the newest round to consider; None considers all.
          template: as in `restore`.

        Returns:
          The round, or None if none is intact. Rounds without a manifest come after those with one.
        """
        if last_round is not None and last_round not in self._manager.all_steps():
            _log.warning("%s has no checkpoint of round %d; using an older one.", self.folder, last_round)
        for round_index in self._newest_first(last_round):
            try:
                found = self._read(round_index, template)
            except WorkdirError as error:
                _log.warning("%s Using the newest intact round before it.", _without_advice(error))
                continue
            if found.provenance is None:
                _log.warning(
                    "the checkpoint of round %d in %s has no %s, because an older version wrote it, "
                    "so it cannot be verified.",
                    *(round_index, self.folder, MANIFEST),
                )
            return found
        return None

    def close(self) -> None:
        """Release the manager's threads."""
        self._manager.close()

    def _read(self, round_index: int, template: Params | None) -> Checkpoint:
        import orbax.checkpoint as ocp

        if round_index not in self._manager.all_steps():
            raise WorkdirError(
                f"{self.folder} has no complete checkpoint of round {round_index}; rounds present: "
                f"{sorted(self._manager.all_steps())}. {_ADVICE}"
            )
        provenance = self._verified_provenance(round_index)
        try:
            target = self._blank(round_index) if template is None else jax.tree.map(np.asarray, template)
            state = self._manager.restore(round_index, args=ocp.args.StandardRestore(target))
        except Exception as error:  # the reader of a damaged file may raise any error
            raise self._damage(round_index, f"or of another network ({type(error).__name__})") from error
        return Checkpoint(round_index, state, provenance)

    def _newest_first(self, last_round: int | None) -> Iterator[int]:
        steps = sorted(self._manager.all_steps(), reverse=True)
        within = [step for step in steps if last_round is None or step <= last_round]
        is_sealed = {step: (self.folder / str(step) / MANIFEST).exists() for step in within}
        return iter(sorted(within, key=lambda step: not is_sealed[step]))

    def _verified_provenance(self, round_index: int) -> dict[str, Any] | None:
        step = self.folder / str(round_index)
        try:
            content = read_sealed(step / MANIFEST)
            seals = {name: FileSeal(*seal) for name, seal in content["files"].items()}
            provenance = content["provenance"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
            raise self._damage(round_index, f"in {MANIFEST}") from error
        if damaged := damaged_files(step, seals):
            raise self._damage(round_index, f"in {damaged[0]}")
        return provenance

    def _blank(self, round_index: int) -> Any:
        """Return zeros in the shapes of a step, into which orbax restores without devices."""
        metadata = self._manager.item_metadata(round_index)
        return jax.tree.map(
            lambda leaf: np.zeros(leaf.shape, leaf.dtype), getattr(metadata, "tree", metadata)
        )

    def _damage(self, round_index: int, where: str) -> WorkdirError:
        return WorkdirError(
            f"the checkpoint of round {round_index} in {self.folder} is damaged, {where}. {_ADVICE}"
        )


def _alone() -> Any:
    """Return orbax's options for a process that saves and restores independently of others."""
    import orbax.checkpoint as ocp

    if jax.process_count() == 1:
        return ocp.options.MultiprocessingOptions()
    this = jax.process_index()
    return ocp.options.MultiprocessingOptions(
        primary_host=this, active_processes={this}, barrier_sync_key_prefix=f"process_{this}"
    )


def _remove_leftovers(folder: pathlib.Path) -> None:
    """Remove steps and manifests that are incomplete because the process was killed."""
    for unfinished in folder.glob(_UNFINISHED):
        shutil.rmtree(unfinished)
    for temporary in folder.glob(f"*/.{pathlib.Path(MANIFEST).stem}.*"):
        temporary.unlink()


@contextlib.contextmanager
def _one_report() -> Iterator[None]:
    """Keep orbax from logging the traceback of an error that it also raises, unless debugging is on."""
    level = absl_logging.get_verbosity()
    absl_logging.set_verbosity(level if level > absl_logging.INFO else absl_logging.FATAL)
    try:
        yield
    finally:
        absl_logging.set_verbosity(level)


def _versions() -> dict[str, str]:
    libraries = {name: importlib.metadata.version(name) for name in _LIBRARIES}
    return {"anneal-jax": __version__, "python": platform.python_version(), **libraries}


def _without_advice(error: WorkdirError) -> str:
    return str(error).removesuffix(_ADVICE).strip()
