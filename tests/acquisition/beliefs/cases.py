"""Small archives and sessions for the tests of beliefs."""

import numpy as np

from anneal_jax.acquisition.beliefs.choose import next_question
from anneal_jax.acquisition.beliefs.neighbours import neighbour_graph
from anneal_jax.acquisition.beliefs.state import (
    OPEN,
    BeliefSettings,
    begin,
    spread,
)
from anneal_jax.acquisition.beliefs.update import add_answer
from anneal_jax.pairs.oracle import ClassOracle


def random_graph(seed, num_tiles, dim=3):
    """Tiles in any direction, some without one and some alike."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(num_tiles, dim)).astype(np.float32)
    features[rng.random(num_tiles) < 0.1] = 0
    features[rng.random(num_tiles) < 0.2] = features[0]
    return neighbour_graph(features, num_neighbours=int(rng.integers(1, 6)))


def blobs(seed=0, *, num_classes=6, per_class=20, dim=16, spread=0.6):
    """Return float32[M, F] and the classes int32[M] of tiles around random centres, in mixed order."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(num_classes), per_class)).astype(np.int32)
    centres = rng.normal(size=(num_classes, dim))
    features = centres[labels] + spread * rng.normal(size=(len(labels), dim))
    return (features - features.mean(axis=0)).astype(np.float32), labels


def session(graph, annotator, *, num_questions=10**6, state=None):
    """Ask until nothing is left; return the beliefs and (first, second, answer) of each question."""
    state = begin(graph) if state is None else state
    asked = []
    while len(asked) < num_questions:
        state, pair = next_question(graph, state)
        if pair is None:
            break
        answer = annotator(*pair)
        asked.append((*pair, answer))
        state = add_answer(graph, state, *pair, answer)
    return state, asked


def oracle(labels, **errors):
    return ClassOracle(np.asarray(labels, np.int32), **errors)


def with_a_slip(graph, labels):
    """Return beliefs after 60 true answers, the same with one settled tile misplaced, and that tile."""
    state, _ = session(graph, oracle(labels), num_questions=60)
    tile = int(np.flatnonzero((state.groups != OPEN) & (state.num_answers == 1))[-1])
    groups = state.groups.copy()
    groups[tile] = (groups[tile] + 1) % state.num_groups
    slipped = spread(graph, state._replace(groups=groups, subject=OPEN, replies=()), BeliefSettings())
    return state, slipped, tile


def partition(groups):
    """Return groups renumbered by first appearance: equal partitions give equal lists."""
    numbers = {}
    return [numbers.setdefault(int(group), len(numbers)) for group in groups]
