"""Asks of tile after tile whether it belongs to a group."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from anneal_jax.annotation.types import Known, Pair, Said
from anneal_jax.types import MIN_NORM, FloatArray, IntArray

MEMBERS = 5
"""Tiles of a group that are shown beside its founder."""


class _Groups(NamedTuple):
    """Tiles grouped so far: all of `order` before `place`."""

    place: int
    founders: tuple[int, ...]
    sums: FloatArray
    members: tuple[tuple[int, ...], ...] = ()


class GroupQuestions(NamedTuple):
    """Asks of tile after tile "same as this group?", nearest group first; a `QuestionSource`.

    As `acquisition.group_ask.group_by_asking`, but a question at a time, and never one whose answer follows
    from others: the groups are read off what is known. Unsure counts as no.

    Attributes:
      directions: float32[N, F], of every tile, centred.
      order: int32[M], tiles in the order to group them.
    """

    directions: FloatArray
    order: IntArray

    def start(self) -> _Groups:
        """Return no groups."""
        return _Groups(0, (), np.zeros((0, self.directions.shape[1]), np.float32))

    def add_answer(self, state: _Groups, said: Said) -> _Groups:
        """Leave the groups as they are: `propose` reads them off what is known."""
        del said
        return state

    def propose(self, state: _Groups, known: Known) -> tuple[_Groups, Iterator[Pair]]:
        """Group tiles as far as it is known, then ask about the first that is not settled."""
        while state.place < len(self.order):
            tile = int(self.order[state.place])
            nearest = self._nearest(state, tile)
            labels = (known(*_pair(tile, state.founders[group])) for group in nearest)
            place, label = next(
                ((place, label) for place, label in enumerate(labels) if label in (None, 1)), (-1, None)
            )
            if place >= 0 and label is None:
                return state, self._questions(state, nearest[place:])
            state = self._join(state, tile, int(nearest[place]) if place >= 0 else None)
        return state, iter(())

    def shown(self, state: _Groups, pair: Pair) -> tuple[int, ...]:
        """Return how any pair is put: the tile in question, then tiles of the group it is compared with.

        One of the pair stands for its group: a founder before others. The group's founder comes first, then
        the `MEMBERS` others that are most like the tile, the one of the pair surely among them. So an audit
        of a tile and one of its nearest looks like any question about that tile and that group. A pair of
        no group is put as one about a group of one tile.
        """
        places = {image: self._place(state, image) for image in pair}
        other = min(pair[::-1], key=lambda image: (image not in state.founders, places[image]))
        tile = pair[0] if other == pair[1] else pair[1]
        members = state.members[places[other]] if places[other] < len(state.members) else (other,)
        others = np.array([image for image in members[1:] if image != tile], np.int32)
        likeness = self.directions[others] @ self.directions[tile]
        likest = others[np.argsort(-likeness, kind="stable")]
        is_kept = np.arange(likest.size) < MEMBERS
        if other in likest[MEMBERS:]:
            is_kept[MEMBERS - 1], is_kept[likest == other] = False, True
        return (tile, members[0], *likest[is_kept].tolist())

    def _place(self, state: _Groups, image: int) -> int:
        """Return the group of a tile, or one behind the last where it has none."""
        return next(
            (place for place, tiles in enumerate(state.members) if image in tiles), len(state.members)
        )

    def _questions(self, state: _Groups, nearest: IntArray) -> Iterator[Pair]:
        """Yield what follows a no, then, for a yes, the nearest groups of the tiles behind."""
        tile = int(self.order[state.place])
        yield from (_pair(tile, state.founders[group]) for group in nearest[:2])
        for following in self.order[state.place + 1 :].tolist():
            yield _pair(following, state.founders[self._nearest(state, following)[0]])

    def _nearest(self, state: _Groups, tile: int) -> IntArray:
        lengths = np.maximum(np.linalg.norm(state.sums, axis=1), MIN_NORM)
        return np.argsort(-(state.sums @ self.directions[tile]) / lengths, kind="stable").astype(np.int32)

    def _join(self, state: _Groups, tile: int, group: int | None) -> _Groups:
        direction = self.directions[tile][None]
        if group is None:
            founders = (*state.founders, tile)
            sums = np.concatenate([state.sums, direction])
            return _Groups(state.place + 1, founders, sums, (*state.members, (tile,)))
        sums, members = state.sums.copy(), list(state.members)
        sums[group] += direction[0]
        members[group] = (*members[group], tile)
        return state._replace(place=state.place + 1, sums=sums, members=tuple(members))


def _pair(first: int, second: int) -> Pair:
    return (first, second) if first < second else (second, first)
