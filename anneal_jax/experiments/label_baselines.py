"""One run of a rival of active learning on pairs: class labels, groups, or all pairs at once.

These are simulations, answered from the archive's labels. They write the same rows as active learning on
pairs, at the same costs, from the same split and seeds, so that one table holds both. Nothing is asked of
a person, so a run that was killed starts again; a finished one is only read.

| supervision | what is paid for | cost |
|---|---|---|
| `class_labels` | every training image's class, at once | log2 C bits a label |
| `random_labels` | classes of random images, trained anew each round | log2 C bits a label |
| `tcal`, `tcal_igarss` | classes of images that a classifier is unsure about | log2 C bits a label |
| `tcal_random` | classes of random images, for the same classifier | log2 C bits a label |
| `group_ask` | "same as this group?", image after image | 1 bit a question |
| `all_pairs` | every pair of training images | 1 bit a pair |
"""

import dataclasses
import functools
import math
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import NamedTuple

import jax
import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.group_ask import group_by_asking
from anneal_jax.acquisition.image_acquisitions import IMAGE_ACQUISITIONS, ImagePool
from anneal_jax.config import ExperimentConfig
from anneal_jax.errors import ConfigError
from anneal_jax.evaluation.retrieval_quality import Retrieval
from anneal_jax.experiments.dataset import Problem, class_oracle
from anneal_jax.experiments.outcome import Outcome, measure, retrieve
from anneal_jax.experiments.pair_rounds import draw_first_pairs, questions_per_round
from anneal_jax.experiments.round_log import Row, append_round, read_rounds
from anneal_jax.pairs.canonical import count_pairs
from anneal_jax.pairs.drawing import draw_anchors, draw_random_pairs
from anneal_jax.seeds import Use, host_rng, host_seed
from anneal_jax.training.checkpoints import RoundCheckpoints
from anneal_jax.training.classes import ClassLearner, as_head_params
from anneal_jax.training.frozen import FrozenLearner
from anneal_jax.training.learner import (
    Learner,
    TrainingPairs,
    centred,
    checkpoint_state,
    represent,
)
from anneal_jax.types import IntArray, Params


class Lesson(NamedTuple):
    """One round of a label experiment: what was paid for, and what was learnt from it.

    Attributes:
      params: the trained model, in the shape that the learner embeds with.
      bits_spent: so far.
      num_labelled_images: whose class or group is known.
      num_labelled_pairs: whose label is known.
      select_s: seconds it took to choose what to pay for.
    """

    params: Params
    bits_spent: int
    num_labelled_images: int = 0
    num_labelled_pairs: int = 0
    select_s: float = 0.0


class Course(NamedTuple):
    """All rounds of a label experiment.

    Attributes:
      num_rounds: how many there are.
      lessons: the rounds, each computed when it is asked for.
    """

    num_rounds: int
    lessons: Iterator[Lesson]


def check_rival(config: ExperimentConfig) -> None:
    """Refuse a rival that does not exist as it is configured.

    Raises:
      ConfigError: the rival exists in the frozen regime only, or asks nobody who could err.
    """
    if config.supervision in NOBODY_ASKED and (config.oracle_wrong or config.oracle_unsure):
        raise ConfigError(
            f"supervision={config.supervision!r} takes the true labels and asks nobody, so oracle_wrong "
            "and oracle_unsure would change nothing; leave them at 0."
        )
    if config.regime != "frozen" and config.supervision in FROZEN_ONLY:
        raise ConfigError(
            f"supervision={config.supervision!r} exists in the frozen regime only; give regime='frozen'."
        )


def run_label_experiment(
    config: ExperimentConfig,
    problem: Problem,
    learner: Learner,
    workdir: pathlib.Path,
    *,
    inputs: Mapping[str, str] | None = None,
    on_round: Callable[[Row], object] = lambda row: None,
) -> Outcome:
    """Run a rival of active learning on pairs, unless it is finished.

    Args:
      config: the settings; `supervision` names the rival.
      problem: the archive and its split.
      learner: of the configured regime, without a pair classifier.
      workdir: an existing folder; gets `rounds.jsonl` and the last round's checkpoint.
      inputs: fingerprint of each thing that the settings name by a path, for the checkpoint.
      on_round: called with the row of each new round, once it is on disk.
    """
    course = COURSES[config.supervision](config, problem, learner)
    log_path = workdir / "rounds.jsonl"
    rows = read_rounds(log_path)
    with closing(RoundCheckpoints(workdir / "checkpoints")) as checkpoints:
        params = _restore(course, learner, checkpoints) if len(rows) == course.num_rounds else None
        num_old = 0 if params is None else len(rows)
        if params is None:
            provenance = {
                "config": dataclasses.asdict(config),
                "inputs": dict(inputs or {}),
                "num_answers": 0,
            }
            save = functools.partial(checkpoints.save, provenance=provenance)
            log_path.unlink(missing_ok=True)
            rows, found = _take(course, problem, learner, save, log_path, on_round)
        else:
            found = retrieve(problem, represent(learner, params))
    return Outcome(problem, rows, found, tuple(problem.archive.notes), len(rows) - num_old)


def _restore(course: Course, learner: Learner, checkpoints: RoundCheckpoints) -> Params | None:
    """Return the last round's parameters; None, and a warning, where its checkpoint is damaged."""
    template = checkpoint_state(learner, learner.template())
    found = checkpoints.restore_newest(course.num_rounds - 1, template)
    return found.state["params"] if found and found.round_index == course.num_rounds - 1 else None


def _take(
    course: Course,
    problem: Problem,
    learner: Learner,
    save: Callable[[int, Params], None],
    log_path: pathlib.Path,
    on_round: Callable[[Row], object],
) -> tuple[list[Row], Retrieval]:
    rows, found, start = [], None, time.perf_counter()
    for round_index, lesson in enumerate(course.lessons):
        params = jax.block_until_ready(lesson.params)
        train_s = time.perf_counter() - start - lesson.select_s
        if round_index == course.num_rounds - 1:  # before the row that ends the run
            save(round_index, checkpoint_state(learner, params))
        found, figures = measure(problem, represent(learner, params))
        rows.append(_row(round_index, lesson, figures, train_s))
        append_round(log_path, rows[-1])
        on_round(rows[-1])
        start = time.perf_counter()
    assert found is not None  # a course has at least one lesson
    return rows, found


def class_count(problem: Problem) -> int:
    """Return C, the number of classes among the training images, at least two."""
    return max(2, len(np.unique(problem.labels[problem.split.train])))


def bits_per_label(problem: Problem) -> float:
    """Return what one class label costs, log2 C bits."""
    return math.log2(class_count(problem))


def bit_grid(config: ExperimentConfig, problem: Problem) -> npt.NDArray[np.int64]:
    """Return the bits that active learning on pairs has spent after each round, int64[rounds + 1]."""
    per_round = questions_per_round(config, problem)
    return len(draw_first_pairs(config, problem)) + per_round * np.arange(config.rounds + 1)


def _class_labels(config: ExperimentConfig, problem: Problem, learner: Learner) -> Course:
    """Train on every training image's class: the upper bound of labels."""
    del config
    train = problem.split.train
    bits = np.array([round(len(train) * bits_per_label(problem))])
    return _on_groups(learner, train, problem.labels[train], np.array([len(train)]), bits)


def _random_labels(config: ExperimentConfig, problem: Problem, learner: Learner) -> Course:
    """Train on the classes of as many random images as each budget of the grid pays for."""
    images = host_rng(config.seed, 0, Use.SELECTION).permutation(problem.split.train)
    counts = (bit_grid(config, problem) / bits_per_label(problem)).astype(np.int64).clip(1, len(images))
    bits = np.rint(counts * bits_per_label(problem)).astype(np.int64)
    return _on_groups(learner, images, problem.labels[images], counts, bits)


def _group_ask(config: ExperimentConfig, problem: Problem, learner: Learner) -> Course:
    """Train on the groups that as many questions as each budget of the grid allows have found."""
    images = host_rng(config.seed, 0, Use.SELECTION).permutation(problem.split.train)
    features = centred(learner.features(None), problem.split.train)
    found = group_by_asking(images, features, class_oracle(config, problem))
    counts = np.searchsorted(found.questions, bit_grid(config, problem), side="right")
    return _on_groups(learner, images, found.groups, counts, found.questions[counts - 1])


def _on_groups(
    learner: Learner,
    images: IntArray,
    groups: IntArray,
    counts: npt.NDArray[np.int64],
    bits: npt.NDArray[np.int64],
) -> Course:
    """Train anew on the first of the images, more each round, until all are known."""
    num_rounds = np.count_nonzero(counts < len(images)) + 1
    counts, bits = counts[:num_rounds], bits[:num_rounds]

    def lessons() -> Iterator[Lesson]:
        for round_index, (count, spent) in enumerate(zip(counts, bits, strict=True)):
            use = f"round {round_index}: train"
            params = learner.fit_classes(images[:count], groups[:count], round_index, use=use)
            yield Lesson(params, int(spent), int(count))

    return Course(len(counts), lessons())


def _tcal(config: ExperimentConfig, problem: Problem, learner: Learner) -> Course:
    """Let a class classifier choose whose class is asked next; search by its last hidden layer.

    The first labelled images are those that the paper's first pairs are drawn around.
    """
    choose = IMAGE_ACQUISITIONS[config.supervision]
    assert isinstance(learner, FrozenLearner)
    train = problem.split.train
    classes = np.unique(problem.labels[train], return_inverse=True)[1].astype(np.int32)
    model = ClassLearner(learner, class_count(problem))
    first = draw_anchors(host_rng(config.seed, 0, Use.INITIAL_PAIRS), len(train), config.initial_fraction)
    counts = _tcal_counts(config, problem, len(first))

    def lessons() -> Iterator[Lesson]:
        is_labelled, heads = np.isin(np.arange(len(train)), first), None
        for round_index, count in enumerate(counts):
            start = time.perf_counter()
            if heads is not None:
                rest = np.flatnonzero(~is_labelled)
                seed = host_seed(config.seed, round_index, Use.SELECTION)
                embeddings = learner.embed(as_head_params(heads), learner.stored_features[train[rest]])
                pool = ImagePool(embeddings, model.logits(heads)[train[rest]], seed)
                is_labelled[rest[choose(pool, count - is_labelled.sum())]] = True
            select_s = time.perf_counter() - start
            heads = model.fit(train[is_labelled], classes[is_labelled], round_index)
            spent = round(count * bits_per_label(problem))
            yield Lesson(as_head_params(heads), spent, int(count), select_s=select_s)

    return Course(len(counts), lessons())


def _tcal_counts(config: ExperimentConfig, problem: Problem, num_first: int) -> list[int]:
    """Return the number of labels after each round: as many more bits a round as pairs would cost."""
    per_round = questions_per_round(config, problem) / bits_per_label(problem)
    most = min(len(problem.split.train), int(config.tcal_bits / bits_per_label(problem)))
    num_rounds = max(0, math.ceil((most - num_first) / per_round))
    return [num_first + math.floor(index * per_round) for index in range(num_rounds)] + [
        max(num_first, most)
    ]


def _all_pairs(config: ExperimentConfig, problem: Problem, learner: Learner) -> Course:
    """Train on the true labels of all pairs, or of as many as the steps can visit, many steps long."""
    assert isinstance(learner, FrozenLearner)
    long_learner = dataclasses.replace(learner, num_steps=config.all_pairs_steps)
    train = problem.split.train
    total = count_pairs(len(train))

    def lessons() -> Iterator[Lesson]:
        rng = host_rng(config.seed, 0, Use.SELECTION)
        most = config.all_pairs_steps * config.batch_size
        pairs = train[draw_random_pairs(rng, len(train), most, known=np.empty(0, np.int64))]
        first, second = problem.labels[pairs].T
        labelled = TrainingPairs(pairs, (first == second).astype(np.int8))
        yield Lesson(
            long_learner.fit_pairs(labelled, 0, None, use="all pairs: train"),
            total,
            num_labelled_pairs=total,
        )

    return Course(1, lessons())


COURSES: Mapping[str, Callable[[ExperimentConfig, Problem, Learner], Course]] = {
    "all_pairs": _all_pairs,
    "class_labels": _class_labels,
    "group_ask": _group_ask,
    "random_labels": _random_labels,
    "tcal": _tcal,
    "tcal_igarss": _tcal,
    "tcal_random": _tcal,
}
"""Every rival, by the name that `supervision` gives it."""

FROZEN_ONLY = ("all_pairs", "tcal", "tcal_igarss", "tcal_random")
"""Rivals without a form that fine-tunes the backbone."""

NOBODY_ASKED = tuple(name for name in COURSES if name != "group_ask")
"""Rivals that take labels as they are."""


def _row(round_index: int, lesson: Lesson, figures: Row, train_s: float) -> Row:
    """Return a line of the log, with the fields that a round of pairs has and no label has as null."""
    return {
        "round_index": round_index,
        "bits_spent": lesson.bits_spent,
        "num_labelled_images": lesson.num_labelled_images,
        "num_labelled_pairs": lesson.num_labelled_pairs,
        "num_derived_pairs": 0,
        "num_contradictory_pairs": 0,
        "yes_share": None,
        "threshold": None,
        "threshold_lower": None,
        "threshold_upper": None,
        "selection_certified": None,
        "selection_band": None,
        "selection_band_complete": None,
        "pool_share": None,
        "select_s": lesson.select_s,
        **figures,
        "train_s": train_s,
    }
