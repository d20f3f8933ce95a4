"""One run of active learning. Read this first.

A round asks questions, records the answers, trains on everything known, and measures:

  round 0   ask the first pairs -> answer -> derive -> train -> save -> evaluate -> log
  round r   select with the model of round r - 1 -> answer -> derive -> train -> save -> evaluate -> log

The method (`method`) decides what to ask and to train on; this is the loop around it, the same for all
methods. Every step of a round is committed before the next one begins, in this order: its questions, its
answers (a person's one by one), its checkpoint, its line in `rounds.jsonl`. Committed steps are not
repeated, so a run killed at any moment continues from there, and ends as the uninterrupted run would.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import jax

from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.dataset import class_oracle, fingerprints, load_dataset
from anneal_jax.experiments.distributed import held
from anneal_jax.experiments.method import ANNOTATOR, ORACLE, Fitted, Method, Setup
from anneal_jax.experiments.outcome import Outcome, measure, retrieve
from anneal_jax.experiments.pair_rounds import trains_classifier
from anneal_jax.experiments.registry import METHODS, check_method
from anneal_jax.experiments.round_log import Row, append_round, read_rounds
from anneal_jax.files.workdir import check_config, refuse_annotated, settle_config
from anneal_jax.training.checkpoints import RoundCheckpoints
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import Model, checkpoint_state, represent
from anneal_jax.training.start import settle_side, settle_start
from anneal_jax.types import Annotator, Params


@dataclasses.dataclass(frozen=True)
class _Run:
    """The parts of a run, handed from step to step."""

    setup: Setup
    method: Method
    checkpoints: RoundCheckpoints
    provenance: dict[str, Any]


def run_experiment(
    config: ExperimentConfig,
    workdir: str | pathlib.Path,
    *,
    annotator: Annotator | None = None,
    on_round: Callable[[Row], object] = lambda row: None,
) -> Outcome:
    """Run active learning in a workdir, or continue an earlier run.

    Args:
      config: the settings. In an existing workdir only `rounds` may grow.
      workdir: folder for all results of the run; created if missing.
      annotator: answers the questions; by default an oracle that knows the class labels.
      on_round: called with the row of each new round once it is on disk.

    Returns:
      The outcome; `workdir` contains the rounds, the checkpoints and, if somebody was asked, the answers.

    Raises:
      AnnealError: a setting, the archive or the workdir cannot be used; the message says what to do.
    """
    with held(pathlib.Path(workdir)) as workdir:
        refuse_annotated(workdir)
        config = settle_start(config, workdir)
        check_config(workdir, config)
        check_method(config)
        dataset = load_dataset(config)
        config = settle_side(config, dataset.archive)
        learner = make_learner(
            config, dataset.archive, dataset.split.train, with_classifier=trains_classifier(config)
        )
        inputs = fingerprints(config, dataset)
        settle_config(workdir, config, inputs)
        answers = (annotator, ANNOTATOR) if annotator else (class_oracle(config, dataset), ORACLE)
        setup = Setup(config, dataset, learner, workdir, *answers)
        provenance = {"config": dataclasses.asdict(config), "inputs": inputs}
        with (
            closing(RoundCheckpoints(workdir / "checkpoints")) as checkpoints,
            METHODS[config.supervision].open(setup) as method,
        ):
            return _run_rounds(_Run(setup, method, checkpoints, provenance), on_round)


def _run_rounds(run: _Run, on_round: Callable[[Row], object]) -> Outcome:
    method, dataset = run.method, run.setup.dataset
    rows, model = _resume(run)
    num_old, notes, retrieval = len(rows), list(dataset.archive.notes), None
    for round_index in range(num_old, method.num_rounds):
        if reason := method.ask(round_index, model):
            notes.append(f"{reason} The run ended there.")
            break
        method.answer(round_index)
        fitted = _fit_and_save(run, round_index, model.params if model else None)
        model = represent(run.setup.learner, fitted.params)
        retrieval, figures = measure(dataset, model)
        row = dataclasses.replace(fitted.row, **figures).to_row()
        append_round(run.setup.log_path, row)
        on_round(row)
        num_asked = row["bits_spent"] - (rows[-1]["bits_spent"] if rows else 0)
        rows.append(row)
        if round_index and num_asked < method.questions_per_round:
            notes.append(f"Round {round_index} asked {num_asked:,} questions, because no more were left.")
    assert model is not None  # round 0 exists, or raised an error
    if retrieval is None:  # every round existed
        retrieval = retrieve(dataset, model)
    return Outcome(dataset, rows, retrieval, tuple(notes), len(rows) - num_old)


def _fit_and_save(run: _Run, round_index: int, previous: Params | None) -> Fitted:
    start = time.perf_counter()
    fitted = run.method.fit(round_index, previous)
    jax.block_until_ready(fitted.params)
    train_s = time.perf_counter() - start
    if run.method.saves_every_round or round_index == run.method.num_rounds - 1:
        provenance = {**run.provenance, "num_answers": fitted.num_answers}
        state = checkpoint_state(run.setup.learner, fitted.params)
        run.checkpoints.save(round_index, state, provenance=provenance)
    return fitted._replace(row=dataclasses.replace(fitted.row, train_s=train_s))


def _resume(run: _Run) -> tuple[list[Row], Model | None]:
    """Return the finished rounds and the model of the last; none and None to start from round 0."""
    rows = read_rounds(run.setup.log_path)
    if rows and (params := _restore(run, len(rows) - 1)) is not None:
        return rows, represent(run.setup.learner, params)
    run.setup.log_path.unlink(missing_ok=True)
    return [], None


def _restore(run: _Run, last_round: int) -> Params | None:
    """Return the parameters of a finished round; None if the method must start again.

    If its checkpoint is damaged, the rounds since the newest intact one are trained again, without asking
    questions, because the answers are in the store.
    """
    method = run.method
    if not method.saves_every_round and last_round < method.num_rounds - 1:
        return None
    template = checkpoint_state(run.setup.learner, method.template())
    found = run.checkpoints.restore_newest(last_round, template)
    params, first_lost = (found.state["params"], found.round_index + 1) if found else (None, 0)
    if not method.saves_every_round:
        return None if first_lost <= last_round else params
    for round_index in range(first_lost, last_round + 1):
        params = _fit_and_save(run, round_index, params).params
    return params
