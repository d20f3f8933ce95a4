"""Trains on a snapshot of the answers in a process of its own, and writes the result.

  python -m anneal_jax.annotation.learning.job FOLDER JOB

FOLDER holds `config.json`, `features.npz` and `JOB.snapshot.npz`; `JOB.result.npz` is written atomically.
The process runs at low priority on one core, ends when its parent does, and never opens the store.
"""

import os
import pathlib
import sys
import threading

NUM_CHOSEN = 64
"""Number of questions that a model chooses in advance, until the next model replaces it."""

_NICENESS = 15
_MIN_SCORED = 20  # out-of-sample similarities needed to set the threshold from these alone


def main() -> None:
    """Run one job."""
    lower_priority()
    train(pathlib.Path(sys.argv[1]), sys.argv[2])


def lower_priority() -> None:
    """Lower the priority, and use one core; must run before any library counts the cores."""
    os.nice(_NICENESS)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # The other end stays open while the server runs. Not `sys.stdin`: a thread that waits on it makes the
    # interpreter abort at exit.
    os.read(0, 1)
    os._exit(1)


def train(folder: pathlib.Path, job: str) -> None:
    """Train on a snapshot, choose the next questions, and write both atomically.

    Raises:
      AnnealError: a file is missing, or the fit diverges.
    """
    import dataclasses

    import numpy as np

    from anneal_jax.annotation.learning.trainer import to_numbers
    from anneal_jax.answers.reading import Answered
    from anneal_jax.experiments.answered_workdir import load_whole_archive
    from anneal_jax.experiments.belief_rounds import fit_answers
    from anneal_jax.experiments.selection import gather_knowledge, select_questions
    from anneal_jax.files import atomic
    from anneal_jax.files.workdir import read_config
    from anneal_jax.training.factory import make_learner
    from anneal_jax.training.learner import represent
    from anneal_jax.training.projection import Projection, to_arrays

    config = read_config(folder)
    config = dataclasses.replace(
        config,
        archive=f"embeddings:{folder / 'features.npz'}",
        acquisition="mgue",
        pairs_per_round=NUM_CHOSEN,
    )
    with np.load(folder / f"{job}.snapshot.npz", allow_pickle=False) as snapshot:
        answered = Answered(*(snapshot[name] for name in Answered._fields))
        reserved = snapshot["reserved"]
        trained_on = {name: snapshot[name] for name in ("set_id", "answer_ids", "pair_indices")}
    dataset = load_whole_archive(config)
    learner = make_learner(config, dataset.archive, dataset.split.train, with_classifier=False)
    knowledge = gather_knowledge(answered, dataset, transitive=config.transitive, reserved=reserved)
    num_answers = len(answered.answers)
    params, outlook = fit_answers(config, dataset, learner, answered, num_answers)
    model = represent(learner, params)
    if config.threshold == "prequential" and np.isfinite(answered.similarities).sum() < _MIN_SCORED:
        config = dataclasses.replace(config, threshold="midpoint")
    chosen = select_questions(config, dataset, learner, answered, knowledge, model, num_answers)
    with atomic.replacing(folder / f"{job}.result.npz") as path:
        arrays = to_arrays(Projection(learner.mean, learner.scale, params.similarity))
        arrays |= {"embeddings": model.embeddings, "chosen": chosen.pair_indices}
        arrays |= to_numbers(outlook)
        np.savez(path, allow_pickle=False, **arrays, **trained_on)


if __name__ == "__main__":
    main()
