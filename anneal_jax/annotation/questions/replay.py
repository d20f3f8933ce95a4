"""Keeps earlier states of a source of questions, so that retracting an answer needs only a short replay."""

from collections.abc import Iterable
from typing import Any

from anneal_jax.annotation.questions.source import QuestionSource, SlowSource
from anneal_jax.annotation.types import Said

_DENSE = 4  # the newest states, all of which are kept


class ReplayLog:
    """A source, its state after all standing answers, and some of its earlier states.

    Of the last n states, two are kept for each power of two below n. Their number therefore stays small
    however many answers there are, and undoing the last n answers replays about n / 2 at most.

    A slow source finishes the newest answer only when its state is read, so that the page can acknowledge
    the answer first. Until then the log `is_behind`.
    """

    def __init__(self, source: QuestionSource, answers: Iterable[tuple[int, Said]] = ()):
        """Start from answers with their ids, in the order given."""
        self._source = source
        self._answers: list[tuple[int, Said]] = []
        self._states: dict[int, Any] = {0: source.start()}
        self._unfinished: SlowSource | None = None  # the source, while its newest state is not finished
        self._extend(answers)

    @property
    def source(self) -> QuestionSource:
        """The source."""
        return self._source

    @property
    def num_states(self) -> int:
        """Number of states kept."""
        return len(self._states)

    @property
    def state(self) -> Any:
        """The state after all answers."""
        newest = self._states[len(self._answers)]
        if self._unfinished is not None:
            newest = self._states[len(self._answers)] = self._unfinished.finish(newest)
            self._unfinished = None
        return newest

    @state.setter
    def state(self, state: Any) -> None:
        self._states[len(self._answers)] = state

    @property
    def is_behind(self) -> bool:
        """Whether the next use of the state takes long."""
        return self._unfinished is not None and self._unfinished.is_due(self._states[len(self._answers)])

    def add_answer(self, answer_id: int, said: Said) -> None:
        """Add one more answer."""
        self._extend([(answer_id, said)])

    def remove_answer(self, *answer_ids: int) -> None:
        """Remove one or more answers; the state becomes that after the remaining ones."""
        place = next(place for place, (key, _) in enumerate(self._answers) if key in answer_ids)
        self._states = {count: state for count, state in self._states.items() if count <= place}
        self._unfinished = None  # all states but the newest are finished
        start = max(self._states)
        behind = [row for row in self._answers[start:] if row[0] not in answer_ids]
        del self._answers[start:]
        self._extend(behind)

    def _extend(self, answers: Iterable[tuple[int, Said]]) -> None:
        coming, state = list(answers), self.state
        total = len(self._answers) + len(coming)
        for count, (answer_id, said) in enumerate(coming, start=len(self._answers) + 1):
            if count == total and said.is_trained and isinstance(self._source, SlowSource):
                state, self._unfinished = self._source.take_answer(state, said), self._source
            else:
                state = self._source.add_answer(state, said)
            self._answers.append((answer_id, said))
            if _is_kept(count, total):
                self._states[count] = state
        self._states = {count: kept for count, kept in self._states.items() if _is_kept(count, total)}


def _is_kept(count: int, total: int) -> bool:
    """Return whether the state after `count` of `total` answers is kept; a dropped state never returns."""
    return count % _step(total - count) == 0


def _step(distance: int) -> int:
    """Return the spacing of states kept at a distance: 1, then 2 from distance 4, 4 from distance 8."""
    return 1 if distance < _DENSE else 1 << (distance.bit_length() - _DENSE.bit_length() + 1)
