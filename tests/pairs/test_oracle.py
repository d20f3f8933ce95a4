import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.types import Annotator, Answer


@given(st.lists(st.integers(0, 3), min_size=2, max_size=8))
def test_the_oracle_says_similar_within_a_class_and_only_there(classes):
    oracle: Annotator = ClassOracle(np.array(classes, np.int32))
    for first in range(len(classes)):
        for second in range(first + 1, len(classes)):
            answer = oracle(first, second)
            assert isinstance(answer, Answer)
            assert (answer is Answer.SIMILAR) == (classes[first] == classes[second])
            assert (answer is Answer.DISSIMILAR) == (classes[first] != classes[second])


LABELS = np.random.default_rng(0).integers(5, size=90).astype(np.int32)
PAIRS = [(first, second) for first in range(90) for second in range(first + 1, 90)]


def answers_of(oracle):
    return np.array([oracle(*pair) for pair in PAIRS])


@pytest.mark.parametrize(("wrong_share", "unsure_share"), [(0.05, 0.0), (0.0, 0.2), (0.1, 0.3)])
def test_the_oracle_errs_as_often_as_configured(wrong_share, unsure_share):
    said = answers_of(ClassOracle(LABELS, wrong_share, unsure_share, seed=3))
    truth = answers_of(ClassOracle(LABELS))
    unsure = said == Answer.UNSURE
    for found, share in [(unsure, unsure_share), (~unsure & (said != truth), wrong_share)]:
        deviations = 4 * np.sqrt(share * (1 - share) * len(PAIRS))
        assert abs(np.sum(found) - share * len(PAIRS)) <= deviations
    # Slips fall on yes and no alike.
    if wrong_share:
        rates = [np.mean(said[~unsure & (truth == kind)] != kind) for kind in (0, 1)]
        assert np.ptp(rates) < 0.03


def test_an_answer_is_the_same_whenever_it_is_asked_for():
    oracle = ClassOracle(LABELS, 0.2, 0.2, seed=1)
    said = answers_of(oracle)
    backwards = np.array([oracle(*pair) for pair in PAIRS[::-1]])[::-1]
    np.testing.assert_array_equal(said, backwards)
    np.testing.assert_array_equal(said, answers_of(ClassOracle(LABELS, 0.2, 0.2, seed=1)))
    assert (said != answers_of(ClassOracle(LABELS, 0.2, 0.2, seed=2))).any()


def test_every_pair_of_a_tile_has_a_slip_of_its_own():
    is_unsure = answers_of(ClassOracle(LABELS, unsure_share=0.5))[:89] == Answer.UNSURE
    assert 25 < np.sum(is_unsure) < 65


def test_more_slips_keep_the_old_ones():
    few, more = (answers_of(ClassOracle(LABELS, share, seed=1)) for share in (0.05, 0.1))
    truth = answers_of(ClassOracle(LABELS))
    assert set(np.flatnonzero(few != truth)) < set(np.flatnonzero(more != truth))
