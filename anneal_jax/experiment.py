"""One run of active learning. Read this first.

A round asks questions, records the answers, trains on everything known, and measures:

  round 0   ask the first pairs -> answer -> derive -> train -> save -> evaluate -> log
  round r   select with the model of round r - 1 -> answer -> derive -> train -> save -> evaluate -> log

Everything a round leaves is committed before the next step begins, in this order: its questions, each
answer, its checkpoint, its line in `rounds.jsonl`. What is there is not done again, so that a run killed
at any moment goes on from there, and ends as the unbroken run would.
"""

import dataclasses
import math
import pathlib
import time

import jax
import numpy as np
from tqdm import tqdm

from anneal_jax.acquisition.registry import get_acquisition
from anneal_jax.config import ExperimentConfig
from anneal_jax.evaluation import Retrieval, evaluate_retrieval
from anneal_jax.pairs.drawing import draw_class_balanced_pairs, draw_random_pairs
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.pairs.store import AnswerStore
from anneal_jax.problem import Problem, load_problem, make_learner
from anneal_jax.run_log import Row, append_round, read_rounds
from anneal_jax.seeds import Use, host_rng
from anneal_jax.selection import Knowledge, SelectedPairs, gather_knowledge, select_questions
from anneal_jax.training.checkpoints import RoundCheckpoints
from anneal_jax.training.learner import Learner
from anneal_jax.types import Annotator, Answer, PairIndices, Params
from anneal_jax.workdir import locked, settle_config

ORACLE_NAME = "oracle"


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a finished run leaves in memory; everything else lies in its workdir.

    Attributes:
      problem: the archive and its split.
      rows: one per round, as in `rounds.jsonl`.
      retrieval: the last round's five nearest tiles of each query.
      notes: sentences for the user: tiles left out, why the run ended early.
      num_new_rounds: rounds that this call added; 0 where all were there.
    """

    problem: Problem
    rows: list[Row]
    retrieval: Retrieval
    notes: tuple[str, ...]
    num_new_rounds: int


@dataclasses.dataclass(frozen=True)
class _Run:
    """The parts of a run, handed from step to step."""

    config: ExperimentConfig
    problem: Problem
    learner: Learner
    store: AnswerStore
    checkpoints: RoundCheckpoints
    annotator: Annotator
    log_path: pathlib.Path


def run_experiment(
    config: ExperimentConfig, workdir: str | pathlib.Path, *, annotator: Annotator | None = None
) -> Outcome:
    """Run, or go on with, active learning in a workdir.

    Args:
      config: the settings. In an old workdir only `rounds` may grow.
      workdir: folder for everything the run leaves; made where it is absent.
      annotator: who answers; by default an oracle that knows the class labels.

    Returns:
      The outcome; `workdir` holds `config.json`, `rounds.jsonl`, `answers.sqlite` and `checkpoints/`.

    Raises:
      AnnealError: a setting, the archive or the workdir cannot be used; the message says what to do.
    """
    workdir = pathlib.Path(workdir)
    with locked(workdir):
        problem = load_problem(config)
        settle_config(workdir, config)
        acquisition = get_acquisition(config.acquisition)
        run = _Run(
            config,
            problem,
            make_learner(config, problem, with_classifier=acquisition.needs_classifier),
            AnswerStore(workdir / "answers.sqlite", problem.archive.ids),
            RoundCheckpoints(workdir / "checkpoints"),
            annotator or ClassOracle(problem.labels),
            workdir / "rounds.jsonl",
        )
        return _run_rounds(run)


def _run_rounds(run: _Run) -> Outcome:
    notes = list(run.problem.archive.notes)
    rows = read_rounds(run.log_path)
    num_old = len(rows)
    params = _restore(run, num_old - 1) if num_old else None
    last_round = run.config.rounds if run.config.supervision == "pairs" else 0
    for round_index in range(num_old, last_round + 1):
        if run.config.supervision == "pairs" and not _ask(run, round_index, params):
            notes.append(
                f"The pool was empty after round {round_index - 1}: every pair of training tiles is "
                "answered, or follows from answers. The run ended there."
            )
            break
        _annotate(run, round_index)
        params, row = _learn(run, round_index, params)
        append_round(run.log_path, row)
        rows.append(row)
    embeddings = run.learner.embed(params)
    retrieval = evaluate_retrieval(embeddings, run.problem.labels, run.problem.split)
    return Outcome(run.problem, rows, retrieval, tuple(notes), len(rows) - num_old)


def _ask(run: _Run, round_index: int, params: Params | None) -> bool:
    """Commit the round's questions unless they stand already; False where the pool is empty."""
    if run.store.facts(round_index) is not None:
        return True
    start = time.perf_counter()
    if round_index == 0:
        selected = SelectedPairs(_first_pairs(run), None, {})
    else:
        knowledge = _knowledge(run, round_index - 1)
        selected = select_questions(
            run.config, run.problem, run.learner, run.store, knowledge, params, round_index
        )
    if not len(selected.pair_indices):
        return False
    facts = {**selected.facts, "select_s": time.perf_counter() - start}
    run.store.add_round(
        round_index, selected.pair_indices, similarities=selected.similarities, facts=facts
    )
    return True


def _first_pairs(run: _Run) -> PairIndices:
    """Draw the questions of round 0 among the training images."""
    config, train = run.config, run.problem.split.train
    rng = host_rng(config.seed, 0, Use.INITIAL_PAIRS)
    if config.initial_draw == "class_balanced":
        local = draw_class_balanced_pairs(
            rng,
            run.problem.labels[train],
            fraction=config.initial_fraction,
            num_similar=config.initial_partners,
            num_dissimilar=config.initial_partners,
        )
    else:
        count = 2 * config.initial_partners * max(1, round(config.initial_fraction * len(train)))
        local = draw_random_pairs(rng, len(train), count, known=run.problem.identical_in_train)
    return train[local]


def _annotate(run: _Run, round_index: int) -> None:
    """Have every open question of a round answered; each answer is on disk before the next."""
    questions = run.store.unanswered(round_index)
    for question in tqdm(questions, f"round {round_index}: answers", leave=False, disable=None):
        answer = run.annotator(question.first, question.second)
        run.store.record(question.question_id, answer, annotator=ORACLE_NAME)


def _knowledge(run: _Run, last_round: int) -> Knowledge:
    return gather_knowledge(
        run.store.answered(last_round), run.problem, transitive=run.config.transitive
    )


def _learn(run: _Run, round_index: int, previous: Params | None) -> tuple[Params, Row]:
    """Train on all that is known, save the result, and measure it."""
    start = time.perf_counter()
    if run.config.supervision == "class_labels":
        train = run.problem.split.train
        params = run.learner.fit_classes(train, run.problem.labels[train])
        facts = _class_label_facts(run)
    else:
        knowledge = _knowledge(run, round_index)
        params = run.learner.fit_pairs(
            knowledge.training_pairs, round_index, previous, use=f"round {round_index}: train"
        )
        facts = _pair_facts(run, round_index, knowledge)
    jax.block_until_ready(params)
    train_s = time.perf_counter() - start
    state = {
        "params": params,
        "feature_mean": run.learner.mean,
        "feature_scale": run.learner.scale,
    }
    run.checkpoints.save(round_index, state)
    return params, {
        "round_index": round_index,
        **facts,
        **_figures(run, params),
        "train_s": train_s,
    }


def _restore(run: _Run, round_index: int) -> Params:
    template = {
        "params": run.learner.template(),
        "feature_mean": run.learner.mean,
        "feature_scale": run.learner.scale,
    }
    return run.checkpoints.restore(round_index, template)["params"]


def _pair_facts(run: _Run, round_index: int, knowledge: Knowledge) -> Row:
    answers = run.store.answered(round_index)
    usable = answers.answers[
        (answers.round_indices == round_index) & (answers.answers != Answer.UNSURE)
    ]
    facts = run.store.facts(round_index) or {}
    return {
        "bits_spent": len(answers.answers),
        "num_labelled_pairs": len(knowledge.labelled.labels),
        "num_derived_pairs": len(knowledge.derived.pair_labels),
        "num_contradictory_pairs": knowledge.derived.num_contradictory,
        "yes_share": float(np.mean(usable == Answer.SIMILAR)) if usable.size else None,
        "threshold": facts.get("threshold"),
        "threshold_lower": facts.get("threshold_lower"),
        "threshold_upper": facts.get("threshold_upper"),
        "select_s": facts["select_s"],
    }


def _class_label_facts(run: _Run) -> Row:
    """Class labels cost log2 C bits each and are no pairs."""
    train = run.problem.split.train
    num_classes = len(np.unique(run.problem.labels[train]))
    return {
        "bits_spent": round(len(train) * math.log2(num_classes)),
        "num_labelled_pairs": 0,
        "num_derived_pairs": 0,
        "num_contradictory_pairs": 0,
        "yes_share": None,
        "threshold": None,
        "threshold_lower": None,
        "threshold_upper": None,
        "select_s": 0.0,
    }


def _figures(run: _Run, params: Params) -> Row:
    """Measure retrieval by the embeddings, and by the features beside them."""
    labels, split = run.problem.labels, run.problem.split
    found = evaluate_retrieval(run.learner.embed(params), labels, split)
    by_features = evaluate_retrieval(run.learner.features(params), labels, split)
    return {
        "mean_average_precision_at_5": found.mean_average_precision,
        "precision_at_5": found.precision,
        "mean_average_precision_at_5_features": by_features.mean_average_precision,
    }
