"""What `belief_ask` asks about in an archive, and how it trains on what is believed."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.session import Interview, hear_page
from anneal_jax.acquisition.beliefs.state import Beliefs, begin, settled_groups
from anneal_jax.answers.store import Answered
from anneal_jax.config import ExperimentConfig
from anneal_jax.experiments.dataset import Problem
from anneal_jax.pairs.canonical import keys_within, pairs_of_keys
from anneal_jax.seeds import Use, host_rng
from anneal_jax.training.learner import Learner, standardise
from anneal_jax.types import IntArray, Params

LEAST_BELIEF = 0.6
"""Belief in its group from which on a tile is trained on."""

GROUP_SIZE_POWER = 0.5
"""Groups are drawn in proportion to this power of their size, large ones and small ones both heard."""


class TrainingGroups(NamedTuple):
    """Tiles to train on.

    Attributes:
      images: int32[M], indices into the archive.
      groups: int32[M], the group of each.
      weights: float64[M], how often each is drawn, relative to the others.
    """

    images: IntArray
    groups: IntArray
    weights: npt.NDArray[np.float64]


def open_interview(config: ExperimentConfig, problem: Problem, learner: Learner) -> Interview:
    """Lay out the tiles to ask about; byte-identical ones are never compared."""
    tiles = problem.split.train
    if len(tiles) > config.belief_tiles:
        rng = host_rng(config.seed, 0, Use.INITIAL_PAIRS)
        tiles = np.sort(rng.choice(tiles, config.belief_tiles, replace=False))
    features = learner.features(None)[tiles]
    graph = neighbour_graph(standardise(features, learner.mean, learner.scale))
    asked = keys_within(tiles, pairs_of_keys(problem.identical, len(problem.labels)))
    return Interview(tiles, graph, begin(graph)._replace(asked=asked))


def fit_answers(
    config: ExperimentConfig, problem: Problem, learner: Learner, answered: Answered, round_index: int
) -> tuple[Params, float]:
    """Train on the groups that answers tell of, by whatever rule their questions were chosen.

    Args:
      config: the settings.
      problem: the archive.
      learner: of the configured regime.
      answered: the answers that stand, in the order given.
      round_index: keys every draw.

    Returns:
      (params, doubt): the model, and the mean doubt about a tile's group, in [0, 1], behind it.
    """
    interview = open_interview(config, problem, learner)
    beliefs = hear_page(interview, answered)
    params = fit_beliefs(interview, beliefs, learner, round_index, use="train on the answers")
    return params, mean_doubt(interview, beliefs)


def fit_beliefs(
    interview: Interview, beliefs: Beliefs, learner: Learner, round_index: int, *, use: str
) -> Params:
    """Train on what is believed; `round_index` keys every draw, `use` is named in errors.

    Where features are frozen, they keep as large a share of an embedding as there is doubt: while little is
    known, what was learnt from it is worse than they are.
    """
    images, groups, weights = training_groups(interview, beliefs)
    params = learner.fit_classes(images, groups, round_index, weights=weights, use=use)
    return learner.beside_features(params, mean_doubt(interview, beliefs))


def mean_doubt(interview: Interview, beliefs: Beliefs) -> float:
    """Return the mean over the tiles of 1 - the belief in their likeliest group, in [0, 1]."""
    _, belief = settled_groups(interview.graph, beliefs)
    return float(1 - np.mean(belief, dtype=np.float64))


def training_groups(interview: Interview, beliefs: Beliefs) -> TrainingGroups:
    """Return the tiles whose group is sure enough to train on, asked about or not.

    A tile weighs its squared belief, over the root of the sum of these in its group.
    """
    groups, belief = settled_groups(interview.graph, beliefs)
    kept = np.flatnonzero(belief >= LEAST_BELIEF)
    if not kept.size:  # before anything is sure: the tiles that were asked about
        kept = np.flatnonzero(beliefs.groups >= 0)
    squares = np.maximum(belief[kept].astype(np.float64), 1e-3) ** 2
    sizes = np.bincount(groups[kept], weights=squares)[groups[kept]]
    return TrainingGroups(interview.tiles[kept], groups[kept], squares / sizes ** (1 - GROUP_SIZE_POWER))
