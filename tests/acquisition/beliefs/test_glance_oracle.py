import numpy as np

from anneal_jax.acquisition.beliefs.glance_oracle import GlanceOracle
from anneal_jax.acquisition.beliefs.glances import MISS_RATE, Glance
from anneal_jax.pairs.oracle import ClassOracle
from anneal_jax.types import Answer

SIMILAR, DISSIMILAR, UNSURE = Answer.SIMILAR, Answer.DISSIMILAR, Answer.UNSURE


def looked(answers, kind, **settings):
    """Return what is picked of tiles 1, 7, ... for these answers about them, and which were asked about."""
    others, asked = (1, 7, 3, 9)[: len(answers)], []

    def annotator(first, second):
        assert first < second
        asked.append(first + second - 5)
        return dict(zip(others, answers, strict=True))[asked[-1]]

    oracle = GlanceOracle(annotator, num_tiles=10, seed=0, **settings)
    return *oracle.look(Glance(kind, 5, others, 0.0)), asked


def test_a_choice_is_the_first_group_that_seems_alike_and_nobody_asks_further():
    assert looked([DISSIMILAR, SIMILAR, SIMILAR], "choice") == ([7], False, [1, 7])
    assert looked([UNSURE, SIMILAR], "choice") == ([7], False, [1, 7])
    assert looked([SIMILAR], "pair") == ([1], False, [1])


def test_a_choice_without_a_group_is_unsure_if_one_of_its_pairs_is():
    assert looked([DISSIMILAR, DISSIMILAR], "choice") == ([], False, [1, 7])
    assert looked([DISSIMILAR, UNSURE, DISSIMILAR], "choice") == ([], True, [1, 7, 3])
    assert looked([UNSURE], "pair") == ([], True, [1])


def test_the_tiles_of_a_grid_that_differ_are_clicked():
    found = looked([DISSIMILAR, SIMILAR, UNSURE, DISSIMILAR], "grid", miss_rate=0.0)
    assert found == ([1, 9], False, [1, 7, 3, 9])
    assert looked([DISSIMILAR] * 4, "grid", miss_rate=1.0)[0] == []


def test_a_share_of_a_grid_is_overlooked_by_the_seed_alone():
    num_tiles = 4001
    others = tuple(range(1, num_tiles))
    oracles = [GlanceOracle(ClassOracle(np.arange(num_tiles)), num_tiles, seed) for seed in (0, 1)]
    clicked, other = (set(oracle.look(Glance("grid", 0, others, 0.0))[0]) for oracle in oracles)
    missed = 1 - len(clicked) / len(others)
    assert abs(missed - MISS_RATE) < 4 * np.sqrt(MISS_RATE / len(others))
    assert clicked != other
    assert set(oracles[0].look(Glance("grid", 0, others[::-1], 0.0))[0]) == clicked
