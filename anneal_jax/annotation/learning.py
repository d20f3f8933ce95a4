"""When the background trains, and what the learning curve remembers of it."""

import asyncio
import json
import logging
import pathlib
from collections.abc import Awaitable, Callable
from typing import Any

from anneal_jax import atomic
from anneal_jax.annotation.background import BackgroundTrainer, Result
from anneal_jax.annotation.desk import Desk
from anneal_jax.annotation.guide import Guide, make_guide

_log = logging.getLogger(__name__)

AtDesk = Callable[..., Awaitable[Any]]
"""Runs a function in the thread that owns the desk."""


class Learning:
    """Starts jobs when they are due and adopts their results; the desk is never kept waiting.

    Attributes:
      curve: one row for each model that was in use, and what audits said of it.
    """

    def __init__(self, desk: Desk, trainer: BackgroundTrainer, folder: pathlib.Path, *, seed: int):
        """Go on with the curve in a folder.

        Args:
          desk: used through `AtDesk` only.
          trainer: runs the jobs.
          folder: keeps `curve.json`.
          seed: of the choice of questions.
        """
        self._desk, self._trainer, self._seed = desk, trainer, seed
        self._path = folder / "curve.json"
        self.curve: list[dict[str, Any]] = _read(self._path)

    async def advance(self, at_desk: AtDesk) -> None:
        """Look once after the background; a failure is told, and nothing else ends by it."""
        try:
            if result := await asyncio.to_thread(self._trainer.fetch):
                guide = await asyncio.to_thread(self._guide, result)
                await at_desk(self._adopt, guide, result)
            elif not self._trainer.is_busy:
                await at_desk(self._start_if_due)
        except Exception as error:
            self._trainer.failure = f"{type(error).__name__}: {error}"
            _log.exception("the background could not go on")

    def told(self) -> dict[str, Any]:
        """Return what the page says of the background."""
        return {"is_training": self._trainer.is_busy, "training_failure": self._trainer.failure}

    def close(self) -> None:
        """End the job under way."""
        self._trainer.close()

    def _start_if_due(self) -> None:
        num_trainable, set_id = self._desk.num_trainable(), self._desk.set_id
        if self._trainer.is_due(num_trainable, set_id):
            self._trainer.start(self._desk.trainable(), self._desk.reserved(), num_trainable, set_id)

    def _guide(self, result: Result) -> Guide:
        chosen = [(first, second) for first, second in result.chosen.tolist()]
        return make_guide(
            result.embeddings,
            seed=self._seed,
            version=result.num_answers,
            chosen=chosen,
            project=result.project,
        )

    def _adopt(self, guide: Guide, result: Result) -> None:
        if result.set_id != self._desk.set_id:  # another sentence since: what was learnt means nothing
            return
        counters = self._desk.counters("")
        names = ("num_answers", "num_known", "bits_spent", "minutes", "model_answers", "quality")
        self.curve.append({name: counters[name] for name in names} | {"set_id": result.set_id})
        atomic.write_text(self._path, json.dumps(self.curve) + "\n")
        self._desk.adopt(guide)


def _read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the curve so far; it can be lost without harm."""
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return rows if isinstance(rows, list) else []
    except (OSError, ValueError):
        return []
