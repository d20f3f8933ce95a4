"""Ask about groups, one question after another, each chosen with all answers before it.

The state is a function of the answers in their order, so that an interrupted run, and a workdir that a
person has answered, go on from the store alone.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.beliefs.choose import next_question
from anneal_jax.acquisition.beliefs.choose_several import (
    Interleaved,
    hear_interleaved,
    open_questions,
    settle_stuck,
)
from anneal_jax.acquisition.beliefs.neighbours import NeighbourGraph, neighbour_graph
from anneal_jax.acquisition.beliefs.state import Beliefs, begin, settled_groups
from anneal_jax.acquisition.beliefs.update import absorb
from anneal_jax.answers.store import Answered
from anneal_jax.config import ExperimentConfig
from anneal_jax.pairs.canonical import keys_within, pairs_of_keys
from anneal_jax.seeds import Use, host_rng
from anneal_jax.training.learner import Learner, standardise
from anneal_jax.training.problem import Problem
from anneal_jax.types import Answer, IntArray, Params

LEAST_BELIEF = 0.6
"""Belief in its group from which on a tile is trained on."""

GROUP_SIZE_POWER = 0.5
"""Groups are drawn in proportion to this power of their size, large ones and small ones both heard."""


class Interview(NamedTuple):
    """What questions are chosen from.

    Attributes:
      tiles: int32[M], sorted indices into the archive: the training tiles, or a sample of them.
      graph: of their nearest neighbours by the features before any training.
      start: what is believed before any answer.
    """

    tiles: IntArray
    graph: NeighbourGraph
    start: Beliefs


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
    features = learner.features(learner.template())[tiles]
    graph = neighbour_graph(standardise(features, learner.mean, learner.scale))
    asked = keys_within(tiles, pairs_of_keys(problem.identical, len(problem.labels)))
    return Interview(tiles, graph, begin(graph)._replace(asked=asked))


def ask_next(interview: Interview, beliefs: Beliefs) -> tuple[Beliefs, tuple[int, int] | None]:
    """Choose the next question.

    Returns:
      (beliefs, pair): the state to learn the answer with, and indices (i, j) into the archive, i < j. Where
      nothing is left to ask, the state given, which follows from the answers alone, and None.
    """
    chosen, pair = next_question(interview.graph, beliefs)
    if pair is None:
        return beliefs, None
    return chosen, (int(interview.tiles[pair[0]]), int(interview.tiles[pair[1]]))


def hear(interview: Interview, beliefs: Beliefs, first: int, second: int, answer: Answer) -> Beliefs:
    """Learn from the answer about two tiles of the archive; pairs with others teach nothing here."""
    pair = np.array([first, second])
    if not np.isin(pair, interview.tiles).all():
        return beliefs
    places = np.searchsorted(interview.tiles, pair)
    return absorb(interview.graph, beliefs, int(places[0]), int(places[1]), answer)


def replay(interview: Interview, answered: Answered) -> Beliefs:
    """Hear all answers again, in their order, as they were heard when they were given.

    Args:
      interview: what was asked about.
      answered: the answers that stand, from any source.
    """
    beliefs = interview.start
    for (first, second), answer in zip(answered.pair_indices.tolist(), answered.answers, strict=True):
        chosen, pair = ask_next(interview, beliefs)
        beliefs = chosen if pair == (first, second) else beliefs
        beliefs = hear(interview, beliefs, first, second, Answer(int(answer)))
    return beliefs


def propose_several(interview: Interview, state: Interleaved) -> Iterator[tuple[int, int]]:
    """Propose pairs of the archive, each good whatever is answered to those before it, the best first."""
    for first, second in open_questions(interview.graph, state):
        yield int(interview.tiles[first]), int(interview.tiles[second])


def hear_several(
    interview: Interview, state: Interleaved, first: int, second: int, answer: Answer
) -> Interleaved:
    """Learn from an answer where several questions are open at once, as on a page; see `hear`."""
    places = np.searchsorted(interview.tiles, (first, second))
    if not np.array_equal(interview.tiles.take(places, mode="clip"), (first, second)):
        return state
    return hear_interleaved(interview.graph, state, int(places[0]), int(places[1]), answer)


def keep_off(interview: Interview, state: Interleaved, first: int, second: int) -> Interleaved:
    """Never propose a pair, and learn nothing about it; a tile without any other question is settled."""
    keys = keys_within(interview.tiles, np.array([(first, second)], np.int32))
    asked = np.union1d(state.beliefs.asked, keys)
    return settle_stuck(interview.graph, state._replace(beliefs=state.beliefs._replace(asked=asked)))


def hear_page(interview: Interview, answered: Answered) -> Beliefs:
    """Return what a page believes after answers, in the order given."""
    state = Interleaved(interview.start, {})
    for (first, second), answer in zip(answered.pair_indices.tolist(), answered.answers, strict=True):
        state = hear_several(interview, state, first, second, Answer(int(answer)))
    return state.beliefs


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
