"""The next question for a person, by what is believed about groups of tiles.

A question is about one tile and a group, shown by the group's founder, or, where that was asked about, by
its member nearest to the tile. The tile is the one about which most is left open, in a neighbourhood where
much is left open; before all others come the medoids of the archive's clusters. Its groups are asked in the
order of belief until one is settled. If two groups look like one once the medoids are done, their oldest
members are compared. A settled tile that its neighbours contradict is asked about again.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from anneal_jax.acquisition.beliefs.neighbours import NeighbourGraph
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    Beliefs,
    BeliefSettings,
    chances,
    joining_chances,
    membership,
    open_medoids,
    own_beliefs,
    refusals_of_new,
    unreached,
)
from anneal_jax.acquisition.beliefs.update import settle_subject
from anneal_jax.types import FloatArray

UNREACHED_WEIGHT = 2.0
"""Nats that a tile counts for if nothing at all is known about it."""

OWN_WEIGHT = 0.3
"""Weight of a tile's own uncertainty relative to that of its neighbourhood."""

MAX_SHOWN = 20
"""Members of a group that are compared with those of another one."""

MIN_GROUP = 1e-4
"""Chance of a group below which it is not asked about."""


def next_question(
    graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings | None = None
) -> tuple[Beliefs, tuple[int, int] | None]:
    """Choose the next pair to ask about.

    Args:
      graph: of the tiles.
      state: what is believed.
      settings: how answers are weighed.

    Returns:
      (state, pair): the beliefs, with the tile in question noted, and its pair (i, j), i < j, or None if
      nothing is left to ask.
    """
    settings = settings or BeliefSettings()
    while True:
        if state.subject == OPEN:
            pair = joining_pair(graph, state, settings)
            if pair is not None:
                return state, pair
            tile = _most_open_tile(graph, state, settings)
            if tile is None:
                return state, None
            state = state._replace(subject=tile, replies=())
        other = partner(graph, state, settings)
        if other is not None:
            low, high = sorted((state.subject, other))
            return state, (low, high)
        state = _give_up(graph, state, settings)


def openness(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> FloatArray:
    """Return the uncertainty about each tile, float32[M], in nats; 0 if there is nothing to ask.

    The entropy of its groups, and more the fewer walks from it meet a settled tile. A settled tile counts
    where its neighbours and its answers together deny its group. Tiles put aside wait for all others.
    """
    member = membership(state, settings)
    is_open, may_check = state.groups == OPEN, state.num_answers < settings.most_checks
    nats = np.where(is_open, _entropy(member) + UNREACHED_WEIGHT * unreached(state), np.float32(0))
    settled = np.flatnonzero(~is_open & may_check)
    if settled.size:
        joint, own = own_beliefs(graph, state, member, settled)
        has_answers = state.num_answers[settled] > 0
        nats[settled] = np.where((own < 0.5) & has_answers, _entropy(joint), 0)
    ready = np.where(state.is_aside, np.float32(0), nats)
    return ready if ready.any() else np.where(may_check, nats, np.float32(0))


def _entropy(shares: FloatArray) -> FloatArray:
    return -np.sum(shares * np.log(np.maximum(shares, 1e-12)), axis=1)


def worth_asking(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> FloatArray:
    """Return what a question about each tile is worth, float32[M]: much is open about it and around it.

    The medoids that are not done are worth more than all others, in their order.
    """
    nats = openness(graph, state, settings)
    around: FloatArray = np.asarray(graph.smooth @ nats, np.float32)
    worth = np.multiply(nats, around + OWN_WEIGHT * nats, dtype=np.float32)
    first = open_medoids(graph, state)
    worth[first] = max(1, worth.max()) * (1 + np.arange(first.size, 0, -1))
    return worth


def _most_open_tile(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> int | None:
    worth = worth_asking(graph, state, settings)
    tile = int(np.argmax(worth))
    return tile if worth[tile] > 0 else None


def partner(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> int | None:
    """Return the tile to compare the subject with; None if no group is worth a question."""
    return next((tile for _, tile in partners(graph, state, settings)), None)


def partners(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> Iterator[tuple[int, int]]:
    """Yield the groups worth asking the subject about, the likeliest first, each with its tile to show."""
    believed = chances(graph, state, state.subject, settings)
    must_ask = len(state.replies) < refusals_of_new(graph, state, settings)
    least = MIN_GROUP if must_ask else max(MIN_GROUP, believed[-1])
    for group in np.argsort(-believed[:-1], kind="stable"):
        if believed[group] < least:
            return
        members = exemplars(state, group)
        free = (members != state.subject) & ~was_asked(state, state.subject, members)
        if free.any() and free[0]:
            yield int(group), int(members[0])
        elif free.any():
            members = members[free]
            nearest = np.argmax(graph.features[members] @ graph.features[state.subject])
            yield int(group), int(members[nearest])


def exemplars(state: Beliefs, group: np.intp | int) -> npt.NDArray[np.intp]:
    """Return the tiles that may stand for a group in a question, its founder first.

    The founder is asked with every tile. Were it the nearest member, one slip would let a second kind of
    tiles into the group, each let in by the one before.
    """
    members = np.flatnonzero((state.groups == group) & (state.seniority > 0))
    return members[np.argsort(state.seniority[members])]


def _give_up(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> Beliefs:
    """Close a subject about which nothing is left to ask; one that no question was put about, for good."""
    if state.replies:
        return settle_subject(graph, state, settings)
    num_answers, is_aside = state.num_answers.copy(), state.is_aside.copy()
    num_answers[state.subject], is_aside[state.subject] = settings.most_checks, True
    return state._replace(num_answers=num_answers, is_aside=is_aside, subject=OPEN)


def joining_pair(graph: NeighbourGraph, state: Beliefs, settings: BeliefSettings) -> tuple[int, int] | None:
    """Return members of the two groups that most look like one, if they look it enough.

    The founders first, then the second of both, and so on: each question has tiles of its own. The nearest
    members would be those that a slip has put into the wrong group.
    """
    if state.num_groups < 3 or open_medoids(graph, state).size:
        return None  # two groups look like one as long as those between them are not found
    chance = np.triu(joining_chances(graph, state, settings), 1)
    for flat in np.argsort(-chance, axis=None, kind="stable")[:3]:
        one, other = np.unravel_index(flat, chance.shape)
        if chance[one, other] < settings.least_joining:
            return None
        firsts, seconds = (_clear(state, exemplars(state, group))[:MAX_SHOWN] for group in (one, other))
        rows, columns = np.indices((len(firsts), len(seconds))).reshape(2, -1)
        for place in np.lexsort((rows + columns, np.abs(rows - columns))):
            low, high = sorted((int(firsts[rows[place]]), int(seconds[columns[place]])))
            if not was_asked(state, low, np.array([high]))[0]:
                return low, high
    return None


def _clear(state: Beliefs, tiles: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    """Return the tiles that nobody was unsure about, or all if there are none."""
    clear = tiles[~state.is_aside[tiles]]
    return clear if clear.size else tiles


def was_asked(state: Beliefs, tile: int, others: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    """Return which of the pairs of a tile with others, bool[O], were asked about."""
    keys = np.minimum(tile, others) * len(state.groups) + np.maximum(tile, others)
    places = np.searchsorted(state.asked, keys)
    return (places < len(state.asked)) & (np.append(state.asked, -1)[places] == keys)
