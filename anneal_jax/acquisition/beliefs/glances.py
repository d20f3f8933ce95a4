"""The next glance of a person: a pair, a choice among groups or a grid, by expected gain per second.

| kind | the person sees | and says |
|---|---|---|
| pair | a tile and one of a group | alike or not |
| choice | a tile and one of each of its k likeliest groups | which it is like, or none |
| grid | a group's first tile and up to 12 of its likely members | which are not like it |

The tile in question is that of `open_questions`: of most worth, and in question until it is settled. What
an answer is expected to settle is the mutual information between it and the tile's group, as a share of
what is open about that group; it counts by what a question about the tile is worth (`worth_asking`). Of a
grid the tiles' gains are added. So that they are gains of their own, no two are neighbours.

Answers are pair answers (`answers_of`): a glance needs nothing of its own in the beliefs, but that a tile
that nobody clicked in a grid may have been overlooked.

Source: this project's. The information is that of lindley1956measure; counting it by the second, as
grids and choices differ in what they cost, is ours.
"""

from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.beliefs.choose import (
    exemplars,
    joining_pair,
    partners,
    was_asked,
    worth_asking,
)
from anneal_jax.acquisition.beliefs.choose_several import (
    Interleaved,
    asking_about,
    open_questions,
    welcome_pair,
)
from anneal_jax.acquisition.beliefs.information import (
    FloatMatrix,
    choice_information,
    click_chances,
    entropy,
    grid_information,
)
from anneal_jax.acquisition.beliefs.neighbours import NeighbourGraph
from anneal_jax.acquisition.beliefs.seconds import GlanceSeconds
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    Beliefs,
    BeliefSettings,
    chances,
    error_rate,
    open_chances,
    open_medoids,
)
from anneal_jax.types import Answer, FloatArray

KINDS = ("pair", "choice", "grid")

MISS_RATE = 0.05
"""Share of odd tiles in a grid that a person overlooks."""

MAX_CHOICES, MIN_TILES, MAX_TILES = 5, 6, 12
"""Maximum groups of a choice, and tiles of a grid."""

MAX_FIRST_CHOICES = 3
"""Maximum groups of a choice while medoids are asked about. Most found a group, and the time to view more
groups is better spent on the next medoid."""

MIN_ALIKE, MAX_NEW = 0.3, 0.1
"""Chances of its group and of a new one that a tile of a grid has. Others want a choice, which can found a
group."""

SHARPNESS = 2.0
"""Power of beliefs by which gains are expected, once a new group is unlikely: walks spread belief too
widely, and the likeliest group is right more often than they say."""

GRID_MARGIN = 8.0
"""Factor by which a grid's gain per second must exceed that of a pair or choice to be preferred: most of
its tiles are already right, whatever the beliefs say."""


class Glance(NamedTuple):
    """What a person looks at before one answer.

    Attributes:
      kind: one of `KINDS`.
      subject: the tile asked about; in a grid, the tile that represents the group.
      others: pair: the other tile; choice: a tile for each of 2 to 5 groups, the likeliest first; grid: 2
        to 12 tiles.
      gain_per_s: expected gain, >= 0, in the units of `worth_asking` a second.
    """

    kind: str
    subject: int
    others: tuple[int, ...]
    gain_per_s: float


class GlanceAnswer(NamedTuple):
    """One of the pair answers that a glance implies; the arguments of `add_interleaved_answer`.

    Attributes:
      first: the glance's subject.
      second: another of its tiles.
      answer: of this pair.
      miss_rate: probability that a difference was overlooked; 0 except for tiles that were not clicked.
      is_last: whether it is the glance's last answer; no tile is settled before it.
    """

    first: int
    second: int
    answer: Answer
    miss_rate: float = 0.0
    is_last: bool = True

    def reading(self) -> dict[str, Any]:
        """Return the keyword arguments of `add_interleaved_answer` for this answer."""
        return {"miss_rate": self.miss_rate, "is_last": self.is_last}


def answers_of(
    glance: Glance, picked: Collection[int], *, is_unsure: bool = False, miss_rate: float = MISS_RATE
) -> list[GlanceAnswer]:
    """Return the pair answers that a glance's answer implies, in the order in which to learn from them.

    Args:
      glance: what was shown.
      picked: those of `glance.others` that the person pointed at: the tile that the subject is like, of a
        pair or a choice; in a grid the tiles that are not like it.
      is_unsure: whether the person was unsure; nothing is picked then. In a grid it has no meaning.
      miss_rate: share of odd tiles that are overlooked in a grid, in [0, 1).

    >>> [answer.answer.name for answer in answers_of(Glance("choice", 9, (1, 2, 3), 0.0), {2})]
    ['DISSIMILAR', 'SIMILAR']
    """
    subject, others = glance.subject, glance.others
    if is_unsure:
        return [] if glance.kind == "grid" else [GlanceAnswer(subject, others[0], Answer.UNSURE)]
    if glance.kind == "grid":
        odd = [GlanceAnswer(subject, tile, Answer.DISSIMILAR) for tile in others if tile in picked]
        alike = [tile for tile in others if tile not in picked]
        return _in_one([*odd, *(GlanceAnswer(subject, tile, Answer.SIMILAR, miss_rate) for tile in alike)])
    refused = [other for other in others if other not in picked]
    if picked:
        refused = refused[: others.index(next(iter(picked)))]
    replies = [(other, Answer.DISSIMILAR) for other in refused]
    replies += [(other, Answer.SIMILAR) for other in picked]
    return _in_one([GlanceAnswer(subject, other, answer) for other, answer in replies])


def _in_one(answers: list[GlanceAnswer]) -> list[GlanceAnswer]:
    return [*(answer._replace(is_last=False) for answer in answers[:-1]), *answers[-1:]]


def next_glance(
    graph: NeighbourGraph,
    state: Interleaved,
    seconds: GlanceSeconds | None = None,
    kinds: Collection[str] = KINDS,
    settings: BeliefSettings | None = None,
    *,
    mixes_first: bool = False,
) -> Glance | None:
    """Choose the next glance: the one with the largest expected gain per second about the tile in question.

    Args:
      graph: of the tiles.
      state: after all answers; the page's mode `pairs` has the same.
      seconds: expected times of the person; by default of an average person.
      kinds: allowed kinds, among `KINDS`.
      settings: how answers are weighed.
      mixes_first: as `open_questions`.

    Returns:
      The glance, with tiles as positions in the graph, or None if nothing is left to ask.
    """
    return next(open_glances(graph, state, seconds, kinds, settings, mixes_first=mixes_first), None)


def open_glances(
    graph: NeighbourGraph,
    state: Interleaved,
    seconds: GlanceSeconds | None = None,
    kinds: Collection[str] = KINDS,
    settings: BeliefSettings | None = None,
    *,
    mixes_first: bool = False,
) -> Iterator[Glance]:
    """Propose glances lazily, best first, each a good one whatever the answers to those before it.

    The arguments are those of `next_glance`. Two groups that may be one are compared first.
    `mixes_first` is that of `open_questions`.
    """
    seconds, settings = seconds or GlanceSeconds(), settings or BeliefSettings()
    beliefs = state.beliefs
    if mixes_first and "pair" in kinds and (pair := welcome_pair(graph, state)) is not None:
        yield Glance("pair", pair[0], pair[1:], 0.0)
    if "pair" in kinds and (pair := joining_pair(graph, beliefs, settings)) is not None:
        yield Glance("pair", pair[0], pair[1:], 0.0)
    worth = worth_asking(graph, beliefs, settings)
    hopes = _hopes(state, worth, seconds, settings)
    waiting = [*state.pending]
    while waiting or worth.any():
        tile = waiting[0] if waiting else int(np.argmax(worth))
        single = _single_glance(graph, state, tile, float(hopes.worth[tile]), seconds, kinds, settings)
        grid = _best_grid(graph, beliefs, hopes, worth > 0, seconds) if "grid" in kinds else None
        if grid and (single is None or grid.gain_per_s > GRID_MARGIN * single.gain_per_s):
            yield grid
            done = grid.others
        else:
            if single is not None:
                yield single
            waiting, done = waiting[1:], (tile,)
        for tile in done:
            worth[[tile, *_neighbours(graph, tile)]] = 0
    if "pair" in kinds:
        for first, second in open_questions(graph, state, settings):
            yield Glance("pair", first, (second,), 0.0)


def sharpened(believed: FloatMatrix) -> FloatMatrix:
    """Return chances float64[..., G + 1] to the power of `SHARPNESS`, of sum 1, as far as they are known.

    A new group keeps its chance; where that is more than `MAX_NEW`, so do all others.
    """
    new = believed[..., -1:]
    powers = np.maximum(believed[..., :-1], 1e-150) ** SHARPNESS
    known = np.concatenate([(1 - new) * powers / powers.sum(axis=-1, keepdims=True), new], axis=-1)
    return np.where(new > MAX_NEW, believed, known)


class _Hopes(NamedTuple):
    """The expectations for the tiles, the same for all glances proposed together.

    Attributes:
      worth: float64[M], of a question about each, less where it is nearly sure.
      tiles: int[T], the open ones that are worth a question.
      gains: float64[T, G], gain of each tile in a grid of each group; 0 if it is already in question.
      costs: float64[T, G], seconds of each in a grid of each group.
    """

    worth: FloatMatrix
    tiles: npt.NDArray[np.intp]
    gains: FloatMatrix
    costs: FloatMatrix


def _hopes(
    state: Interleaved, worth: FloatArray, seconds: GlanceSeconds, settings: BeliefSettings
) -> _Hopes:
    """Return the expectations for the tiles, from sharpened beliefs."""
    beliefs, rate = state.beliefs, error_rate(state.beliefs, settings)
    sharp_worth = worth.astype(np.float64)
    tiles = np.flatnonzero((beliefs.groups == OPEN) & (worth > 0))
    if not tiles.size:
        nothing = np.zeros((0, beliefs.num_groups))
        return _Hopes(sharp_worth, tiles, nothing, nothing)
    believed = open_chances(beliefs, tiles, settings)
    sharp = sharpened(believed)
    nats = entropy(sharp)
    sharp_worth[tiles] *= nats / np.maximum(entropy(believed), 1e-9)
    alike = sharp[:, :-1]
    gains = sharp_worth[tiles, None] * grid_information(alike, rate, MISS_RATE)
    gains /= np.maximum(nats, 1e-9)[:, None]
    gains[(alike < MIN_ALIKE) | (sharp[:, -1:] > MAX_NEW)] = 0
    gains[np.isin(tiles, list(state.pending))] = 0
    costs = seconds.grid_tile + seconds.grid_click * click_chances(alike, rate, MISS_RATE)
    return _Hopes(sharp_worth, tiles, gains, costs)


def _single_glance(
    graph: NeighbourGraph,
    state: Interleaved,
    tile: int,
    worth: float,
    seconds: GlanceSeconds,
    kinds: Collection[str],
    settings: BeliefSettings,
) -> Glance | None:
    """Return the pair or choice about a tile that gains most per second; None if it has no question."""
    beliefs, rate = state.beliefs, error_rate(state.beliefs, settings)
    asking = asking_about(beliefs, tile, state.pending.get(tile, ()))
    most = MAX_FIRST_CHOICES if open_medoids(graph, asking).size else MAX_CHOICES
    shown = [*zip(range(most), partners(graph, asking, settings), strict=False)]
    order, others = [group for _, (group, _) in shown], tuple(other for _, (_, other) in shown)
    believed = chances(graph, asking, tile, settings)
    believed = sharpened(np.append(believed[order], np.delete(believed, order)))
    open_nats = max(float(entropy(believed)), 1e-9)
    may_choose = beliefs.groups[tile] == OPEN
    best = None
    for count in range(1, len(others) + 1 if may_choose else min(len(others), 1) + 1):
        kind = "pair" if count == 1 else "choice"
        if kind not in kinds:
            continue
        gain = worth * choice_information(believed, count, rate) / open_nats
        glance = Glance(kind, tile, others[:count], float(gain) / seconds.of(kind, count))
        if best is None or glance.gain_per_s > best.gain_per_s:
            best = glance
    return best


def _best_grid(
    graph: NeighbourGraph,
    beliefs: Beliefs,
    hopes: _Hopes,
    is_left: npt.NDArray[np.bool_],
    seconds: GlanceSeconds,
) -> Glance | None:
    """Return the grid that gains most per second; None if no group has one.

    Args:
      graph: of the tiles.
      beliefs: about them.
      hopes: expectations for them.
      is_left: bool[M], tiles that no earlier glance is about.
      seconds: expected times of the person.
    """
    best = None
    for group in range(beliefs.num_groups):
        anchors = exemplars(beliefs, group)
        if not anchors.size:
            continue
        anchor = int(anchors[0])
        is_free = is_left[hopes.tiles] & ~was_asked(beliefs, anchor, hopes.tiles)
        gains = np.where(is_free, hopes.gains[:, group], 0)
        grid = _grid(graph, anchor, hopes.tiles, gains, hopes.costs[:, group], seconds)
        if grid is not None and (best is None or grid.gain_per_s > best.gain_per_s):
            best = grid
    return best


def _grid(
    graph: NeighbourGraph,
    anchor: int,
    tiles: npt.NDArray[np.intp],
    gains: FloatMatrix,
    costs: FloatMatrix,
    seconds: GlanceSeconds,
) -> Glance | None:
    """Return the grid around an anchor with the largest gain per second; None if two tiles are too many.

    Tiles are added in the order of their own gain per second, until the next would lower that of all.
    """
    others: list[int] = []
    gain, cost = 0.0, seconds.grid
    left = np.zeros(len(graph.features))
    left[tiles] = gains
    prices = np.ones(len(graph.features))
    prices[tiles] = costs
    while len(others) < MAX_TILES:
        tile = int(np.argmax(left / prices))
        if left[tile] * cost <= gain * prices[tile]:
            break
        others.append(tile)
        gain, cost = gain + float(left[tile]), cost + float(prices[tile])
        left[tile] = 0
        left[_neighbours(graph, tile)] = 0
    return Glance("grid", anchor, tuple(others), gain / cost) if len(others) >= MIN_TILES else None


def _neighbours(graph: NeighbourGraph, tile: int) -> npt.NDArray[np.integer]:
    return graph.smooth.indices[graph.smooth.indptr[tile] : graph.smooth.indptr[tile + 1]]
