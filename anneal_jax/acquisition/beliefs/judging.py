"""What is believed of answers that were given, and of tiles that nobody was asked about."""

from collections.abc import Mapping

import numpy as np

from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import Beliefs, BeliefSettings, chances, settled_groups
from anneal_jax.types import IntArray


def chance_alike(session: BeliefSession, beliefs: Beliefs, first: int, second: int) -> float | None:
    """Return the chance that two tiles of the archive are alike, by their neighbours and all answers.

    Each of the two is judged as if it were not settled in its group, so that a slip shows.

    Returns:
      In [0, 1]; None if the beliefs do not include one of the tiles, or any group yet.
    """
    places = np.searchsorted(session.tiles, (first, second))
    is_known = np.array_equal(session.tiles.take(places, mode="clip"), (first, second))
    if not is_known or not beliefs.num_groups:
        return None
    one, other = (
        chances(session.graph_of(beliefs), beliefs, int(place), BeliefSettings()) for place in places
    )
    return float(one[:-1] @ other[:-1])


def likely_members(
    session: BeliefSession, beliefs: Beliefs, group_of: Mapping[int, int], least: float = 0.9
) -> dict[int, list[tuple[int, float]]]:
    """Return the tiles that are believed to belong to known groups, and are in none of them.

    Args:
      session: the tiles.
      beliefs: after all answers.
      group_of: a number of the group of each tile that has one.
      least: minimum belief for a tile to be included.

    Returns:
      (tile, belief) by group, the most believed first.
    """
    groups, belief = settled_groups(session.graph_of(beliefs), beliefs)
    known = np.array([group_of.get(tile, -1) for tile in session.tiles.tolist()])
    named = _groups_of_beliefs(beliefs, groups, known)
    found: dict[int, list[tuple[int, float]]] = {}
    for place in np.flatnonzero((known < 0) & (belief >= least)).tolist():
        if (group := named.get(int(groups[place]))) is not None:
            found.setdefault(group, []).append((int(session.tiles[place]), float(belief[place])))
    return {group: sorted(tiles, key=lambda row: (-row[1], row[0])) for group, tiles in found.items()}


def num_moved(before: IntArray, after: IntArray) -> int:
    """Return how many tiles changed groups, however the groups are numbered.

    A group stays what it was where most of its tiles are now; the others have moved. Groups that are
    joined move nothing.

    Args:
      before: int32[M], the group of each tile, >= 0.
      after: int32[M], the same later.

    >>> num_moved(np.array([0, 0, 0, 1, 1]), np.array([5, 5, 2, 2, 2]))
    1
    """
    counts = np.zeros((before.max(initial=0) + 1, after.max(initial=0) + 1), np.int64)
    np.add.at(counts, (before, after), 1)
    return int(len(before) - counts.max(axis=1).sum())


def _groups_of_beliefs(beliefs: Beliefs, groups: np.ndarray, known: np.ndarray) -> dict[int, int]:
    """Return for each group of the beliefs the known one that most of its tiles are in."""
    named = {}
    for group in range(beliefs.num_groups):
        numbers, counts = np.unique(known[(groups == group) & (known >= 0)], return_counts=True)
        if numbers.size:
            named[group] = int(numbers[np.argmax(counts)])
    return named
