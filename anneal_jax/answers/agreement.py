"""How far annotators agree with each other, and each with their own earlier answers."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.types import Answer


class Agreement(NamedTuple):
    """Two people's, or one person's, answers to the same pairs.

    Attributes:
      first: a name.
      second: another; the same for one person's repeated pairs.
      num_pairs: pairs that both called similar or dissimilar.
      share: of these, on which they said the same, in [0, 1].
      kappa: Cohen's kappa in [-1, 1], the share beyond what chance would give; None where all answers
        are the same word, so that nothing can be told from chance.
    """

    first: str
    second: str
    num_pairs: int
    share: float
    kappa: float | None


def agreements(records: Iterable[AnswerRecord]) -> list[Agreement]:
    """Compare every two annotators on the pairs that both answered.

    Of several answers of one person to one pair the last counts. Unsure is no answer here.

    Args:
      records: answers of one set that stand, as `AnswerStore.standing` gives them.

    Returns:
      One row for every two names that share a pair, by name.
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
      records: as in `agreements`.

    Returns:
      One row for everyone who answered a pair more than once, by name.
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
