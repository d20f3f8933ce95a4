"""Where questions come from: one small contract, and the sources behind it.

A source is a value with pure functions over a state of its own. It is given every standing answer in the
order given (`add_answer`), and proposes pairs, the best first (`propose`); whoever asks takes the first
that may be asked. After an answer was taken back the state is made anew from the answers that still stand.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from anneal_jax.annotation.types import Known, Pair, Said


class QuestionSource(Protocol):
    """Chooses questions from what was answered. State is passed, never held."""

    def start(self) -> Any:
        """Return the state before any answer."""
        ...

    def add_answer(self, state: Any, said: Said) -> Any:
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
    return functools.reduce(source.add_answer, answers, source.start())


class ListedPairs(NamedTuple):
    """Asks a list of pairs in its order; a `QuestionSource`.

    Attributes:
      pairs: canonical.
      behind: makes those that follow; called when the last of `pairs` is reached, and should remember them.

    >>> source = ListedPairs(((0, 1), (2, 3)), lambda: [(1, 4)])
    >>> list(source.propose(source.start(), lambda first, second: None)[1])
    [(0, 1), (2, 3), (1, 4)]
    """

    pairs: Sequence[Pair]
    behind: Callable[[], Sequence[Pair]] = tuple

    def start(self) -> int:
        """Return the place of the first pair."""
        return 0

    def add_answer(self, state: int, said: Said) -> int:
        """Leave the place as it is: `propose` moves it."""
        del said
        return state

    def propose(self, state: int, known: Known) -> tuple[int, Iterator[Pair]]:
        """Propose the pairs from the first unknown one on."""
        for pair in self._from(state):
            if known(*pair) is None:
                break
            state += 1
        return state, self._from(state)

    def _from(self, place: int) -> Iterator[Pair]:
        yield from self.pairs[place:]
        yield from self.behind()[max(0, place - len(self.pairs)) :]
