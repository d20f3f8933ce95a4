"""Finds the answer that is most likely wrong among those that contradict each other."""

import bisect
from collections.abc import Callable, Iterable
from typing import Any

from anneal_jax.acquisition.beliefs.judging import chance_alike
from anneal_jax.annotation.session import AnnotationSession
from anneal_jax.annotation.standing_answers import StandingAnswers
from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.types import Answer, FloatArray

Alike = Callable[[int, int], float]
"""Returns the probability that two tiles are alike, in [0, 1]."""


def contradiction(session: AnnotationSession, after: int = 0) -> dict[str, Any] | None:
    """Return the oldest unresolved contradiction, with the answer most likely to be wrong first.

    Args:
      session: holds the answers.
      after: skips contradictions up to this one; after the last it starts again from the first.
    """
    standing = session.standing
    refuted = standing.contradictions()
    if not refuted:
        return None
    place = bisect.bisect_right(refuted, after) % len(refuted)
    judged = most_doubtful_first(standing, standing.chain(refuted[place]), _alike(session))
    chain = [standing.to_json(record) | {"chance": round(chance, 3)} for record, chance in judged]
    return {"answer_id": refuted[place], "place": place, "count": len(refuted), "chain": chain}


def by_cosine(embeddings: FloatArray) -> Alike:
    """Return a score instead of the probability if there are no beliefs; only its order matters.

    It is the tiles' cosine, cut off at 0: unrelated tiles have a cosine near 0.

    Args:
      embeddings: float32[N, D], unit norm.
    """
    return lambda first, second: max(0.0, float(embeddings[first] @ embeddings[second]))


def most_doubtful_first(
    standing: StandingAnswers, records: Iterable[AnswerRecord], alike: Alike
) -> list[tuple[AnswerRecord, float]]:
    """Order answers by how likely each is wrong.

    Answers that somebody contradicted when asked about the same pair again come first; ties are broken by
    the probability that the answer is right.

    Returns:
      Each answer with the probability that it is right.
    """
    judged = [(record, _chance_of(record, alike)) for record in records]
    return sorted(judged, key=lambda row: (_share_of_same(standing, row[0]), row[1], row[0].answer_id))


def _alike(session: AnnotationSession) -> Alike:
    """Return the probability that two tiles are alike: from the beliefs, or else from their cosine."""
    likeness, believed = by_cosine(session.plan.embeddings), session.beliefs()

    def alike(first: int, second: int) -> float:
        chance = chance_alike(*believed, first, second) if believed else None
        return likeness(first, second) if chance is None else chance

    return alike


def _chance_of(record: AnswerRecord, alike: Alike) -> float:
    chance = alike(record.first, record.second)
    return chance if record.answer == Answer.SIMILAR else 1 - chance


def _share_of_same(standing: StandingAnswers, record: AnswerRecord) -> float:
    """Return the share of a pair's sure answers, audits and repeats included, that agree with this one."""
    said = [other.answer for other in standing.about(record.first, record.second)]
    sure = [answer for answer in said if answer != Answer.UNSURE]
    return sum(answer == record.answer for answer in sure) / max(len(sure), 1)
