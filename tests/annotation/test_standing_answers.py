"""What is known by the answers that stand, held against plain counting."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.annotation.standing_answers import StandingAnswers
from anneal_jax.answers.reading import AnswerRecord
from anneal_jax.answers.writing import KINDS
from anneal_jax.types import Answer

NUM_TILES = 6
PAIRS = list(itertools.combinations(range(NUM_TILES), 2))
IDS = [f"tile{tile}" for tile in range(NUM_TILES)]


def record(answer_id, pair, answer, kind="training"):
    when = "2026-01-01T00:00:00.000Z"
    return AnswerRecord(
        answer_id,
        answer_id,
        1,
        0,
        *pair,
        kind,
        answer,
        "Ada",
        when,
        None,
        1.0,
        f"key {answer_id}",
        None,
        None,
    )


def num_known(standing):
    return sum(standing.label(*pair) in (0, 1) for pair in PAIRS)


def test_unsure_pairs_are_not_known():
    standing = StandingAnswers([record(n, pair, Answer.UNSURE) for n, pair in enumerate(PAIRS[:5])], IDS)
    assert standing.num_answers == 5 and standing.num_known() == num_known(standing) == 0


@given(
    said=st.lists(
        st.tuples(st.sampled_from(PAIRS), st.sampled_from(list(Answer)), st.sampled_from(KINDS)),
        max_size=20,
    ),
    forgotten=st.sets(st.integers(0, 19)),
)
def test_known_pairs_are_counted_once(said, forgotten):
    """Also audits of pairs that follow from other answers, and pairs of which two things were said."""
    standing = StandingAnswers([], IDS)
    for answer_id, (pair, answer, kind) in enumerate(said):
        standing.add_answer(record(answer_id, pair, answer, kind))
        assert standing.num_known() == num_known(standing)
    for answer_id in forgotten:
        standing.remove_answer(answer_id)
        assert standing.num_known() == num_known(standing)
