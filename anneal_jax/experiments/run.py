"""One run of active learning. Read this first.

A round asks questions, records the answers, trains on everything known, and measures:

  round 0   ask the first pairs -> answer -> derive -> train -> save -> evaluate -> log
  round r   select with the model of round r - 1 -> answer -> derive -> train -> save -> evaluate -> log

Everything a round leaves is committed before the next step begins, in this order: its questions, its
answers (a person's one by one), its checkpoint, its line in `rounds.jsonl`. What is there is not done
again, so that a run killed at any moment goes on from there, and ends as the unbroken run would.
"""

import dataclasses
import pathlib
import time
from collections.abc import Callable
from contextlib import closing

import jax
import numpy as np
from tqdm import tqdm

from anneal_jax.acquisition.beliefs.session import BeliefSession, add_answer, ask_next, replay
from anneal_jax.acquisition.beliefs.state import Beliefs
from anneal_jax.acquisition.registry import get_acquisition
from anneal_jax.answers.store import AnswerStore
from anneal_jax.answers.writing import Given
from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError, WorkdirError
from anneal_jax.evaluation.retrieval_quality import Retrieval
from anneal_jax.experiments.belief_rounds import fit_beliefs, open_belief_session
from anneal_jax.experiments.dataset import Dataset, class_oracle, fingerprints, load_dataset
from anneal_jax.experiments.distributed import held
from anneal_jax.experiments.label_baselines import check_label_baseline, run_label_baseline
from anneal_jax.experiments.outcome import Outcome, measure, retrieve
from anneal_jax.experiments.pair_rounds import (
    Knowledge,
    SelectedPairs,
    draw_first_pairs,
    gather_knowledge,
    questions_per_round,
    select_questions,
)
from anneal_jax.experiments.round_log import Row, append_round, read_rounds
from anneal_jax.files.workdir import check_config, is_annotated, settle_config
from anneal_jax.training.checkpoints import RoundCheckpoints
from anneal_jax.training.factory import make_learner
from anneal_jax.training.learner import Learner, Model, checkpoint_state, represent
from anneal_jax.types import Annotator, Answer, Params

ASKING = ("pairs", "belief_ask")
"""Kinds of supervision that put questions to somebody."""

ORACLE, ANNOTATOR = "oracle", "annotator"

ORACLE_ANSWERS_PER_COMMIT = 64
"""An oracle answers faster than a disk flushes, and can be asked again; a person cannot."""


@dataclasses.dataclass(frozen=True)
class _Run:
    """The parts of a run, handed from step to step."""

    config: ExperimentConfig
    dataset: Dataset
    learner: Learner
    store: AnswerStore
    checkpoints: RoundCheckpoints
    annotator: Annotator
    annotator_name: str
    log_path: pathlib.Path
    inputs: dict[str, str]
    session: BeliefSession | None


def run_experiment(
    config: ExperimentConfig,
    workdir: str | pathlib.Path,
    *,
    annotator: Annotator | None = None,
    on_round: Callable[[Row], object] = lambda row: None,
) -> Outcome:
    """Run, or go on with, active learning in a workdir.

    Args:
      config: the settings. In an old workdir only `rounds` may grow.
      workdir: folder for everything the run leaves; made where it is absent.
      annotator: who answers; by default an oracle that knows the class labels.
      on_round: called with the row of each new round, once it is on disk.

    Returns:
      The outcome; `workdir` holds `config.json`, `rounds.jsonl`, `answers.sqlite` and `checkpoints/`.

    Raises:
      AnnealError: a setting, the archive or the workdir cannot be used; the message says what to do.
    """
    with held(pathlib.Path(workdir)) as workdir:
        _refuse_annotated(workdir)
        check_config(workdir, config)
        check_label_baseline(config)
        dataset = load_dataset(config)
        learner = make_learner(
            config, dataset.archive, dataset.split.train, with_classifier=_trains_classifier(config)
        )
        inputs = fingerprints(config, dataset)
        settle_config(workdir, config, inputs)
        if config.supervision not in ASKING:
            return run_label_baseline(config, dataset, learner, workdir, inputs=inputs, on_round=on_round)
        with (
            closing(RoundCheckpoints(workdir / "checkpoints")) as checkpoints,
            closing(AnswerStore(workdir / "answers.sqlite", dataset.archive.ids)) as store,
        ):
            run = _Run(
                config,
                dataset,
                learner,
                store,
                checkpoints,
                annotator or class_oracle(config, dataset),
                ANNOTATOR if annotator else ORACLE,
                workdir / "rounds.jsonl",
                inputs,
                open_belief_session(config, dataset, learner)
                if config.supervision == "belief_ask"
                else None,
            )
            return _run_rounds(run, on_round)


def _refuse_annotated(workdir: pathlib.Path) -> None:
    if is_annotated(workdir):
        raise WorkdirError(
            f"{workdir} holds a person's answers, to which an oracle adds none; train on them with "
            f"launch/run.py --workdir={workdir}, without --config, or give another workdir."
        )


def _trains_classifier(config: ExperimentConfig) -> bool:
    is_wanted = config.train_classifier == "always" or get_acquisition(config.acquisition).needs_classifier
    return config.supervision == "pairs" and is_wanted


def _run_rounds(run: _Run, on_round: Callable[[Row], object]) -> Outcome:
    notes = list(run.dataset.archive.notes)
    rows = read_rounds(run.log_path)
    num_old = len(rows)
    model = _restore(run, num_old - 1) if num_old else None
    beliefs: Beliefs | None = None
    retrieval: Retrieval | None = None
    for round_index in range(num_old, run.config.rounds + 1):
        if not _ask(run, round_index, model):  # `belief_ask` chooses its questions as it asks them
            if model is None:
                num_images = len(run.dataset.split.train)
                raise ConfigError(
                    f"the {num_images} training tiles hold no pair to ask first; raise train_fraction, or "
                    "give an archive with more different tiles."
                )
            notes.append(f"{_why_it_ended(run, round_index - 1)} The run ended there.")
            break
        if run.session is None:
            _annotate(run, round_index)
        else:
            beliefs = _converse(run, run.session, round_index, beliefs)
        model, retrieval, row = _learn(run, round_index, model, beliefs)
        append_round(run.log_path, row)
        on_round(row)
        num_asked = row["bits_spent"] - (rows[-1]["bits_spent"] if rows else 0)
        rows.append(row)
        if round_index and num_asked < questions_per_round(run.config, run.dataset):
            notes.append(f"Round {round_index} asked {num_asked:,} questions: no more were left.")
    assert model is not None  # round 0 is there, or was refused
    if retrieval is None:  # every round was there
        retrieval = retrieve(run.dataset, model)
    return Outcome(run.dataset, rows, retrieval, tuple(notes), len(rows) - num_old)


def _why_it_ended(run: _Run, last_round: int) -> str:
    if run.session is not None:
        return f"No question was left after round {last_round}: no tile's group is in doubt any more."
    return (
        f"The pool was empty after round {last_round}: every pair of training tiles is answered, or "
        "follows from answers."
    )


def _ask(run: _Run, round_index: int, model: Model | None) -> bool:
    """Commit the round's questions unless they stand already; False where the pool is empty."""
    if run.store.facts(round_index) is not None:
        return True
    if run.session is not None:
        if model is None and ask_next(run.session, run.session.start)[1] is None:
            return False
        was_cut_short = round_index and len(
            run.store.answered(round_index - 1).answers
        ) < _num_belief_questions(run, round_index - 1)
        if was_cut_short:  # nothing was left to ask
            return False
        run.store.add_round(round_index, np.empty((0, 2), np.int32), facts={"select_s": 0.0})
        return True
    start = time.perf_counter()
    if model is None:
        selected = SelectedPairs(draw_first_pairs(run.config, run.dataset), None, {})
    else:
        knowledge = _knowledge(run, round_index - 1)
        selected = select_questions(
            run.config, run.dataset, run.learner, run.store, knowledge, model, round_index
        )
    if not len(selected.pair_indices):
        return False
    facts = {**selected.facts, "select_s": time.perf_counter() - start}
    run.store.add_round(round_index, selected.pair_indices, similarities=selected.similarities, facts=facts)
    return True


def _annotate(run: _Run, round_index: int) -> None:
    """Have every open question of a round answered; a person's answer is on disk at once."""
    per_commit = ORACLE_ANSWERS_PER_COMMIT if run.annotator_name == ORACLE else 1
    pending: list[tuple[int, Answer]] = []
    questions = run.store.unanswered(round_index)
    for question in tqdm(questions, f"round {round_index}: answers", leave=False, disable=None):
        pending.append((question.question_id, run.annotator(question.first, question.second)))
        if len(pending) >= per_commit:
            run.store.record_all(pending, annotator=run.annotator_name)
            pending = []
    run.store.record_all(pending, annotator=run.annotator_name)


def _converse(run: _Run, session: BeliefSession, round_index: int, beliefs: Beliefs | None) -> Beliefs:
    """Ask the round's questions one by one, each chosen with all answers before it."""
    per_commit = ORACLE_ANSWERS_PER_COMMIT if run.annotator_name == ORACLE else 1
    answered = run.store.answered(round_index)
    if beliefs is None:
        beliefs = replay(session, answered)
    num_open = _num_belief_questions(run, round_index) - len(answered.answers)
    pending: list[Given] = []
    for _ in tqdm(range(num_open), f"round {round_index}: answers", leave=False, disable=None):
        beliefs, pair = ask_next(session, beliefs)
        if pair is None:
            break
        answer = run.annotator(*pair)
        beliefs = add_answer(session, beliefs, *pair, answer)
        pending.append(Given(*pair, answer, run.annotator_name, kind="training"))
        if len(pending) >= per_commit:
            run.store.give(pending)
            pending = []
    run.store.give(pending)
    return beliefs


def _num_belief_questions(run: _Run, round_index: int) -> int:
    """Return how many questions `belief_ask` has put after a round: as many as pairs would cost."""
    first = len(draw_first_pairs(run.config, run.dataset))
    return first + round_index * questions_per_round(run.config, run.dataset)


def _knowledge(run: _Run, last_round: int) -> Knowledge:
    return gather_knowledge(
        run.store.answered(last_round),
        run.dataset,
        transitive=run.config.transitive,
        reserved=run.store.audited_pairs(),
    )


def _learn(
    run: _Run, round_index: int, previous: Model | None, beliefs: Beliefs | None
) -> tuple[Model, Retrieval, Row]:
    """Train on all that is known, save the result, and measure it."""
    start = time.perf_counter()
    knowledge = _knowledge(run, round_index)
    params = _fit(run, round_index, knowledge, previous.params if previous else None, beliefs)
    train_s = time.perf_counter() - start
    _save(run, round_index, params)
    model = represent(run.learner, params)
    retrieval, figures = measure(run.dataset, model)
    return (
        model,
        retrieval,
        {
            "round_index": round_index,
            **_facts(run, round_index, knowledge),
            **figures,
            "train_s": train_s,
        },
    )


def _fit(
    run: _Run, round_index: int, knowledge: Knowledge, previous: Params | None, beliefs: Beliefs | None
) -> Params:
    use = f"round {round_index}: train"
    if run.session is not None:
        beliefs = beliefs or replay(run.session, run.store.answered(round_index))
        return jax.block_until_ready(fit_beliefs(run.session, beliefs, run.learner, round_index, use=use))
    return jax.block_until_ready(
        run.learner.fit_pairs(knowledge.training_pairs, round_index, previous, use=use)
    )


def _save(run: _Run, round_index: int, params: Params) -> None:
    provenance = {
        "config": dataclasses.asdict(run.config),
        "inputs": run.inputs,
        "num_answers": len(run.store.answered(round_index).answers),
    }
    run.checkpoints.save(round_index, checkpoint_state(run.learner, params), provenance=provenance)


def _restore(run: _Run, round_index: int) -> Model:
    """Return the model of a finished round; where its checkpoint is damaged, train it again.

    That begins at the newest sound checkpoint and asks nothing: the answers are in the store.
    """
    if run.store.facts(round_index) is None:
        raise WorkdirError(
            f"{run.log_path} tells of round {round_index}, and the answer store beside it does not: it was "
            "emptied or replaced. Restore answers.sqlite, or begin in a new workdir."
        )
    heads = run.learner.template()
    if run.session is not None:
        heads = run.learner.beside_features(heads, 0.0)
    template = checkpoint_state(run.learner, heads)
    found = run.checkpoints.restore_newest(round_index, template)
    params = found.state["params"] if found else None
    for again in range(found.round_index + 1 if found else 0, round_index + 1):
        params = _fit(run, again, _knowledge(run, again), params, None)
        _save(run, again, params)
    assert params is not None
    return represent(run.learner, params)


def _facts(run: _Run, round_index: int, knowledge: Knowledge) -> Row:
    answers = run.store.answered(round_index)
    usable = answers.answers[(answers.round_indices == round_index) & (answers.answers != Answer.UNSURE)]
    facts = run.store.facts(round_index) or {}
    return {
        "bits_spent": round(run.store.tally(round_index).bits_spent),
        "num_labelled_pairs": len(knowledge.labelled.labels),
        "num_derived_pairs": len(knowledge.derived.pair_labels),
        "num_contradictory_pairs": knowledge.derived.num_contradictory,
        "yes_share": float(np.mean(usable == Answer.SIMILAR)) if usable.size else None,
        "threshold": facts.get("threshold"),
        "threshold_lower": facts.get("threshold_lower"),
        "threshold_upper": facts.get("threshold_upper"),
        "selection_certified": facts.get("selection_certified"),
        "selection_band": facts.get("selection_band"),
        "selection_band_complete": facts.get("selection_band_complete"),
        "pool_share": facts.get("pool_share"),
        "select_s": facts["select_s"],
    }
