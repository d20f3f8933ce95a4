"""Which question a page gets next: an audit, a pair repeated, or what the source of its mode proposes."""

import itertools
import secrets

from anneal_jax.annotation.questions.by_belief import BeliefQuestions
from anneal_jax.annotation.questions.by_group import GroupQuestions
from anneal_jax.annotation.questions.plan import Guide
from anneal_jax.annotation.questions.replay import History
from anneal_jax.annotation.standing_answers import Ledger, said_of
from anneal_jax.annotation.tab import Question
from anneal_jax.annotation.types import Pair
from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.types import FloatArray, IntArray

AUDIT_EVERY, REPEAT_EVERY = 25, 50
"""One question in so many is an audit, or repeats an old one."""

NEAR_IDENTICAL = 0.9995
"""Cosine of the features from which on two tiles are taken for copies, and never asked about."""

_REPEAT_TURN = 45  # no turn of an audit
_REPEAT_AFTER = 20  # answers in between
_LOOKED_AT = 20_000  # proposals, at most, for one question


class Asker:
    """Chooses questions by the guide in use, and keeps what its sources think of the answers that stand."""

    def __init__(self, directions: FloatArray, copies: IntArray, *, checks: bool):
        """Know the tiles; nothing is asked before `begin`.

        Args:
          directions: float32[N, F], centred features of unit length; they tell near copies.
          copies: int[N], equal numbers for byte-identical tiles.
          checks: whether an implied pair may be asked once, where beliefs deny what implies it.
        """
        self._directions, self._copies, self._checks = directions, copies, checks
        self.histories: dict[str, History] = {}

    def begin(self, ledger: Ledger, guide: Guide) -> None:
        """Take up other answers, all anew."""
        self._ledger = ledger
        self._turn = len(ledger)
        self.histories.clear()
        self.follow(guide)

    def follow(self, guide: Guide) -> None:
        """Ask by a guide from now on; sources that it has new hear all answers."""
        self._guide = guide
        self._copied = {pair for pair in guide.audits.pairs if self._are_copies(*pair)}
        said = self._ledger.said
        for mode, source in guide.sources.items():
            history = self.histories.get(mode)
            if history is None or history.source is not source:
                self.histories[mode] = History(source, said)

    def take(self, record: AnswerRecord) -> None:
        """Let every source hear an answer."""
        for history in self.histories.values():
            history.take(record.answer_id, said_of(record))

    def forget(self, answer_id: int) -> None:
        """Let every source forget an answer."""
        for history in self.histories.values():
            history.forget(answer_id)

    def next(self, mode: str, taken: set[Pair]) -> Question | None:
        """Choose a question, none of those put elsewhere; None where nothing is left to ask."""
        self._turn += 1
        if self._turn % AUDIT_EVERY == 0:
            for pair in self._guide.audits.open_pairs(self.audit_label):
                if self._may_ask(pair, taken):
                    return self.question(*pair, "audit", mode)
        if self._turn % REPEAT_EVERY == _REPEAT_TURN:
            old = self._ledger.old_pair(self._turn, after=_REPEAT_AFTER)
            if old and old not in taken:
                return self.question(*old, "repeat", mode)
        return self._training_question(mode, taken)

    def question(self, first: int, second: int, kind: str, mode: str = "pairs") -> Question:
        """Put a pair as a question, with a key of its own; in a mode all kinds are put alike."""
        embeddings = self._guide.embeddings
        similarity = float(embeddings[first] @ embeddings[second]) if self._guide.version else None
        source, group = self._guide.sources.get(mode), ()
        if isinstance(source, GroupQuestions):
            history = self.histories[mode]
            history.state, _ = source.propose(history.state, self._ledger.known)
            group = source.shown(history.state, (first, second))
        return Question(secrets.token_hex(16), first, second, kind, similarity, group)

    def is_unknown(self, first: int, second: int) -> bool:
        """Tell whether nothing is known of a pair, by those who choose questions."""
        return self._ledger.known(first, second) is None

    def audit_label(self, first: int, second: int) -> int | None:
        """Return what is known of an audit's pair; copies, about which nobody is asked, are alike."""
        label = self._ledger.label(first, second)
        return 1 if label is None and (first, second) in self._copied else label

    def _training_question(self, mode: str, taken: set[Pair]) -> Question | None:
        history, source = self.histories[mode], self._guide.sources[mode]
        history.state, proposals = source.propose(history.state, self._ledger.known)
        may_check = self._checks and isinstance(source, BeliefQuestions)
        for pair in itertools.islice(proposals, _LOOKED_AT):
            is_check = not self.is_unknown(*pair)
            is_settled = self._ledger.was_asked(*pair) or self._ledger.are_labelled(*pair)
            is_allowed = not is_check or (may_check and not is_settled)
            if is_allowed and self._may_ask(pair, taken):
                return self.question(*pair, "training", mode)._replace(is_check=is_check)
        # Where nothing is left to believe, whoever wants to may still go through the doubtful pairs.
        return self._training_question("mgue", taken) if isinstance(source, BeliefQuestions) else None

    def _may_ask(self, pair: Pair, taken: set[Pair]) -> bool:
        return pair not in taken and not self._are_copies(*pair)

    def _are_copies(self, first: int, second: int) -> bool:
        is_near = float(self._directions[first] @ self._directions[second]) >= NEAR_IDENTICAL
        return is_near or bool(self._copies[first] == self._copies[second])
