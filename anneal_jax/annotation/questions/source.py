"""Where questions come from: one small contract, and the sources behind it.

A source is a value with pure functions over a state of its own. It is given every standing answer in the
order given (`absorb`), and proposes pairs, the best first (`propose`); whoever asks takes the first that
may be asked. After an answer was taken back the state is made anew from the answers that still stand.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from anneal_jax.pairs.canonical import canonicalise
from anneal_jax.types import Answer, FloatArray, IntArray, PairIndices

Pair = tuple[int, int]
"""Two tiles, first < second."""

Known = Callable[[int, int], int | None]
"""What is known of a pair: 1 similar, 0 dissimilar, 2 unsure (an `Answer`), or None."""

ANCHORS = 256
"""Tiles that the cold start asks about, at most."""

PARTNERS = 5
"""Likely similar, and again likely dissimilar, partners of each of them."""

MEMBERS = 5
"""Tiles of a group that are shown beside its founder."""

_APART = 0.3  # place of a likely dissimilar anchor among all others, the nearest first
_SHORTEST = 1e-12


class Said(NamedTuple):
    """A standing answer as a source sees it.

    Attributes:
      first: a tile.
      second: another one, first < second.
      answer: what was said.
      is_trained: whether it may be learnt from; audits and repeats only measure.
    """

    first: int
    second: int
    answer: Answer
    is_trained: bool = True


class QuestionSource(Protocol):
    """Chooses questions from what was answered. State is passed, never held."""

    def start(self) -> Any:
        """Return the state before any answer."""
        ...

    def absorb(self, state: Any, said: Said) -> Any:
        """Return the state after one more answer, also an unsure one, asked by whomever."""
        ...

    def propose(self, state: Any, known: Known) -> tuple[Any, Iterator[Pair]]:
        """Propose pairs, the best first.

        Args:
          state: after every standing answer.
          known: what is answered or implied already; such pairs are passed over by the caller.

        Returns:
          The state, advanced over what is known, and pairs, lazily. The later ones should be good
          questions whatever the answers to the earlier ones: they are prefetched.
        """
        ...


def replayed(source: QuestionSource, answers: Iterable[Said]) -> Any:
    """Return a source's state after all standing answers, in the order given."""
    return functools.reduce(source.absorb, answers, source.start())


class ListedPairs(NamedTuple):
    """Asks a list of pairs in its order; a `QuestionSource`.

    Attributes:
      pairs: canonical.

    >>> source = ListedPairs(((0, 1), (2, 3)))
    >>> list(source.propose(source.start(), lambda first, second: None)[1])
    [(0, 1), (2, 3)]
    """

    pairs: Sequence[Pair]

    def start(self) -> int:
        """Return the place of the first pair."""
        return 0

    def absorb(self, state: int, said: Said) -> int:
        """Leave the place as it is: `propose` moves it."""
        del said
        return state

    def propose(self, state: int, known: Known) -> tuple[int, Iterator[Pair]]:
        """Propose the pairs from the first unknown one on."""
        while state < len(self.pairs) and known(*self.pairs[state]) is not None:
            state += 1
        return state, iter(self.pairs[state:])


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

    def absorb(self, state: _Groups, said: Said) -> _Groups:
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
        lengths = np.maximum(np.linalg.norm(state.sums, axis=1), _SHORTEST)
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


def cold_start_pairs(directions: FloatArray, *, seed: int) -> PairIndices:
    """Choose first questions from features alone: half likely similar, half not, all over the archive.

    Anchors are drawn as k-means++ draws centres, far from each other yet where tiles are. Each is paired
    with its nearest tiles, and with other anchors at the edge of the nearest third: likely dissimilar, and
    not so far that nothing would be learnt.

    Args:
      directions: float32[N, F], centred features of unit length, N >= 2.
      seed: of the draws.

    Returns:
      int32[P, 2], canonical, unique, in the order to ask: similar and dissimilar take turns, and every
      anchor is asked about once before any is asked about again.

    Source: arthur2007kmeanspp for the anchors; the pairs are this project's.
    """
    from sklearn.cluster import kmeans_plusplus

    num_tiles = len(directions)
    _, anchors = kmeans_plusplus(
        directions, min(ANCHORS, num_tiles), random_state=np.random.RandomState(seed)
    )
    anchors = np.array(list(dict.fromkeys(anchors.tolist())))  # where all tiles are one, one is drawn again
    num_partners = min(PARTNERS, num_tiles - 1)
    similarities = directions[anchors] @ directions.T
    similarities[np.arange(len(anchors)), anchors] = -np.inf
    nearest = np.argsort(-similarities, axis=1, kind="stable")[:, :num_partners]
    by_anchor = np.argsort(-similarities[:, anchors], axis=1, kind="stable")
    drawn = []
    for rank in range(num_partners):
        apart = min(int(_APART * len(anchors)) + rank, len(anchors) - 2)
        for place, anchor in enumerate(anchors.tolist()):
            drawn.append((anchor, nearest[place, rank]))
            drawn.append((anchor, anchors[by_anchor[place, apart]]))
    pairs = canonicalise(np.array([pair for pair in drawn if pair[0] != pair[1]], np.int32))
    _, first_places = np.unique(pairs, axis=0, return_index=True)
    return pairs[np.sort(first_places)]


def unit_directions(vectors: FloatArray) -> FloatArray:
    """Centre vectors float32[N, F] and give each unit length; the products are cosines."""
    centred = vectors - np.mean(vectors, axis=0, dtype=np.float64).astype(np.float32)
    return centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), np.float32(_SHORTEST))


def _pair(first: int, second: int) -> Pair:
    return (first, second) if first < second else (second, first)
