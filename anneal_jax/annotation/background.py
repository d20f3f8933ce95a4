"""Learning beside the page: when to train, in which process, and how its result comes back."""

import dataclasses
import json
import pathlib
import secrets
import subprocess
import sys
from typing import NamedTuple

import numpy as np

from anneal_jax import atomic
from anneal_jax.annotation.projection import Projection, from_arrays
from anneal_jax.config import ExperimentConfig
from anneal_jax.pairs.records import Answered
from anneal_jax.types import FloatArray, PairIndices

FIRST_AFTER = 20
"""Answers before the first training."""

AGAIN_AFTER = 25
"""Answers between two snapshots, at least."""


class Result(NamedTuple):
    """What a training left.

    Attributes:
      num_answers: in its snapshot.
      set_id: the set of answers that it was trained on.
      embeddings: float32[N, D], unit norm.
      chosen: int32[P, 2], the next questions, the most uncertain first.
      project: what made the embeddings of features.
      doubt: mean doubt about a tile's group, in [0, 1].
      last_id: id of the newest answer when the snapshot was made.
    """

    num_answers: int
    set_id: int
    embeddings: FloatArray
    chosen: PairIndices
    project: Projection
    doubt: float
    last_id: int


class BackgroundTrainer:
    """Runs `training_job` in a spawned process, one job at a time; never waits for it."""

    def __init__(self, folder: pathlib.Path, config: ExperimentConfig, features: FloatArray):
        """Lay out the folder that jobs read: settings and features, no answers.

        Args:
          folder: below the workdir; made where absent. What a killed job left there is removed.
          config: the settings.
          features: float32[N, F], as the backbone gives them.
        """
        folder.mkdir(exist_ok=True)
        for left in folder.glob("*.npz"):
            left.unlink()
        self._folder = folder
        atomic.write_text(folder / "config.json", json.dumps(dataclasses.asdict(config)) + "\n")
        with atomic.replacing(folder / "features.npz") as path:
            np.savez(path, embeddings=features)
        self._process: subprocess.Popen[bytes] | None = None
        self._job = ""
        self._snapshot = (0, 0)
        self._last_id = 0
        self.failure = ""

    @property
    def is_busy(self) -> bool:
        """Whether a job is under way, or its result was not fetched yet."""
        return self._process is not None

    @property
    def process_id(self) -> int | None:
        """Of the job under way."""
        return self._process.pid if self._process else None

    def is_due(self, num_trainable: int, set_id: int) -> bool:
        """Tell whether there are enough new answers for another job."""
        last_set, last = self._snapshot
        last = last if last_set == set_id else 0
        step = AGAIN_AFTER if last else FIRST_AFTER
        return self._process is None and num_trainable >= FIRST_AFTER and abs(num_trainable - last) >= step

    def start(
        self, answered: Answered, reserved: PairIndices, num_trainable: int, set_id: int, last_id: int
    ) -> None:
        """Write a snapshot of the answers, and start a job on it."""
        self._job, self._snapshot, self._last_id = secrets.token_hex(8), (set_id, num_trainable), last_id
        with atomic.replacing(self._folder / f"{self._job}.snapshot.npz") as path:
            np.savez(path, reserved=reserved, **answered._asdict())
        with (self._folder / "training.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "anneal_jax.annotation.training_job", str(self._folder), self._job],
                stdin=subprocess.PIPE,  # closes with this process, and the job ends
                stdout=log,
                stderr=log,
            )

    def fetch(self) -> Result | None:
        """Return the result of a job that has just ended; None while there is none, or where it failed.

        A failure is told in `failure`, and the next job comes after as many answers as always.
        """
        if self._process is None or self._process.poll() is None:
            return None
        code, path = self._end(), self._folder / f"{self._job}.result.npz"
        if code != 0 or not path.exists():
            path.unlink(missing_ok=True)
            self.failure = f"the last training ended with code {code}; see {self._folder / 'training.log'}"
            return None
        self.failure = ""
        set_id, num_answers = self._snapshot
        with np.load(path, allow_pickle=False) as result:
            found = Result(
                num_answers,
                set_id,
                result["embeddings"],
                result["chosen"],
                from_arrays(result),
                float(result["doubt"]),
                self._last_id,
            )
        path.unlink()
        return found

    def close(self) -> None:
        """End the job under way."""
        if self._process is not None:
            self._process.terminate()
            self._end()

    def _end(self) -> int:
        assert self._process is not None
        process, self._process = self._process, None
        code = process.wait()
        if process.stdin is not None:
            process.stdin.close()
        (self._folder / f"{self._job}.snapshot.npz").unlink(missing_ok=True)
        return code
