"""One run of a label baseline of active learning on pairs: class labels, groups, or all pairs at once.

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
from anneal_jax.experiments.dataset import Dataset, class_oracle
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


class BaselineRound(NamedTuple):
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


class Baseline(NamedTuple):
    """All rounds of a label baseline.

    Attributes:
      num_rounds: how many there are.
      rounds: the rounds, each computed when it is asked for.
    """

    num_rounds: int
    rounds: Iterator[BaselineRound]


def check_label_baseline(config: ExperimentConfig) -> None:
    """Refuse a baseline that does not exist as it is configured.

    Raises:
      ConfigError: the baseline exists in the frozen regime only, or asks nobody who could err.
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


def run_label_baseline(
    config: ExperimentConfig,
    dataset: Dataset,
    learner: Learner,
    workdir: pathlib.Path,
    *,
    inputs: Mapping[str, str] | None = None,
    on_round: Callable[[Row], object] = lambda row: None,
) -> Outcome:
    """Run a label baseline, unless it is finished.

    Args:
      config: the settings; `supervision` names the baseline.
      dataset: the archive and its split.
      learner: of the configured regime, without a pair classifier.
      workdir: an existing folder; gets `rounds.jsonl` and the last round's checkpoint.
      inputs: fingerprint of each thing that the settings name by a path, for the checkpoint.
      on_round: called with the row of each new round, once it is on disk.
    """
    baseline = LABEL_BASELINES[config.supervision](config, dataset, learner)
    log_path = workdir / "rounds.jsonl"
    rows = read_rounds(log_path)
    with closing(RoundCheckpoints(workdir / "checkpoints")) as checkpoints:
        params = _restore(baseline, learner, checkpoints) if len(rows) == baseline.num_rounds else None
        num_old = 0 if params is None else len(rows)
        if params is None:
            provenance = {
                "config": dataclasses.asdict(config),
                "inputs": dict(inputs or {}),
                "num_answers": 0,
            }
            save = functools.partial(checkpoints.save, provenance=provenance)
            log_path.unlink(missing_ok=True)
            rows, found = _run(baseline, dataset, learner, save, log_path, on_round)
        else:
            found = retrieve(dataset, represent(learner, params))
    return Outcome(dataset, rows, found, tuple(dataset.archive.notes), len(rows) - num_old)


def _restore(baseline: Baseline, learner: Learner, checkpoints: RoundCheckpoints) -> Params | None:
    """Return the last round's parameters; None, and a warning, where its checkpoint is damaged."""
    template = checkpoint_state(learner, learner.template())
    found = checkpoints.restore_newest(baseline.num_rounds - 1, template)
    return found.state["params"] if found and found.round_index == baseline.num_rounds - 1 else None


def _run(
    baseline: Baseline,
    dataset: Dataset,
    learner: Learner,
    save: Callable[[int, Params], None],
    log_path: pathlib.Path,
    on_round: Callable[[Row], object],
) -> tuple[list[Row], Retrieval]:
    rows, found, start = [], None, time.perf_counter()
    for round_index, baseline_round in enumerate(baseline.rounds):
        params = jax.block_until_ready(baseline_round.params)
        train_s = time.perf_counter() - start - baseline_round.select_s
        if round_index == baseline.num_rounds - 1:  # before the row that ends the run
            save(round_index, checkpoint_state(learner, params))
        found, figures = measure(dataset, represent(learner, params))
        rows.append(_row(round_index, baseline_round, figures, train_s))
        append_round(log_path, rows[-1])
        on_round(rows[-1])
        start = time.perf_counter()
    assert found is not None  # a baseline has at least one round
    return rows, found


def class_count(dataset: Dataset) -> int:
    """Return C, the number of classes among the training images, at least two."""
    return max(2, len(np.unique(dataset.labels[dataset.split.train])))


def bits_per_label(dataset: Dataset) -> float:
    """Return what one class label costs, log2 C bits."""
    return math.log2(class_count(dataset))


def bit_grid(config: ExperimentConfig, dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return the bits that active learning on pairs has spent after each round, int64[rounds + 1]."""
    per_round = questions_per_round(config, dataset)
    return len(draw_first_pairs(config, dataset)) + per_round * np.arange(config.rounds + 1)


def _class_labels(config: ExperimentConfig, dataset: Dataset, learner: Learner) -> Baseline:
    """Train on every training image's class: the upper bound of labels."""
    del config
    train = dataset.split.train
    bits = np.array([round(len(train) * bits_per_label(dataset))])
    return _on_groups(learner, train, dataset.labels[train], np.array([len(train)]), bits)


def _random_labels(config: ExperimentConfig, dataset: Dataset, learner: Learner) -> Baseline:
    """Train on the classes of as many random images as each budget of the grid pays for."""
    images = host_rng(config.seed, 0, Use.SELECTION).permutation(dataset.split.train)
    counts = (bit_grid(config, dataset) / bits_per_label(dataset)).astype(np.int64).clip(1, len(images))
    bits = np.rint(counts * bits_per_label(dataset)).astype(np.int64)
    return _on_groups(learner, images, dataset.labels[images], counts, bits)


def _group_ask(config: ExperimentConfig, dataset: Dataset, learner: Learner) -> Baseline:
    """Train on the groups that as many questions as each budget of the grid allows have found."""
    images = host_rng(config.seed, 0, Use.SELECTION).permutation(dataset.split.train)
    features = centred(learner.features(learner.template()), dataset.split.train)
    found = group_by_asking(images, features, class_oracle(config, dataset))
    counts = np.searchsorted(found.questions, bit_grid(config, dataset), side="right")
    return _on_groups(learner, images, found.groups, counts, found.questions[counts - 1])


def _on_groups(
    learner: Learner,
    images: IntArray,
    groups: IntArray,
    counts: npt.NDArray[np.int64],
    bits: npt.NDArray[np.int64],
) -> Baseline:
    """Train anew on the first of the images, more each round, until all are known."""
    num_rounds = np.count_nonzero(counts < len(images)) + 1
    counts, bits = counts[:num_rounds], bits[:num_rounds]

    def rounds() -> Iterator[BaselineRound]:
        for round_index, (count, spent) in enumerate(zip(counts, bits, strict=True)):
            use = f"round {round_index}: train"
            params = learner.fit_classes(images[:count], groups[:count], round_index, use=use)
            yield BaselineRound(params, int(spent), int(count))

    return Baseline(len(counts), rounds())


def _tcal(config: ExperimentConfig, dataset: Dataset, learner: Learner) -> Baseline:
    """Let a class classifier choose whose class is asked next; search by its last hidden layer.

    The first labelled images are those that the paper's first pairs are drawn around.
    """
    choose = IMAGE_ACQUISITIONS[config.supervision]
    assert isinstance(learner, FrozenLearner)
    train = dataset.split.train
    classes = np.unique(dataset.labels[train], return_inverse=True)[1].astype(np.int32)
    model = ClassLearner(learner, class_count(dataset))
    first = draw_anchors(host_rng(config.seed, 0, Use.INITIAL_PAIRS), len(train), config.initial_fraction)
    counts = _tcal_counts(config, dataset, len(first))

    def rounds() -> Iterator[BaselineRound]:
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
            spent = round(count * bits_per_label(dataset))
            yield BaselineRound(as_head_params(heads), spent, int(count), select_s=select_s)

    return Baseline(len(counts), rounds())


def _tcal_counts(config: ExperimentConfig, dataset: Dataset, num_first: int) -> list[int]:
    """Return the number of labels after each round: as many more bits a round as pairs would cost."""
    per_round = questions_per_round(config, dataset) / bits_per_label(dataset)
    most = min(len(dataset.split.train), int(config.tcal_bits / bits_per_label(dataset)))
    num_rounds = max(0, math.ceil((most - num_first) / per_round))
    return [num_first + math.floor(index * per_round) for index in range(num_rounds)] + [
        max(num_first, most)
    ]


def _all_pairs(config: ExperimentConfig, dataset: Dataset, learner: Learner) -> Baseline:
    """Train on the true labels of all pairs, or of as many as the steps can visit, many steps long."""
    assert isinstance(learner, FrozenLearner)
    long_learner = dataclasses.replace(learner, num_steps=config.all_pairs_steps)
    train = dataset.split.train
    total = count_pairs(len(train))

    def rounds() -> Iterator[BaselineRound]:
        rng = host_rng(config.seed, 0, Use.SELECTION)
        most = config.all_pairs_steps * config.batch_size
        pairs = train[draw_random_pairs(rng, len(train), most, known=np.empty(0, np.int64))]
        first, second = dataset.labels[pairs].T
        labelled = TrainingPairs(pairs, (first == second).astype(np.int8))
        yield BaselineRound(
            long_learner.fit_pairs(labelled, 0, None, use="all pairs: train"),
            total,
            num_labelled_pairs=total,
        )

    return Baseline(1, rounds())


LABEL_BASELINES: Mapping[str, Callable[[ExperimentConfig, Dataset, Learner], Baseline]] = {
    "all_pairs": _all_pairs,
    "class_labels": _class_labels,
    "group_ask": _group_ask,
    "random_labels": _random_labels,
    "tcal": _tcal,
    "tcal_igarss": _tcal,
    "tcal_random": _tcal,
}
"""Every baseline, by the name that `supervision` gives it."""

FROZEN_ONLY = ("all_pairs", "tcal", "tcal_igarss", "tcal_random")
"""Baselines without a form that fine-tunes the backbone."""

NOBODY_ASKED = tuple(name for name in LABEL_BASELINES if name != "group_ask")
"""Baselines that take labels as they are."""


def _row(round_index: int, baseline_round: BaselineRound, figures: Row, train_s: float) -> Row:
    """Return a line of the log, with the fields that a round of pairs has and no label has as null."""
    return {
        "round_index": round_index,
        "bits_spent": baseline_round.bits_spent,
        "num_labelled_images": baseline_round.num_labelled_images,
        "num_labelled_pairs": baseline_round.num_labelled_pairs,
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
        "select_s": baseline_round.select_s,
        **figures,
        "train_s": train_s,
    }
