"""Measures how often annotators agree with each other, and with their own earlier answers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.types import Answer


class Agreement(NamedTuple):
    """The agreement of two people, or of one person's repeated answers, on the same pairs.

    Attributes:
      first: name of one annotator.
      second: name of the other; the same name for one person's repeated pairs.
      num_pairs: pairs that both called similar or dissimilar.
      share: share of these pairs with the same answer, in [0, 1].
      kappa: Cohen's kappa in [-1, 1], the agreement beyond chance; None if all answers are the same, so
        that agreement and chance cannot be separated.
    """

    first: str
    second: str
    num_pairs: int
    share: float
    kappa: float | None


def agreements(records: Iterable[AnswerRecord]) -> list[Agreement]:
    """Compare each pair of annotators on the pairs of tiles that both answered.

    If a person answered a pair several times, the last answer counts. Unsure answers are ignored.

    Args:
      records: standing answers of one set, from `AnswerStore.standing`.

    Returns:
      One row per pair of annotators with a common pair of tiles, sorted by name.
    """
    last: dict[str, dict[tuple[int, int], int]] = defaultdict(dict)
    for record in _sure(records):
        last[record.annotator][record.first, record.second] = int(record.answer)
    found = []
    for first, second in combinations(sorted(last), 2):
        both = sorted(last[first].keys() & last[second].keys())
        if both:
            one, other = ([last[name][pair] for pair in both] for name in (first, second))
            found.append(_compare(first, second, one, other))
    return found


def consistencies(records: Iterable[AnswerRecord]) -> list[Agreement]:
    """Compare each person's first answer to a pair with the last one to the same pair.

    Args:
      records: as for `agreements`.

    Returns:
      One row per person who answered a pair more than once, sorted by name.
    """
    answers: dict[str, dict[tuple[int, int], list[int]]] = defaultdict(lambda: defaultdict(list))
    for record in _sure(records):
        answers[record.annotator][record.first, record.second].append(int(record.answer))
    found = []
    for name, by_pair in sorted(answers.items()):
        repeated = [said for said in by_pair.values() if len(said) > 1]
        if repeated:
            found.append(_compare(name, name, [said[0] for said in repeated], [s[-1] for s in repeated]))
    return found


def _sure(records: Iterable[AnswerRecord]) -> list[AnswerRecord]:
    return [record for record in records if record.answer != Answer.UNSURE]


def _compare(first: str, second: str, one: Sequence[int], other: Sequence[int]) -> Agreement:
    from sklearn.metrics import cohen_kappa_score

    share = sum(a == b for a, b in zip(one, other, strict=True)) / len(one)
    is_one_word = len({*one, *other}) == 1
    kappa = None if is_one_word else float(cohen_kappa_score(one, other))
    return Agreement(first, second, len(one), share, kappa)
