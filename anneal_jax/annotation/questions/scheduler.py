"""Chooses the next question of a page: an audit, a repeated pair, or a proposal of the mode's source."""

import itertools
import secrets
from collections.abc import Collection

from anneal_jax.acquisition.beliefs.glances import Glance
from anneal_jax.acquisition.beliefs.seconds import GlanceSeconds
from anneal_jax.acquisition.beliefs.session import BeliefSession
from anneal_jax.acquisition.beliefs.state import Beliefs
from anneal_jax.annotation.questions.by_belief import BeliefQuestions
from anneal_jax.annotation.questions.plan import GLANCES, QuestionPlan
from anneal_jax.annotation.questions.replay import ReplayLog
from anneal_jax.annotation.standing_answers import StandingAnswers, said_of
from anneal_jax.annotation.tab import GlanceQuestion, Question, tiles_in_question
from anneal_jax.annotation.types import Pair
from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.types import FloatArray, IntArray

AUDIT_EVERY, REPEAT_EVERY = 25, 50
"""One question in this many is an audit or repeats an old one."""

NEAR_IDENTICAL = 0.9995
"""Cosine of the features at or above which two tiles count as copies and are never asked about."""

_REPEAT_TURN = 45  # not a multiple of the audits' interval
_REPEAT_AFTER = 20  # answers between the two
_LOOKED_AT = 20_000  # maximum number of proposals examined for one question
_GLANCES_LOOKED_AT = 16  # each takes longer with more tiles and groups; after these, a pair is asked
_MEMBERS = 3  # further tiles of each group of a choice


class QuestionScheduler:
    """Chooses questions by the plan in use, and keeps its sources up to date with the standing answers."""

    def __init__(self, directions: FloatArray, copies: IntArray, *, checks: bool):
        """Store what is known about the tiles; call `begin` before asking.

        Args:
          directions: float32[N, F], centred features of unit length; they identify near copies.
          copies: int[N], equal numbers for byte-identical tiles.
          checks: whether an implied pair may be asked once if the beliefs disagree with what implies it.
        """
        self._directions, self._copies, self._checks = directions, copies, checks
        self.replay_logs: dict[str, ReplayLog] = {}

    def begin(self, standing: StandingAnswers, plan: QuestionPlan) -> None:
        """Start again from other answers."""
        self._standing = standing
        self._turn = len(standing)
        self.replay_logs.clear()
        self.follow(plan)

    def follow(self, plan: QuestionPlan) -> None:
        """Use another plan from now on; all answers are added to its new sources."""
        self._plan = plan
        self._copied = {pair for pair in plan.audits.pairs if self._are_copies(*pair)}
        self._held_back = frozenset(plan.audits.pairs)
        said = self._standing.said
        for mode, source in plan.sources.items():
            replay_log = self.replay_logs.get(mode)
            if replay_log is None or replay_log.source is not source:
                self.replay_logs[mode] = ReplayLog(source, said)

    def add_answer(self, record: AnswerRecord) -> None:
        """Add an answer to every source."""
        for replay_log in self.replay_logs.values():
            replay_log.add_answer(record.answer_id, said_of(record))

    def remove_answer(self, *answer_ids: int) -> None:
        """Remove one or more answers from every source."""
        for replay_log in self.replay_logs.values():
            replay_log.remove_answer(*answer_ids)

    @property
    def is_behind(self) -> bool:
        """Whether the next question takes long to choose: `finish` first, if there is time."""
        return any(replay_log.is_behind for replay_log in self.replay_logs.values())

    def finish(self) -> None:
        """Do now what takes long about the newest answer."""
        for replay_log in self.replay_logs.values():
            _ = replay_log.state

    def beliefs(self) -> tuple[BeliefSession, Beliefs] | None:
        """Return the beliefs from which questions are chosen; None if no source uses beliefs."""
        replay_log = self.replay_logs["pairs"]
        source = replay_log.source
        if not isinstance(source, BeliefQuestions):
            return None
        return source.belief_session, replay_log.state.beliefs

    def next(
        self,
        mode: str,
        put: Collection[Question | GlanceQuestion],
        seconds: GlanceSeconds | None = None,
    ) -> Question | GlanceQuestion | None:
        """Choose a question.

        Args:
          mode: one of `plan.MODES`.
          put: the questions that are open here and on other pages; their pairs are not asked again.
          seconds: expected time of this person for a glance; by default that of an average person.

        Returns:
          The question, or None if nothing is left to ask.
        """
        taken = {pair for question in put for pair in question.pairs}
        self._turn += 1
        if self._turn % AUDIT_EVERY == 0:
            for pair in self._plan.audits.open_pairs(self.audit_label):
                if self._may_ask(pair, taken):
                    return self.question(*pair, "audit")
        if self._turn % REPEAT_EVERY == _REPEAT_TURN:
            old = self._standing.old_pair(self._turn, after=_REPEAT_AFTER)
            if old and old not in taken:
                return self.question(*old, "repeat")
        if mode == GLANCES:
            source = self._plan.sources["pairs"]
            if isinstance(source, BeliefQuestions):
                in_question = frozenset().union(*(question.tiles_in_question for question in put))
                state = self.replay_logs["pairs"].state
                glances = source.propose_glances(state, seconds or GlanceSeconds())
                for glance in itertools.islice(glances, _GLANCES_LOOKED_AT):
                    if found := self._glance_question(glance, taken, in_question):
                        return found
            mode = "pairs"
        return self._training_question(mode, taken)

    def question(self, first: int, second: int, kind: str) -> Question:
        """Return a question about a pair, with its own key; all kinds look the same."""
        return Question(secrets.token_hex(16), first, second, kind, self._similarity(first, second))

    def glance_question(self, glance: Glance) -> GlanceQuestion:
        """Return a choice or a grid as a question, with its own key."""
        source, members = self._plan.sources["pairs"], ((),) * len(glance.others)
        if glance.kind == "choice" and isinstance(source, BeliefQuestions):
            state = self.replay_logs["pairs"].state
            members = tuple(
                source.members(state, other, beside=glance.subject, count=_MEMBERS)
                for other in glance.others
            )
        similarities = {other: self._similarity(glance.subject, other) for other in glance.others}
        return GlanceQuestion(secrets.token_hex(16), glance, members, similarities)

    def is_unknown(self, first: int, second: int) -> bool:
        """Return whether nothing is known about a pair, as far as the choice of questions is concerned."""
        return self._standing.known(first, second) is None

    def audit_label(self, first: int, second: int) -> int | None:
        """Return the known label of an audit's pair; copies count as similar without being asked about."""
        label = self._standing.label(first, second)
        return 1 if label is None and (first, second) in self._copied else label

    def _similarity(self, first: int, second: int) -> float | None:
        embeddings = self._plan.embeddings
        return float(embeddings[first] @ embeddings[second]) if self._plan.version else None

    def _glance_question(
        self, glance: Glance, taken: set[Pair], in_question: frozenset[int]
    ) -> Question | GlanceQuestion | None:
        """Return a glance without the tiles that may not be asked about; None if too few remain.

        Pairs that measure the model in use are held back from choices and grids: a person easily overlooks
        an odd tile of a grid, and such answers would make precision look better than it is.
        """
        if tiles_in_question(glance) & in_question:
            return None
        pair_of = {
            other: (min(glance.subject, other), max(glance.subject, other)) for other in glance.others
        }
        held_back = frozenset() if glance.kind == "pair" else self._held_back
        others = tuple(
            other
            for other, pair in pair_of.items()
            if pair not in held_back and self.is_unknown(*pair) and self._may_ask(pair, taken)
        )
        if len(others) < (2 if glance.kind == "grid" else 1):
            return None
        if len(others) == 1:
            return self.question(*pair_of[others[0]], "training")
        return self.glance_question(glance._replace(others=others))

    def _training_question(self, mode: str, taken: set[Pair]) -> Question | None:
        replay_log, source = self.replay_logs[mode], self._plan.sources[mode]
        replay_log.state, proposals = source.propose(replay_log.state, self._standing.known)
        may_check = self._checks and isinstance(source, BeliefQuestions)
        for pair in itertools.islice(proposals, _LOOKED_AT):
            is_check = not self.is_unknown(*pair)
            is_settled = self._standing.was_asked(*pair) or self._standing.are_labelled(*pair)
            is_allowed = not is_check or (may_check and not is_settled)
            if is_allowed and self._may_ask(pair, taken):
                return self.question(*pair, "training")._replace(is_check=is_check)
        # When no belief is left to test, a person may still go through the doubtful pairs.
        return self._training_question("mgue", taken) if isinstance(source, BeliefQuestions) else None

    def _may_ask(self, pair: Pair, taken: set[Pair]) -> bool:
        return pair not in taken and not self._are_copies(*pair)

    def _are_copies(self, first: int, second: int) -> bool:
        is_near = float(self._directions[first] @ self._directions[second]) >= NEAR_IDENTICAL
        return is_near or bool(self._copies[first] == self._copies[second])
