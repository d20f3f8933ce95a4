"""Between two rounds: what is known, where the threshold is, and which pairs to ask next."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from anneal_jax.acquisition.registry import (
    PoolView,
    ScanSettings,
    get_acquisition,
    select_pairs,
)
from anneal_jax.acquisition.scan.all_pairs import ScanResult
from anneal_jax.acquisition.threshold import (
    ThresholdEstimate,
    estimate_threshold,
    initial_threshold,
)
from anneal_jax.answers.store import Answered, AnswerStore
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.dataset import Dataset
from anneal_jax.pairs.canonical import PairKeys, agreed, contains, pair_keys
from anneal_jax.pairs.closure import expand_closure
from anneal_jax.pairs.drawing import draw_class_balanced_pairs, draw_random_pairs
from anneal_jax.pairs.transitive import DerivedPairs, expand_one_step
from anneal_jax.seeds import Use, host_rng, host_seed
from anneal_jax.training.learner import Learner, Model, TrainingPairs, represent
from anneal_jax.types import Answer, FloatArray, PairIndices, Params

NUM_FOLDS = 5
"""Number of folds of the cross-fit that scores the first answers out of sample."""


class Knowledge(NamedTuple):
    """What is known from answers, directly and by implication, kept separately.

    Attributes:
      labelled: pairs answered similar or dissimilar.
      derived: pairs that these imply.
      known: int64[M], sorted keys, within the training images, of the pairs that are never asked: those
        already asked, whatever the answer, derived ones, and byte-identical tiles.
    """

    labelled: TrainingPairs
    derived: DerivedPairs
    known: PairKeys

    @property
    def training_pairs(self) -> TrainingPairs:
        """Labelled and derived pairs together."""
        return _joined(self.labelled, self.derived)


class SelectedPairs(NamedTuple):
    """The questions of a round.

    Attributes:
      pair_indices: int32[P, 2], canonical indices into the archive, in the order to ask.
      similarities: float32[P], under the model that asks; None before there is one.
      facts: facts about the selection to record, by their names in `RoundRow`.
    """

    pair_indices: PairIndices
    similarities: FloatArray | None
    facts: Mapping[str, Any]


def gather_knowledge(
    answered: Answered, dataset: Dataset, *, transitive: str, reserved: PairIndices | None = None
) -> Knowledge:
    """Collect what is known from the answered questions.

    A pair that was answered several times counts once, and not at all if the answers differ.

    Args:
      answered: every answered question so far.
      dataset: the archive.
      transitive: `one_step`, `closure` or `none`.
      reserved: int32[R, 2], further pairs that are never asked, such as those of audits.
    """
    is_usable = answered.answers != Answer.UNSURE
    num_images = len(dataset.labels)
    usable = TrainingPairs(answered.pair_indices[is_usable], answered.answers[is_usable])
    labelled = TrainingPairs(*agreed(*usable[:2], num_images))
    derived = _derive(usable, num_images, transitive)
    never_asked = [
        dataset.local_keys(answered.pair_indices),
        dataset.local_keys(derived.pair_indices),
        dataset.identical_in_train,
    ]
    if reserved is not None:
        never_asked.append(dataset.local_keys(reserved))
    return Knowledge(labelled, derived, np.unique(np.concatenate(never_asked)))


def draw_first_pairs(config: ExperimentConfig, dataset: Dataset) -> PairIndices:
    """Draw the questions of round 0 among the training images, int32[P, 2] into the archive."""
    train = dataset.split.train
    rng = host_rng(config.seed, 0, Use.INITIAL_PAIRS)
    if config.initial_draw == "class_balanced":
        local = draw_class_balanced_pairs(
            rng,
            dataset.labels[train],
            fraction=config.initial_fraction,
            num_similar=config.initial_partners,
            num_dissimilar=config.initial_partners,
        )
    else:
        count = 2 * config.initial_partners * max(1, round(config.initial_fraction * len(train)))
        local = draw_random_pairs(rng, len(train), count, known=dataset.identical_in_train)
    is_identical = contains(dataset.identical_in_train, pair_keys(local, len(train)))
    return train[local[~is_identical]]


def questions_per_round(config: ExperimentConfig, dataset: Dataset) -> int:
    """Return k, the number of questions of a later round."""
    return config.pairs_per_round or max(1, round(0.2 * len(dataset.split.train)))


def select_questions(
    config: ExperimentConfig,
    dataset: Dataset,
    learner: Learner,
    answered: Answered,
    knowledge: Knowledge,
    model: Model,
    round_index: int,
    *,
    last_threshold: float | None = None,
) -> SelectedPairs:
    """Choose the questions of a round with the model of the previous round.

    Args:
      config: the settings.
      dataset: the archive.
      learner: learner of the model.
      answered: every answered question so far; the threshold `prequential` uses its similarities, see
        `score_first_answers`.
      knowledge: what these imply.
      model: model trained on these.
      round_index: key of every random draw.
      last_threshold: threshold of the previous round, kept while one kind of answer is missing.

    Returns:
      Exactly k pairs if the pool has enough; none if it is empty.
    """
    acquisition = get_acquisition(config.acquisition)
    embeddings, train = model.embeddings, dataset.split.train
    facts: dict[str, Any] = {}
    threshold = initial_threshold(config.margin)
    if acquisition.needs_threshold:
        last = threshold if last_threshold is None else last_threshold
        estimate = _threshold(config, answered, embeddings) or ThresholdEstimate(last, last, last)
        threshold = estimate.threshold
        names = ("threshold", "threshold_lower", "threshold_upper")
        facts = dict(zip(names, estimate, strict=True))
    needs_classifier = acquisition.needs_classifier
    classifier = (
        learner.classifier_tables(model.params, model.features[train]) if needs_classifier else None
    )
    view = PoolView(
        embeddings=embeddings[train],
        known=knowledge.known,
        seed=host_seed(config.seed, round_index, Use.SELECTION),
        threshold=threshold,
        classifier=classifier,
        scan=ScanSettings(
            config.classifier_order, config.scan_precision, config.scan_share, config.scan_tile_size
        ),
    )
    chosen = select_pairs(
        acquisition,
        view,
        questions_per_round(config, dataset),
        diversity=config.diversity,
        candidate_factor=config.candidate_factor,
    )
    pairs = train[chosen.pair_indices]
    facts |= _scan_facts(chosen.scan)
    return SelectedPairs(pairs, pair_similarities(embeddings, pairs), facts)


def pair_similarities(embeddings: FloatArray, pair_indices: PairIndices) -> FloatArray:
    """Return the cosine similarity float32[P] of each pair of unit-norm embeddings."""
    return np.einsum("pd,pd->p", embeddings[pair_indices[:, 0]], embeddings[pair_indices[:, 1]])


def fit_known(
    config: ExperimentConfig,
    learner: Learner,
    pairs: TrainingPairs,
    round_index: int,
    previous: Params | None,
    *,
    use: str,
) -> Params:
    """Train on the known pairs; embeddings include the features with the weight `feature_share`."""
    return with_features(config, learner, learner.fit_pairs(pairs, round_index, previous, use=use))


def with_features(config: ExperimentConfig, learner: Learner, params: Params) -> Params:
    """Let embeddings include the features with the weight `feature_share`; 0 leaves them as they are."""
    return learner.beside_features(params, config.feature_share) if config.feature_share else params


def cross_fit_similarities(
    config: ExperimentConfig, learner: Learner, pairs: TrainingPairs, num_images: int
) -> FloatArray:
    """Score each pair with heads trained without it, in five folds.

    Where the whole network learns, these are heads on its first features: five more networks would cost
    more than the run. Training includes everything implied by the other folds' answers, except the held-out
    pairs.

    Returns:
      float32[P], cosine similarities; NaN if a fold leaves nothing to train on.
    """
    num_pairs, learner = len(pairs.labels), learner.heads_only
    folds = host_rng(config.seed, 0, Use.FOLDS).permutation(num_pairs) % NUM_FOLDS
    keys = pair_keys(pairs.pair_indices, num_images)
    similarities = np.full(num_pairs, np.nan, np.float32)
    for fold in range(min(NUM_FOLDS, num_pairs)):
        is_held_out = folds == fold
        if is_held_out.all():
            continue
        seen = TrainingPairs(pairs.pair_indices[~is_held_out], pairs.labels[~is_held_out])
        derived = _derive(seen, num_images, config.transitive)
        is_leak = contains(np.sort(keys[is_held_out]), pair_keys(derived.pair_indices, num_images))
        derived = TrainingPairs(derived.pair_indices[~is_leak], derived.pair_labels[~is_leak])
        use = f"threshold: fold {fold + 1} of {NUM_FOLDS}"
        model = represent(learner, fit_known(config, learner, _joined(seen, derived), 0, None, use=use))
        held_out = pairs.pair_indices[is_held_out]
        similarities[is_held_out] = pair_similarities(model.embeddings, held_out)
    return similarities


def score_first_answers(
    config: ExperimentConfig,
    learner: Learner,
    store: AnswerStore,
    answered: Answered,
    num_images: int,
) -> Answered:
    """Record each answer's similarity under a model that was not trained on it.

    Later rounds record it when asking. Round 0 was asked before there was a model, so it is scored once by
    cross-fit, and stored.
    """
    is_first = answered.round_indices == 0
    similarities = answered.similarities.copy()
    is_usable = is_first & (answered.answers != Answer.UNSURE)
    if np.isnan(similarities[is_usable]).any():
        pairs = TrainingPairs(answered.pair_indices[is_usable], answered.answers[is_usable])
        similarities[is_usable] = cross_fit_similarities(config, learner, pairs, num_images)
        store.set_similarities(0, similarities[is_first])
    return answered._replace(similarities=similarities)


def _scan_facts(scan: ScanResult | None) -> dict[str, Any]:
    if scan is None:
        return {}
    return {
        "selection_certified": scan.is_certified,
        "selection_band": scan.band_size,
        "selection_band_complete": scan.band_is_complete,
        "pool_share": scan.pool_share,
    }


def _threshold(
    config: ExperimentConfig, answered: Answered, embeddings: FloatArray
) -> ThresholdEstimate | None:
    similarities = answered.similarities
    if config.threshold != "prequential":
        similarities = pair_similarities(embeddings, answered.pair_indices)
    return estimate_threshold(config.threshold, similarities, answered.answers)


def _derive(usable: TrainingPairs, num_images: int, transitive: str) -> DerivedPairs:
    if transitive == "none":
        return DerivedPairs(np.empty((0, 2), np.int32), np.empty(0, np.int8), 0)
    if transitive == "closure":  # if two answers to a pair differ, its group contradicts itself
        return expand_closure(*usable[:2], num_images)
    derived = expand_one_step(*agreed(*usable[:2], num_images), num_images)
    # A pair whose own answers differ is ignored, whatever others imply about it.
    answered = np.unique(pair_keys(usable.pair_indices, num_images))
    is_new = ~contains(answered, pair_keys(derived.pair_indices, num_images))
    return derived._replace(
        pair_indices=derived.pair_indices[is_new], pair_labels=derived.pair_labels[is_new]
    )


def _joined(labelled: TrainingPairs, derived: TrainingPairs | DerivedPairs) -> TrainingPairs:
    return TrainingPairs(
        np.concatenate([labelled.pair_indices, derived[0]]),
        np.concatenate([labelled.labels, derived[1]]),
        num_answered=len(labelled.labels),
    )
