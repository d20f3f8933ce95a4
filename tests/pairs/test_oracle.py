import numpy as np
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
