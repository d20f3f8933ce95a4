"""The ways to choose the next questions, by name, with one interface.

An acquisition proposes candidate pairs, most uncertain first; `select_pairs` then takes the first k, or
lets k-means spread k questions over 4 k candidates.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from anneal_jax.acquisition.badge import rank_by_gradients
from anneal_jax.acquisition.coreset import rank_by_coverage
from anneal_jax.acquisition.diversity import pair_representation, select_diverse
from anneal_jax.acquisition.scan.all_pairs import ScanResult, scan_pairs
from anneal_jax.acquisition.scan.progress import scan_progress
from anneal_jax.acquisition.scan.scorers import PairScorer, classifier_scorer, threshold_scorer
from anneal_jax.acquisition.typicality import rank_by_typicality
from anneal_jax.errors import unknown_name
from anneal_jax.pairs.canonical import PairKeys
from anneal_jax.pairs.drawing import draw_random_pairs
from anneal_jax.types import ClassifierTables, FloatArray, PairIndices


class ScanSettings(NamedTuple):
    """How `mgue` and `bcgue` scan all pairs.

    Attributes:
      classifier_order: `canonical` scores a pair as (i, j), i < j; `two_order` by the mean logit of both
        orders, at half the speed.
      precision: precision of matrix products, as in `scan_pairs`.
      share: share of all pairs to score, in (0, 1].
      tile_size: maximum number of images along a tile's side; 0 is the scorer's choice.
    """

    classifier_order: str = "canonical"
    precision: str = "float32"
    share: float = 1.0
    tile_size: int = 0


class PoolView(NamedTuple):
    """What an acquisition may use.

    Attributes:
      embeddings: float32[N, D], unit norm, of the training images.
      known: int64[M], sorted keys of the pairs that must not be asked.
      seed: determines ties and draws of this round.
      threshold: MGUE's tau, a cosine similarity.
      classifier: the pair classifier, if the acquisition needs one.
      scan: how to scan all pairs, if the acquisition does.
    """

    embeddings: FloatArray
    known: PairKeys
    seed: int
    threshold: float
    classifier: ClassifierTables | None = None
    scan: ScanSettings = ScanSettings()


class Candidates(NamedTuple):
    """Pairs of the pool, the most uncertain first.

    Attributes:
      pair_indices: int32[P, 2], canonical, unique, none of them known.
      utilities: float32[P], not increasing; larger is better to ask.
      scan: the scan that found these pairs or their candidates, with its certificates; None if there
        was none.
    """

    pair_indices: PairIndices
    utilities: FloatArray
    scan: ScanResult | None = None


class Acquisition(NamedTuple):
    """A way to choose questions.

    Attributes:
      propose: returns the `num_pairs` best pairs of the pool, fewer if the pool is smaller.
      needs_classifier: whether the pair classifier must be trained.
      needs_threshold: whether MGUE's threshold must be estimated.
    """

    propose: Callable[[PoolView, int], Candidates]
    needs_classifier: bool = False
    needs_threshold: bool = False


def propose_random(view: PoolView, num_pairs: int) -> Candidates:
    """Draw pairs uniformly from the pool; every utility is 0."""
    rng = np.random.default_rng(view.seed)
    pairs = draw_random_pairs(rng, len(view.embeddings), num_pairs, known=view.known)
    return Candidates(pairs, np.zeros(len(pairs), np.float32))


def propose_mgue(view: PoolView, num_pairs: int) -> Candidates:
    """Metric-guided uncertainty: u = -|s - tau|, s the cosine similarity of the pair.

    Source: hoxha2024anneal (MGUE); the estimators of tau are this project's.
    """
    return _scan(threshold_scorer(view.embeddings, view.threshold), view, num_pairs)


def propose_bcgue(view: PoolView, num_pairs: int) -> Candidates:
    """Classifier-guided uncertainty: u = -|logit|, the closeness of p to 0.5.

    |logit| gives the same order as |p - 0.5| and does not saturate in float32. Pairs are scored in
    canonical order, so that p(i, j) = p(j, i) by definition, or by the mean logit of both orders.

    Source: henkel2023anneal, hoxha2024anneal (BCGUE).

    Raises:
      ValueError: the view holds no classifier.
    """
    two_order = view.scan.classifier_order == "two_order"
    return _scan(classifier_scorer(*_classifier(view, "bcgue"), two_order=two_order), view, num_pairs)


def propose_badge(view: PoolView, num_pairs: int) -> Candidates:
    """Choose pairs that would change the classifier most, each in a different way.

    Source: ash2020badge, adapted as described in `badge`.

    Raises:
      ValueError: the view holds no classifier.
    """
    classifier = _classifier(view, "badge")
    return Candidates(*rank_by_gradients(classifier, view.known, num_pairs, seed=view.seed))


def propose_coreset(view: PoolView, num_pairs: int) -> Candidates:
    """Cover the pool: each next pair is the farthest from all known and chosen ones."""
    return Candidates(*rank_by_coverage(view.embeddings, view.known, num_pairs, seed=view.seed))


def propose_typicality(view: PoolView, num_pairs: int) -> Candidates:
    """Choose pairs of dense regions of the pool."""
    return Candidates(*rank_by_typicality(view.embeddings, view.known, num_pairs, seed=view.seed))


ACQUISITIONS: Mapping[str, Acquisition] = {
    "badge": Acquisition(propose_badge, needs_classifier=True),
    "bcgue": Acquisition(propose_bcgue, needs_classifier=True),
    "coreset": Acquisition(propose_coreset),
    "mgue": Acquisition(propose_mgue, needs_threshold=True),
    "random": Acquisition(propose_random),
    "typicality": Acquisition(propose_typicality),
}


def get_acquisition(name: str) -> Acquisition:
    """Return an acquisition by name.

    Raises:
      ConfigError: there is none of that name; the message has the nearest name.
    """
    if name not in ACQUISITIONS:
        raise unknown_name("acquisition", name, ACQUISITIONS)
    return ACQUISITIONS[name]


def select_pairs(
    acquisition: Acquisition,
    view: PoolView,
    num_pairs: int,
    *,
    diversity: bool,
    candidate_factor: int,
) -> Candidates:
    """Choose the next questions: the most uncertain pairs, or the most uncertain and diverse.

    Args:
      acquisition: proposes candidates.
      view: what it may use.
      num_pairs: k, number of pairs to choose.
      diversity: whether k-means spreads them over h = k * candidate_factor candidates.
      candidate_factor: h / k.

    Returns:
      Exactly min(k, size of the pool) pairs, the most uncertain first.

    Source: henkel2023anneal, section 2.2. The paper prints "k = 4 h" and h > k; it means h = 4 k.
    """
    if not diversity:
        return acquisition.propose(view, num_pairs)
    candidates = acquisition.propose(view, num_pairs * candidate_factor)
    representation = pair_representation(view.embeddings, candidates.pair_indices)
    chosen = select_diverse(representation, num_pairs, seed=view.seed)
    return Candidates(candidates.pair_indices[chosen], candidates.utilities[chosen], candidates.scan)


def _classifier(view: PoolView, name: str) -> ClassifierTables:
    if view.classifier is None:
        raise ValueError(
            f"{name} scores pairs by the classifier, and the view holds none; train one with the heads."
        )
    return view.classifier


def _scan(scorer: PairScorer, view: PoolView, num_pairs: int) -> Candidates:
    num_images, settings = len(view.embeddings), view.scan
    with scan_progress(num_images, share=settings.share) as bar:
        found = scan_pairs(
            scorer,
            num_images,
            num_pairs,
            known=view.known,
            seed=view.seed,
            share=settings.share,
            tile_size=settings.tile_size or None,
            precision=settings.precision,
            progress=bar.update,
        )
    if len(found.pair_indices) < num_pairs and settings.share < 1.0:
        # The part that was drawn has too few pairs that are not known; the rest may have them.
        return _scan(scorer, view._replace(scan=settings._replace(share=1.0)), num_pairs)
    return Candidates(found.pair_indices, found.utilities.astype(np.float32), found)
