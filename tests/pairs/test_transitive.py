import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from anneal_jax.pairs.canonical import pair_keys
from anneal_jax.pairs.transitive import expand_one_step
from tests.reference import pairs as twin

NUM_IMAGES = 9
answered_pairs = st.dictionaries(
    st.sampled_from(twin.all_pairs(NUM_IMAGES)), st.integers(0, 1), max_size=20
)


def expand(answers, num_images=NUM_IMAGES):
    pairs = np.array(list(answers), np.int32).reshape(-1, 2)
    return expand_one_step(pairs, np.array(list(answers.values()), np.int8), num_images)


def as_dict(derived):
    labels = derived.pair_labels.tolist()
    return dict(zip(map(tuple, derived.pair_indices.tolist()), labels, strict=True))


@given(answered_pairs)
@example({(0, 1): 1, (1, 2): 1, (0, 2): 0})  # a triangle that contradicts itself
@example({(0, 1): 1, (1, 2): 1, (0, 3): 1, (2, 3): 0})  # (0, 2) is implied both ways
def test_one_step_is_that_of_every_two_answers(answers):
    derived = expand(answers)
    expected, num_contradictory = twin.one_step(answers)
    assert as_dict(derived) == expected
    assert derived.num_contradictory == num_contradictory
    keys = pair_keys(derived.pair_indices, NUM_IMAGES)
    assert (np.diff(keys) > 0).all()
    assert derived.pair_indices.dtype == np.int32 and derived.pair_labels.dtype == np.int8


@given(answered_pairs, st.randoms(use_true_random=False))
def test_the_order_of_the_answers_does_not_matter(answers, random):
    shuffled = list(answers.items())
    random.shuffle(shuffled)
    one, other = expand(answers), expand(dict(shuffled))
    assert as_dict(one) == as_dict(other)
    assert one.num_contradictory == other.num_contradictory


@given(st.lists(st.integers(0, 2), min_size=NUM_IMAGES, max_size=NUM_IMAGES), answered_pairs)
def test_answers_from_classes_never_contradict_and_are_derived_rightly(classes, pairs):
    answers = {(i, j): int(classes[i] == classes[j]) for i, j in pairs}
    derived = expand(answers)
    assert derived.num_contradictory == 0
    for (i, j), label in as_dict(derived).items():
        assert label == (classes[i] == classes[j])


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({(0, 1): 1, (1, 2): 1}, {(0, 2): 1}),
        ({(0, 1): 1, (1, 2): 0}, {(0, 2): 0}),
        ({(0, 1): 0, (1, 2): 0}, {}),
        ({(0, 1): 1, (2, 3): 1}, {}),
        # Derived pairs derive nothing: (0, 3) would need (0, 2) or (1, 3).
        ({(0, 1): 1, (1, 2): 1, (2, 3): 1}, {(0, 2): 1, (1, 3): 1}),
    ],
)
def test_the_rule_by_hand(answers, expected):
    assert as_dict(expand(answers)) == expected


def test_indices_of_a_large_archive_do_not_overflow():
    last = 2_000_000
    derived = expand({(0, last - 1): 1, (last - 2, last - 1): 0}, last)
    assert as_dict(derived) == {(0, last - 2): 0}
