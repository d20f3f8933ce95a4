"""One checkpoint per round, complete before the round counts as done."""

import pathlib
from typing import Any

import jax
import numpy as np

from anneal_jax.errors import WorkdirError
from anneal_jax.types import Params

_ADVICE = "Restore the folder, or remove rounds.jsonl to train the rounds again from the stored answers."


class RoundCheckpoints:
    """Orbax checkpoints of a workdir, one step per round.

    Attributes:
      folder: where the steps lie, `checkpoints/<round_index>/`.
    """

    def __init__(self, folder: str | pathlib.Path):
        """Open the folder, creating it where it is absent."""
        import orbax.checkpoint as ocp

        self.folder = pathlib.Path(folder).absolute()
        self._manager = ocp.CheckpointManager(self.folder)

    def save(self, round_index: int, state: Params) -> None:
        """Save a round's state; on return it is on disk. An older attempt at the round is replaced."""
        import orbax.checkpoint as ocp

        if round_index in self._manager.all_steps():
            self._manager.delete(round_index)
        self._manager.save(round_index, args=ocp.args.StandardSave(jax.tree.map(np.asarray, state)))
        # `save` returns before the files are complete; a kill then would lose the round.
        self._manager.wait_until_finished()

    def restore(self, round_index: int, template: Params) -> Any:
        """Return a round's state as NumPy arrays, on whatever devices it was made.

        Args:
          round_index: the round.
          template: a tree of the same structure and shapes.

        Raises:
          WorkdirError: the round has no complete checkpoint, or it cannot be read.
        """
        import orbax.checkpoint as ocp

        if round_index not in self._manager.all_steps():
            raise WorkdirError(
                f"{self.folder} has no complete checkpoint of round {round_index}; rounds present: "
                f"{sorted(self._manager.all_steps())}. {_ADVICE}"
            )
        target = jax.tree.map(np.asarray, template)
        try:
            return self._manager.restore(round_index, args=ocp.args.StandardRestore(target))
        except Exception as error:  # damage surfaces as whatever the reader of the hit file raises
            raise WorkdirError(
                f"the checkpoint of round {round_index} in {self.folder} is damaged, or of another "
                f"network ({type(error).__name__}). {_ADVICE}"
            ) from error

    def close(self) -> None:
        """Release the manager's threads."""
        self._manager.close()
