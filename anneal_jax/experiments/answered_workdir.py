"""A workdir with a person's answers: its archive needs no labels, and a run of it asks no questions."""

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np

from anneal_jax.answers.reading import Answered
from anneal_jax.answers.store import AnswerStore
from anneal_jax.config import ExperimentConfig
from anneal_jax.data.archives import open_archive
from anneal_jax.data.splits import Split
from anneal_jax.errors import ConfigError, WorkdirError
from anneal_jax.experiments.belief_rounds import fit_answers
from anneal_jax.experiments.dataset import Dataset, fingerprints
from anneal_jax.experiments.distributed import held
from anneal_jax.files import atomic
from anneal_jax.files.workdir import (
    ANNOTATION_MARK,
    check_config,
    locked,
    read_config,
    read_pictures,
    settle_config,
)
from anneal_jax.training.checkpoints import RoundCheckpoints
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import checkpoint_state
from anneal_jax.types import Answer

EVERY_ROUND = 2**31 - 1


def load_whole_archive(config: ExperimentConfig) -> Dataset:
    """Open the archive without labels and without a split, because questions may be about every tile.

    Raises:
      ArchiveError: the archive cannot be used.
      ConfigError: `on_bad_image` is unknown, or there are fewer than two tiles.
    """
    archive = open_archive(config.archive, on_bad_image=config.on_bad_image)
    num_tiles = len(archive.ids)
    if num_tiles < 2:
        raise ConfigError(f"{config.archive} has {num_tiles} tile, so there is no pair to ask about.")
    everything, nothing = np.arange(num_tiles, dtype=np.int32), np.empty(0, np.int32)
    return Dataset(
        archive,
        np.full(num_tiles, -1, np.int32),
        Split(everything, nothing, nothing),
        np.empty(0, np.int64),
        hashlib.sha256(archive.digests().tobytes()).hexdigest(),
    )


def settle_annotation(
    workdir: pathlib.Path, config: ExperimentConfig, dataset: Dataset, *, pictures: str = ""
) -> dict[str, str]:
    """Mark a locked workdir as a person's, write its configuration, and return its fingerprints.

    Args:
      workdir: an existing folder.
      config: the settings.
      dataset: its archive.
      pictures: archive of the tiles to look at; empty uses that of the settings, or of an earlier command.

    Raises:
      WorkdirError: it contains a run answered by an oracle, or one with other settings.
    """
    mark = workdir / ANNOTATION_MARK
    if not mark.exists() and (workdir / "answers.sqlite").exists():
        raise WorkdirError(
            f"{workdir} holds a run that was answered by class labels; give another --workdir, so that a "
            "person's answers are not mixed with them."
        )
    inputs = fingerprints(config, dataset)
    settle_config(workdir, config, inputs)
    if not mark.exists() or pictures not in ("", read_pictures(workdir)):
        atomic.write_text(mark, json.dumps({"version": 1, "pictures": pictures}) + "\n")
    return inputs


@contextmanager
def opened_answers(workdir: str | pathlib.Path, *, read_only: bool = False) -> Iterator[AnswerStore]:
    """Open the answers of a workdir.

    Args:
      workdir: a workdir with answers of a person or an oracle.
      read_only: write nothing; otherwise the workdir is locked, so that nobody else can write.

    Raises:
      AnnealError: it is in use, contains no answers, or its archive is not the one that they belong to.
    """
    workdir = pathlib.Path(workdir)
    if not (workdir / "answers.sqlite").exists():
        raise WorkdirError(
            f"{workdir} contains no answers; give the workdir of a run or of launch/annotate.py."
        )
    with contextlib.nullcontext() if read_only else locked(workdir):
        config = read_config(workdir)
        ids = open_archive(config.archive, on_bad_image=config.on_bad_image).ids
        with closing(AnswerStore(workdir / "answers.sqlite", ids, read_only=read_only)) as store:
            yield store


def train_on_answers(config: ExperimentConfig, workdir: str | pathlib.Path) -> str:
    """Train on the answers of an annotated workdir, without asking questions.

    Args:
      config: its settings, from `read_config`.
      workdir: a workdir of `launch/annotate.py`.

    Returns:
      A sentence that says what was done. The model is a new checkpoint, which `load_embedder` restores;
      nothing is trained if the answers are those of the last checkpoint.

    Raises:
      AnnealError: the workdir is in use or cannot be used, or its answers teach nothing yet.
    """
    with held(pathlib.Path(workdir)) as workdir:
        check_config(workdir, config)
        dataset = load_whole_archive(config)
        inputs = settle_annotation(workdir, config, dataset)
        with closing(AnswerStore(workdir / "answers.sqlite", dataset.archive.ids)) as store:
            answered, tally = store.answered(EVERY_ROUND), store.tally()
        _require_both_kinds(answered)
        answers_text = f"{tally.num_answers:,} answers ({tally.num_unsure:,} unsure)"
        with closing(RoundCheckpoints(workdir / "checkpoints")) as checkpoints:
            provenance = {
                "config": dataclasses.asdict(config),
                "inputs": inputs,
                "num_answers": len(answered.answers),
                "answers_sha256": answers_fingerprint(answered),
            }
            newest = checkpoints.restore_newest()
            if newest and (newest.provenance or {}).get("answers_sha256") == provenance["answers_sha256"]:
                return (
                    "No questions were asked, and nothing has changed: "
                    f"round {newest.round_index} already uses {answers_text}."
                )
            learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
            round_index = newest.round_index + 1 if newest else 0
            params, _ = fit_answers(config, dataset, learner, answered, round_index)
            checkpoints.save(round_index, checkpoint_state(learner, params), provenance=provenance)
    return f"Trained on the groups that {answers_text} imply; no questions were asked."


def _require_both_kinds(answered: Answered) -> None:
    sure = answered.answers[answered.answers != Answer.UNSURE]
    if len(set(sure.tolist())) < 2:
        raise ConfigError(
            f"the {len(sure)} answers do not hold both similar and dissimilar pairs; answer some more with "
            "launch/annotate.py."
        )


def answers_fingerprint(answered: Answered) -> str:
    """Return the SHA-256 that identifies the answers a checkpoint was trained on."""
    digest = hashlib.sha256(answered.pair_indices.tobytes())
    digest.update(answered.answers.tobytes())
    return digest.hexdigest()
