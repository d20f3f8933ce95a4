import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.acquisition.group_ask import group_by_asking
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.types import Answer
from tests.reference import label_baselines as twin


@given(seed=st.integers(0, 999), num_images=st.integers(1, 40), num_classes=st.integers(1, 6))
def test_grouping_matches_its_twin(seed, num_images, num_classes):
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=num_images)
    features = rng.normal(size=(num_images, 3)).astype(np.float32)
    images = rng.permutation(num_images)[: rng.integers(1, num_images + 1)].astype(np.int32)
    found = group_by_asking(images, features, ClassOracle(labels))
    expected = twin.grouping(images.tolist(), features.astype(np.float64), labels)
    assert list(zip(*(part.tolist() for part in found), strict=True)) == expected
    # Groups are the classes, whatever the features say.
    assert len(set(zip(found.groups.tolist(), labels[images].tolist(), strict=True))) == len(
        set(labels[images])
    )


def test_the_nearest_group_is_asked_first_and_none_after_a_yes():
    features = np.array([[1, 0], [0, 1], [0.9, 0.2], [0.1, 5]], np.float32)
    asked = []

    def annotator(first, second):
        asked.append((first, second))
        return Answer(int((first, second) in [(0, 2), (1, 3)]))

    found = group_by_asking(np.arange(4, dtype=np.int32), features, annotator)
    assert asked == [(0, 1), (0, 2), (1, 3)]
    assert found.groups.tolist() == [0, 1, 0, 1]
    assert found.questions.tolist() == [0, 1, 2, 3]


def test_questions_are_canonical_and_show_the_founder():
    features = np.ones((6, 2), np.float32)
    asked = []

    def annotator(first, second):
        asked.append((first, second))
        return Answer.SIMILAR

    group_by_asking(np.array([5, 2, 3], np.int32), features, annotator)
    assert asked == [(2, 5), (3, 5)]


def test_unsure_counts_as_no_and_costs_a_question():
    features = np.eye(3, dtype=np.float32)
    found = group_by_asking(np.arange(3, dtype=np.int32), features, lambda first, second: Answer.UNSURE)
    assert found.groups.tolist() == [0, 1, 2]
    assert found.questions.tolist() == [0, 1, 3]


def test_features_without_a_direction_are_no_error():
    found = group_by_asking(
        np.arange(3, dtype=np.int32), np.zeros((3, 2), np.float32), ClassOracle(np.array([0, 1, 1]))
    )
    assert found.groups.tolist() == [0, 1, 1]
