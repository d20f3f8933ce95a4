"""Background training: when to train, in which process, and how to collect its result."""

import dataclasses
import json
import pathlib
import secrets
import subprocess
import sys
import zipfile
from typing import NamedTuple

import numpy as np

from anneal_jax.annotation.standing_answers import StandingAnswers
from anneal_jax.annotation.types import Pair
from anneal_jax.answers.reading import Answered
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.belief_rounds import Outlook
from anneal_jax.files import atomic
from anneal_jax.training.projection import Projection, from_arrays
from anneal_jax.types import FloatArray, PairIndices

FIRST_AFTER = 20
"""Number of answers needed for the first training."""

AGAIN_AFTER = 25
"""Minimum number of new answers between two snapshots."""

FOLDER = "annotation"
"""Folder in a workdir for all files that jobs read and write."""

_FEATURES, _MODEL = "features.npz", "model.npz"
_TRIAL = "trial.npz"  # the last result, until it is accepted
_LOST = (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile)
_CHECKED = 64  # tiles whose embeddings a kept model must reproduce


class Snapshot(NamedTuple):
    """The answers that a job trains on.

    Attributes:
      set_id: id of their set.
      answer_ids: ids of the sure answers, which are trained on.
      pairs: the canonical pairs of these answers.
    """

    set_id: int
    answer_ids: frozenset[int]
    pairs: frozenset[Pair]

    def stands(self, set_id: int, standing: StandingAnswers) -> bool:
        """Return whether these answers belong to a set and all of them still stand."""
        return self.set_id == set_id and standing.stand(self.answer_ids)


NO_SNAPSHOT = Snapshot(0, frozenset(), frozenset())
"""Snapshot before the first job."""


class Result(NamedTuple):
    """Result of one training.

    Attributes:
      snapshot: the answers trained on.
      embeddings: float32[N, D], unit norm.
      chosen: int32[P, 2], next questions, most uncertain first.
      project: maps features to such embeddings.
      outlook: what may be expected of more answers.
    """

    snapshot: Snapshot
    embeddings: FloatArray
    chosen: PairIndices
    project: Projection
    outlook: Outlook

    @property
    def num_answers(self) -> int:
        """Number of answers trained on."""
        return len(self.snapshot.answer_ids)


class TrainerProcess:
    """Runs `job` in a separate process, one job at a time, and never waits for it."""

    def __init__(self, folder: pathlib.Path, config: ExperimentConfig, features: FloatArray):
        """Write the folder that jobs read: settings and features, but no answers.

        Args:
          folder: in the workdir; created if missing. Leftovers of a killed job are removed; the model that
            was in use is kept.
          config: the settings.
          features: float32[N, F], output of the backbone.
        """
        folder.mkdir(exist_ok=True)
        self._folder, self._model = folder, folder / _MODEL
        for left in set(folder.glob("*.npz")) - {self._model}:
            left.unlink()
        self._features = features
        atomic.write_text(folder / "config.json", json.dumps(dataclasses.asdict(config)) + "\n")
        with atomic.replacing(folder / _FEATURES) as path:
            np.savez(path, embeddings=features)
        self._process: subprocess.Popen[bytes] | None = None
        self._job = ""
        self._snapshot = NO_SNAPSHOT
        self.failure = ""

    @property
    def is_busy(self) -> bool:
        """Whether a job is running, or its result has not been fetched yet."""
        return self._process is not None

    @property
    def process_id(self) -> int | None:
        """Process id of the running job."""
        return self._process.pid if self._process else None

    def is_due(self, answer_ids: frozenset[int], set_id: int) -> bool:
        """Return whether a job is due: enough answers are new, or one of the last job's was retracted."""
        last = self._snapshot.answer_ids if self._snapshot.set_id == set_id else frozenset()
        num_new, step = len(answer_ids - last), AGAIN_AFTER if last else FIRST_AFTER
        is_changed = num_new >= step or not last <= answer_ids
        return self._process is None and len(answer_ids) >= FIRST_AFTER and is_changed

    def start(
        self, answered: Answered, reserved: PairIndices, answer_ids: frozenset[int], set_id: int
    ) -> None:
        """Write a snapshot of the answers and start a job on it."""
        pairs = frozenset((first, second) for first, second in answered.pair_indices.tolist())
        self._job, self._snapshot = secrets.token_hex(8), Snapshot(set_id, answer_ids, pairs)
        numbers = {"set_id": set_id, "answer_ids": np.array(sorted(answer_ids), np.int64)}
        with atomic.replacing(self._folder / f"{self._job}.snapshot.npz") as path:
            np.savez(path, reserved=reserved, **numbers, **answered._asdict())
        with (self._folder / "training.log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "anneal_jax.annotation.learning.job", str(self._folder), self._job],
                stdin=subprocess.PIPE,  # closes with this process, which ends the job
                stdout=log,
                stderr=log,
            )

    def fetch(self) -> Result | None:
        """Return the result of a job that has just ended; None if there is none yet or the job failed.

        A failure is reported in `failure`; the next job starts after the usual number of answers.
        """
        if self._process is None or self._process.poll() is None:
            return None
        code, path = self._end(), self._folder / f"{self._job}.result.npz"
        if code != 0 or not path.exists():
            path.unlink(missing_ok=True)
            self.failure = f"the last training ended with code {code}; see {self._folder / 'training.log'}"
            return None
        self.failure = ""
        path.replace(self._folder / _TRIAL)
        return _load(self._folder / _TRIAL)

    def keep(self) -> None:
        """Save the last fetched result as the model to load at the next start."""
        (self._folder / _TRIAL).replace(self._model)

    def kept(self) -> Result | None:
        """Return the model that was in use; None if there is none, or if it belongs to other features.

        Its answers count as the last snapshot.
        """
        found = kept_model(self._folder, self._features)
        if found is not None:
            self._snapshot = found.snapshot
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


def kept_model(folder: pathlib.Path, features: FloatArray) -> Result | None:
    """Return the model that was in use; None if there is none, or if it belongs to other features.

    Args:
      folder: folder of the jobs.
      features: float32[N, F], output of the backbone.
    """
    try:
        found = _load(folder / _MODEL)
        some = features[:_CHECKED]
        is_ours = len(found.embeddings) == len(features) and np.allclose(
            found.project(some), found.embeddings[:_CHECKED], atol=1e-3
        )
    except _LOST:
        return None  # losing it does no harm: the next job makes another
    return found if is_ours else None


def kept_features(folder: pathlib.Path) -> FloatArray | None:
    """Return the features float32[N, F] in a folder of jobs; None if they are lost."""
    try:
        with (folder / _FEATURES).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            return np.asarray(arrays["embeddings"], np.float32)
    except _LOST:
        return None


def to_numbers(outlook: Outlook) -> dict[str, float]:
    """Return an outlook as a result's file holds it; a count that is not known is -1."""
    return {name: -1 if value is None else value for name, value in outlook._asdict().items()}


def _load(path: pathlib.Path) -> Result:
    # Opened here because np.load leaves a damaged file open.
    with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        pairs = frozenset((first, second) for first, second in arrays["pair_indices"].tolist())
        snapshot = Snapshot(int(arrays["set_id"]), frozenset(arrays["answer_ids"].tolist()), pairs)
        count = int(arrays["num_moved"]) if "num_moved" in arrays else -1  # not in files of older versions
        num_tiles = int(arrays["num_tiles"]) if count >= 0 else 0
        outlook = Outlook(float(arrays["doubt"]), count if count >= 0 else None, num_tiles)
        return Result(snapshot, arrays["embeddings"], arrays["chosen"], from_arrays(arrays), outlook)
