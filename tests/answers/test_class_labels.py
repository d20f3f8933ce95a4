import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.answers.class_labels import give_labels
from anneal_jax.answers.store import AnswerStore
from tests.pairs.graphs import graph_of_store
from tests.reference.pairs import all_pairs

IDS = [f"{index}.png" for index in range(7)]


@given(labels=st.lists(st.integers(-1, 3), min_size=7, max_size=7))
def test_labels_say_of_every_labelled_pair_what_it_is_and_cost_log2_c_each(labels, tmp_path_factory):
    store = AnswerStore(tmp_path_factory.mktemp("store") / "answers.sqlite", IDS)
    num_labels = sum(label >= 0 for label in labels)
    num_classes = len({label for label in labels if label >= 0})
    assert give_labels(store, np.array(labels, np.int32), annotator="Ada", source="a.csv") == num_labels
    graph = graph_of_store(store)
    for first, second in all_pairs(7):
        is_labelled = labels[first] >= 0 and labels[second] >= 0
        assert graph.implied(first, second) == (labels[first] == labels[second] if is_labelled else None)
    expected_bits = num_labels * math.log2(num_classes) if num_classes else 0.0
    assert store.tally().bits_spent == pytest.approx(expected_bits, abs=1e-9)


def test_the_same_file_counts_once_in_a_set_and_again_in_another(tmp_path):
    store = AnswerStore(tmp_path / "answers.sqlite", IDS)
    labels = np.array([0, 0, 1, 1, 2, -1, 2], np.int32)
    for _ in range(2):
        give_labels(store, labels, annotator="Ada", source="a.csv")
        assert len(store.standing()) == 6
    assert store.undo() == []  # an import is no step to undo
    assert store.answered(-1).answers.tolist() == [1, 1, 1, 0, 0, 0]
    store.set_sentence("Other?")
    give_labels(store, labels, annotator="Ada", source="a.csv")
    assert len(store.standing()) == 6 and len(store.records()) == 12


def test_a_class_keeps_its_founder_when_the_file_grows(tmp_path):
    store = AnswerStore(tmp_path / "answers.sqlite", IDS)
    labels = np.array([-1, 0, 1, 0, 0, -1, -1], np.int32)
    give_labels(store, labels, annotator="Ada", source="b.csv")
    labels[0] = 0
    give_labels(store, labels, annotator="Ada", source="b.csv")
    pairs = [(record.first, record.second) for record in store.standing()]
    assert sorted(pairs) == [(0, 1), (1, 2), (1, 3), (1, 4)]
