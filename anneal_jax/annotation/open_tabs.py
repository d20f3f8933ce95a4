"""The open pages, the questions that each holds, and how fast the people who use them answer."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from anneal_jax.acquisition.beliefs.seconds import GlanceSeconds, GlanceTime
from anneal_jax.annotation.questions.plan import GLANCES, SILENT
from anneal_jax.annotation.questions.scheduler import QuestionScheduler
from anneal_jax.annotation.tab import GlanceQuestion, Question, Tab
from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.answers.writing import text_of
from anneal_jax.errors import StoreError

_Q = TypeVar("_Q", Question, GlanceQuestion)

AHEAD = 3
"""Number of questions that a tab holds: one is shown, the others are prefetched."""

_MAX_TABS = 64
_MAX_TIMES = 600  # newest answers from which a person's speed is estimated


class OpenTabs:
    """Open pages by their ids; if there are too many, the one unused for longest is dropped."""

    def __init__(self):
        """Start without pages."""
        self._tabs: dict[str, Tab] = {}

    def __getitem__(self, tab_id: str) -> Tab:
        """Return the page of a request.

        Raises:
          StoreError: the page is unknown.
        """
        if tab_id not in self._tabs:
            raise StoreError("the server no longer knows this page; reload it.")
        tab = self._tabs[tab_id] = self._tabs.pop(tab_id)
        tab.touch()
        return tab

    def open(self, tab_id: str, annotator: str, mode: str) -> None:
        """Open a page or continue with it.

        Raises:
          StoreError: the name of the annotator cannot be stored.
        """
        annotator = text_of("annotator", annotator)
        old = tab = self._tabs.pop(tab_id, None)
        if tab is None or (tab.annotator, tab.mode) != (annotator, mode):
            tab = Tab(annotator, mode)
        if old is not None and old is not tab:  # its question may be answered before the reply arrives
            old.keep(lambda *_: False)
            tab.withdrawn = old.withdrawn
        self._tabs[tab_id] = tab
        while len(self._tabs) > _MAX_TABS:
            self._tabs.pop(next(iter(self._tabs)))

    def keep(self, kept: Callable[[int, Question | GlanceQuestion], bool]) -> None:
        """Withdraw all other questions on every page; see `Tab.keep`."""
        for tab in self._tabs.values():
            tab.keep(kept)

    def withdraw_known(self, scheduler: QuestionScheduler) -> None:
        """Withdraw the questions whose answers are now implied."""
        self.keep(
            lambda _, q: (
                q.kind != "training" or q.is_check or all(scheduler.is_unknown(*pair) for pair in q.pairs)
            )
        )

    def forget_withdrawn(self) -> None:
        """Refuse later answers to withdrawn questions."""
        for tab in self._tabs.values():
            tab.withdrawn.clear()

    def fill(self, tab: Tab, scheduler: QuestionScheduler, records: Sequence[AnswerRecord]) -> None:
        """Add questions to a page until it holds `AHEAD` of them, or nothing is left to ask.

        While choosing would take long, a page that still has a question gets no more.

        Args:
          tab: one of these pages; a silent one gets no questions.
          scheduler: chooses the questions.
          records: the standing answers, in the order given.
        """
        if tab.mode == SILENT or len(tab.issued) >= AHEAD or (tab.issued and scheduler.is_behind):
            return
        seconds = seconds_of(records, tab.annotator) if tab.mode == GLANCES else None
        while len(tab.issued) < AHEAD:
            here = [other for other in self._tabs.values() if other is tab or other.is_here]
            put = [question for other in here for question in other.issued.values()]
            question = scheduler.next(tab.mode, put, seconds)
            if question is None:
                return
            tab.issued[question.key] = question


def open_question(tab: Tab, key: str, kind: type[_Q]) -> _Q:
    """Return an open question of a page by its key and kind.

    Raises:
      StoreError: there is no such question.
    """
    question = tab.find(key)
    if not isinstance(question, kind):
        raise StoreError("this question is no longer open; the answer was not stored.")
    return question


def seconds_of(records: Sequence[AnswerRecord], annotator: str) -> GlanceSeconds:
    """Return how long a person is expected to take for a glance, estimated from their latest ones."""
    own = [record for record in records if record.annotator == annotator]
    return GlanceSeconds.fit(_times(own[-_MAX_TIMES:]))


def _times(records: Sequence[AnswerRecord]) -> list[GlanceTime]:
    """Return the time of each glance from which answers came, once per glance."""
    times: dict[str, GlanceTime] = {}
    for record in records:
        glance = record.glance
        if glance is None and record.elapsed_s is not None and record.kind != "volunteered":
            times[record.key] = GlanceTime("pair", 1, 0, record.elapsed_s)
        elif glance is not None and glance.elapsed_s is not None:
            shown = glance.kind, len(glance.others), glance.num_clicks
            times[glance.key] = GlanceTime(*shown, glance.elapsed_s)
    return list(times.values())
