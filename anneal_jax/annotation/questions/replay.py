"""What a source of questions thought after each answer, so that taking one back needs no long replay."""

from collections.abc import Iterable
from typing import Any

from anneal_jax.annotation.questions.source import QuestionSource
from anneal_jax.annotation.types import Said

_DENSE = 4  # newest states that are all kept


class ReplayLog:
    """A source, its state after all answers that stand, and some of its states before.

    Of the states some n answers ago, two are kept for each power of two below n. So there are few,
    however many answers, and to take back the last n answers replays about n / 2 at most.
    """

    def __init__(self, source: QuestionSource, answers: Iterable[tuple[int, Said]] = ()):
        """Take up answers by their ids, in the order given."""
        self._source = source
        self._answers: list[tuple[int, Said]] = []
        self._states: dict[int, Any] = {0: source.start()}
        self._extend(answers)

    @property
    def source(self) -> QuestionSource:
        """The source."""
        return self._source

    @property
    def num_states(self) -> int:
        """How many states are kept."""
        return len(self._states)

    @property
    def state(self) -> Any:
        """The state after all answers."""
        return self._states[len(self._answers)]

    @state.setter
    def state(self, state: Any) -> None:
        self._states[len(self._answers)] = state

    def add_answer(self, answer_id: int, said: Said) -> None:
        """Take one more answer up."""
        self._extend([(answer_id, said)])

    def remove_answer(self, *answer_ids: int) -> None:
        """Let go of an answer, or of several; the state is the one that the others lead to."""
        place = next(place for place, (key, _) in enumerate(self._answers) if key in answer_ids)
        self._states = {count: state for count, state in self._states.items() if count <= place}
        start = max(self._states)
        behind = [row for row in self._answers[start:] if row[0] not in answer_ids]
        del self._answers[start:]
        self._extend(behind)

    def _extend(self, answers: Iterable[tuple[int, Said]]) -> None:
        coming, state = list(answers), self.state
        total = len(self._answers) + len(coming)
        for count, (answer_id, said) in enumerate(coming, start=len(self._answers) + 1):
            state = self._source.add_answer(state, said)
            self._answers.append((answer_id, said))
            if _is_kept(count, total):
                self._states[count] = state
        self._states = {count: kept for count, kept in self._states.items() if _is_kept(count, total)}


def _is_kept(count: int, total: int) -> bool:
    """Tell whether the state after `count` of `total` answers is kept; once let go, it is so for good."""
    return count % _step(total - count) == 0


def _step(distance: int) -> int:
    """Return the distance between the states kept so many answers ago: 1, then 2 from 4 on, 4 from 8 on."""
    return 1 if distance < _DENSE else 1 << (distance.bit_length() - _DENSE.bit_length() + 1)
