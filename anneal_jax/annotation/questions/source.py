"""The protocol of a source of questions, and simple sources.

A source is a value with pure functions over a state of its own. The scheduler passes it every standing
answer in the order given (`add_answer`), and takes the first acceptable pair that it proposes, best first
(`propose`). After a retraction the state is rebuilt from the answers that still stand.
"""

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

from anneal_jax.annotation.types import Known, Pair, Said


class QuestionSource(Protocol):
    """Chooses questions from the answers. State is passed in, never stored."""

    def start(self) -> Any:
        """Return the state before any answer."""
        ...

    def add_answer(self, state: Any, said: Said) -> Any:
        """Return the state after one more answer, including unsure ones, whoever asked."""
        ...

    def propose(self, state: Any, known: Known) -> tuple[Any, Iterator[Pair]]:
        """Propose pairs, best first.

        Args:
          state: after every standing answer.
          known: returns what is already answered or implied; the caller skips such pairs.

        Returns:
          The state, advanced past what is known, and an iterator of pairs. Later pairs should be good
          questions whatever the answers to earlier ones, because they are prefetched.
        """
        ...


@runtime_checkable
class SlowSource(QuestionSource, Protocol):
    """A source that sometimes takes long to add an answer that may be trained on.

    Its `add_answer` of such an answer is `take_answer`, then `finish`; other answers take no time.
    """

    def take_answer(self, state: Any, said: Said) -> Any:
        """Return the state after one more answer that may be trained on, before it is finished."""
        ...

    def finish(self, state: Any) -> Any:
        """Return the state after all that an answer means; a second call changes nothing."""
        ...

    def is_due(self, state: Any) -> bool:
        """Return whether `finish` takes long."""
        ...


def replayed(source: QuestionSource, answers: Iterable[Said]) -> Any:
    """Return a source's state after all standing answers, in the order given."""
    return functools.reduce(source.add_answer, answers, source.start())


class ListedPairs(NamedTuple):
    """Asks about a list of pairs in order; a `QuestionSource`.

    Attributes:
      pairs: canonical.
      behind: returns the pairs that follow; called after the last of `pairs`, and should cache its result.

    >>> source = ListedPairs(((0, 1), (2, 3)), lambda: [(1, 4)])
    >>> list(source.propose(source.start(), lambda first, second: None)[1])
    [(0, 1), (2, 3), (1, 4)]
    """

    pairs: Sequence[Pair]
    behind: Callable[[], Sequence[Pair]] = tuple

    def start(self) -> int:
        """Return the position of the first pair."""
        return 0

    def add_answer(self, state: int, said: Said) -> int:
        """Keep the position: `propose` advances it."""
        del said
        return state

    def propose(self, state: int, known: Known) -> tuple[int, Iterator[Pair]]:
        """Propose the pairs from the first unknown one."""
        for pair in self._from(state):
            if known(*pair) is None:
                break
            state += 1
        return state, self._from(state)

    def _from(self, place: int) -> Iterator[Pair]:
        yield from self.pairs[place:]
        yield from self.behind()[max(0, place - len(self.pairs)) :]
