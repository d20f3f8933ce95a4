"""Baselines of active learning on pairs: class labels, groups, or all pairs at once.

These are simulations that use the archive's labels. They write the same rows as active learning on pairs,
at the same costs, with the same split and seeds, so that one table can contain both. They ask nobody, so a
killed run starts again; a finished run is only read.

| supervision | what is paid for | cost |
|---|---|---|
| `class_labels` | every training image's class, at once | log2 C bits a label |
| `random_labels` | classes of random images, retrained each round | log2 C bits a label |
| `tcal`, `tcal_igarss` | classes of images that a classifier is uncertain about | log2 C bits a label |
| `tcal_random` | classes of random images, for the same classifier | log2 C bits a label |
| `group_ask` | "same as this group?", image after image | 1 bit a question |
| `all_pairs` | every pair of training images | 1 bit a pair |
"""

import dataclasses
import math
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.beliefs.seconds import GlanceSeconds
from anneal_jax.acquisition.group_ask import group_by_asking
from anneal_jax.acquisition.image_acquisitions import IMAGE_ACQUISITIONS, ImagePool
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.dataset import Dataset, class_oracle
from anneal_jax.experiments.method import Fitted, Method, Setup
from anneal_jax.experiments.round_log import RoundRow
from anneal_jax.experiments.selection import draw_first_pairs, questions_per_round
from anneal_jax.pairs.canonical import count_pairs
from anneal_jax.pairs.drawing import draw_anchors, draw_random_pairs
from anneal_jax.seeds import Use, host_rng, host_seed
from anneal_jax.training.classes import ClassHeads, ClassLearner, as_head_params
from anneal_jax.training.frozen import FrozenLearner
from anneal_jax.training.learner import Model, TrainingPairs, centred
from anneal_jax.types import IntArray, Params


class LabelBaseline:
    """Base of the baselines as a `Method`: they ask nobody, and save only the last round."""

    saves_every_round = False
    questions_per_round = 0

    setup: Setup

    def ask(self, round_index: int, model: Model | None) -> str:
        """Ask nothing, because the labels that a round pays for are fixed."""
        del round_index, model
        return ""

    def answer(self, round_index: int) -> None:
        """Do nothing, because the labels are known."""

    def template(self) -> Params:
        """Return the learner's parameters."""
        return self.setup.learner.template()


@dataclasses.dataclass(frozen=True)
class KnownGroups(LabelBaseline):
    """Retrains on the first images of a list, more each round, until all are known.

    Attributes:
      setup: setup of the run.
      images: int32[M], indices into the archive, in the order in which their groups become known.
      groups: int32[M], class or group of each image.
      counts: int64[R], number of known images after each round.
      bits: int64[R], cumulative cost.
      bit_s: expected seconds of each bit; None if it pays for labels.
    """

    setup: Setup  # pyrefly: ignore[bad-override]  # frozen
    images: IntArray
    groups: IntArray
    counts: npt.NDArray[np.int64]
    bits: npt.NDArray[np.int64]
    bit_s: float | None = None

    @property
    def num_rounds(self) -> int:
        """One per count, or until all images are known."""
        return min(len(self.counts), int(np.count_nonzero(self.counts < len(self.images))) + 1)

    def fit(self, round_index: int, previous: Params | None) -> Fitted:
        """Train on the known images."""
        del previous
        count, use = int(self.counts[round_index]), f"round {round_index}: train"
        learner = self.setup.learner
        params = learner.fit_classes(self.images[:count], self.groups[:count], round_index, use=use)
        row = RoundRow(
            round_index=round_index, bits_spent=int(self.bits[round_index]), num_labelled_images=count
        )
        if self.bit_s is not None:
            before, now = np.r_[0, self.bits][[round_index, round_index + 1]] * self.bit_s
            seconds = {"seconds_spent": round(float(now), 3), "answer_s": round(float(now - before), 3)}
            row = dataclasses.replace(row, **seconds)
        return Fitted(params, row)


@dataclasses.dataclass
class ClassifierRounds(LabelBaseline):
    """Lets a classifier choose the images to label next; searches by its last hidden layer.

    Attributes:
      setup: setup of the run.
      learner: learner of the classifier.
      counts: number of labelled training images after each round.
      is_labelled: bool[M], whether each training image is labelled; initially those of round 0.
      heads: the classifier of the last round.
      select_s: seconds that the last choice took.
    """

    setup: Setup
    learner: ClassLearner
    counts: Sequence[int]
    is_labelled: npt.NDArray[np.bool_]
    heads: ClassHeads | None = None
    select_s: float = 0.0

    @property
    def num_rounds(self) -> int:
        """One per count."""
        return len(self.counts)

    def ask(self, round_index: int, model: Model | None) -> str:
        """Choose the images to label in this round, from the unlabelled ones."""
        if model is None or self.heads is None:
            return ""
        start = time.perf_counter()
        rest = np.flatnonzero(~self.is_labelled)
        images = self.setup.dataset.split.train[rest]
        seed = host_seed(self.setup.config.seed, round_index, Use.SELECTION)
        # Not rows of `model.embeddings`, whose rounding differs, so that other images would be chosen.
        embeddings = self.setup.learner.embed(model.params, model.features[images])
        pool = ImagePool(embeddings, self.learner.logits(self.heads)[images], seed)
        num_new = self.counts[round_index] - int(np.count_nonzero(self.is_labelled))
        choose = IMAGE_ACQUISITIONS[self.setup.config.supervision]
        self.is_labelled[rest[choose(pool, num_new)]] = True
        self.select_s = time.perf_counter() - start
        return ""

    def fit(self, round_index: int, previous: Params | None) -> Fitted:
        """Train a new classifier on the labelled images."""
        del previous
        train, count = self.setup.dataset.split.train, self.counts[round_index]
        classes = np.unique(self.setup.dataset.labels[train], return_inverse=True)[1].astype(np.int32)
        labelled = self.is_labelled
        self.heads = self.learner.fit(train[labelled], classes[labelled], round_index)
        row = RoundRow(
            round_index=round_index,
            bits_spent=round(count * bits_per_label(self.setup.dataset)),
            num_labelled_images=count,
            select_s=self.select_s,
        )
        return Fitted(as_head_params(self.heads), row)


@dataclasses.dataclass(frozen=True)
class AllPairs(LabelBaseline):
    """Trains once, for many steps, on the true labels of all pairs, or of as many as the steps visit.

    Attributes:
      setup: setup of the run.
    """

    num_rounds = 1

    setup: Setup  # pyrefly: ignore[bad-override]  # frozen

    def fit(self, round_index: int, previous: Params | None) -> Fitted:
        """Train on all pairs."""
        config, dataset, learner = self.setup.config, self.setup.dataset, self.setup.learner
        assert isinstance(learner, FrozenLearner)
        train, rng = dataset.split.train, host_rng(config.seed, 0, Use.SELECTION)
        most = config.all_pairs_steps * config.batch_size
        pairs = train[draw_random_pairs(rng, len(train), most, known=np.empty(0, np.int64))]
        first, second = dataset.labels[pairs].T
        labelled = TrainingPairs(pairs, (first == second).astype(np.int8))
        long_learner = dataclasses.replace(learner, num_steps=config.all_pairs_steps)
        params = long_learner.fit_pairs(labelled, round_index, previous, use="all pairs: train")
        total = count_pairs(len(train))
        row = RoundRow(
            round_index=round_index, bits_spent=total, num_labelled_images=0, num_labelled_pairs=total
        )
        return Fitted(params, row)


def class_labels(setup: Setup) -> AbstractContextManager[Method]:
    """Train on every training image's class: the upper bound of labels."""
    train, labels = setup.dataset.split.train, setup.dataset.labels
    bits = np.array([round(len(train) * bits_per_label(setup.dataset))])
    return nullcontext(KnownGroups(setup, train, labels[train], np.array([len(train)]), bits))


def random_labels(setup: Setup) -> AbstractContextManager[Method]:
    """Train on the classes of as many random images as each round's budget pays for."""
    config, dataset = setup.config, setup.dataset
    images = host_rng(config.seed, 0, Use.SELECTION).permutation(dataset.split.train)
    counts = (bit_grid(config, dataset) / bits_per_label(dataset)).astype(np.int64).clip(1, len(images))
    bits = np.rint(counts * bits_per_label(dataset)).astype(np.int64)
    return nullcontext(KnownGroups(setup, images, dataset.labels[images], counts, bits))


def group_ask(setup: Setup) -> AbstractContextManager[Method]:
    """Train on the groups found with as many questions as each round's budget allows."""
    config, dataset, learner = setup.config, setup.dataset, setup.learner
    images = host_rng(config.seed, 0, Use.SELECTION).permutation(dataset.split.train)
    features = centred(learner.features(None), dataset.split.train)
    found = group_by_asking(images, features, class_oracle(config, dataset))
    counts = np.searchsorted(found.questions, bit_grid(config, dataset), side="right")
    bits, bit_s = found.questions[counts - 1], GlanceSeconds().pair
    return nullcontext(KnownGroups(setup, images, found.groups, counts, bits, bit_s))


def tcal(setup: Setup) -> AbstractContextManager[Method]:
    """Let a classifier choose; its first images are the anchors of the paper's first pairs."""
    config, dataset = setup.config, setup.dataset
    assert isinstance(setup.learner, FrozenLearner)
    learner, num_train = ClassLearner(setup.learner, class_count(dataset)), len(dataset.split.train)
    rng = host_rng(config.seed, 0, Use.INITIAL_PAIRS)
    first = draw_anchors(rng, num_train, config.initial_fraction)
    is_first = np.isin(np.arange(num_train), first)
    return nullcontext(
        ClassifierRounds(setup, learner, _tcal_counts(config, dataset, len(first)), is_first)
    )


def all_pairs(setup: Setup) -> AbstractContextManager[Method]:
    """Train on the true labels of all pairs."""
    return nullcontext(AllPairs(setup))


def class_count(dataset: Dataset) -> int:
    """Return C, the number of classes among the training images, at least two."""
    return max(2, len(np.unique(dataset.labels[dataset.split.train])))


def bits_per_label(dataset: Dataset) -> float:
    """Return the cost of one class label, log2 C bits."""
    return math.log2(class_count(dataset))


def bit_grid(config: ExperimentConfig, dataset: Dataset) -> npt.NDArray[np.int64]:
    """Return the bits that active learning on pairs has spent after each round, int64[rounds + 1]."""
    per_round = questions_per_round(config, dataset)
    return len(draw_first_pairs(config, dataset)) + per_round * np.arange(config.rounds + 1)


def _tcal_counts(config: ExperimentConfig, dataset: Dataset, num_first: int) -> list[int]:
    """Return the number of labels after each round, so that each round costs as many bits as with pairs."""
    per_round = questions_per_round(config, dataset) / bits_per_label(dataset)
    most = min(len(dataset.split.train), int(config.tcal_bits / bits_per_label(dataset)))
    num_rounds = max(0, math.ceil((most - num_first) / per_round))
    return [num_first + math.floor(index * per_round) for index in range(num_rounds)] + [
        max(num_first, most)
    ]
