import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.training.held_out import hold_out
from anneal_jax.training.learner import TrainingPairs

NUM_TILES = 80


def make_pairs(num_pairs, num_answered, seed=0):
    rng = np.random.default_rng(seed)
    pairs = np.sort([rng.choice(NUM_TILES, 2, replace=False) for _ in range(num_pairs)], axis=1)
    return TrainingPairs(
        pairs.astype(np.int32), rng.integers(0, 2, num_pairs).astype(np.int8), num_answered
    )


def keys(pairs):
    return (pairs.pair_indices @ [NUM_TILES, 1]).tolist()


def split(pairs, share=0.2, seed=0):
    return hold_out(pairs, share, num_tiles=NUM_TILES, seed=seed)


@given(st.integers(1, 60), st.floats(0, 0.5), st.integers(0, 20))
def test_only_answered_pairs_are_held_out_and_nothing_that_may_follow_is_trained_on(num, share, seed):
    pairs = make_pairs(num, num // 2, seed)
    parts = split(pairs, share)
    answered, derived = keys(pairs)[: num // 2], pairs.pair_indices[num // 2 :]
    assert set(keys(parts.held_out)) <= set(answered)
    held_tiles = set(parts.held_out.pair_indices.ravel().tolist())
    kept = [k for k in answered if k not in set(keys(parts.held_out))]
    kept += [NUM_TILES * i + j for i, j in derived.tolist() if not {i, j} & held_tiles]
    assert sorted(keys(parts.learnt)) == sorted(kept)


def test_a_share_of_the_pairs_is_held_out_for_good():
    few, many = make_pairs(300, None), make_pairs(2000, None)
    many = TrainingPairs(
        np.concatenate([few.pair_indices, many.pair_indices]), np.concatenate([few.labels, many.labels])
    )
    first, later = split(few), split(many)
    assert set(keys(first.held_out)) == set(keys(later.held_out)) & set(keys(few))
    assert abs(len(later.held_out.labels) / 2300 - 0.2) < 0.04
    assert keys(split(few, seed=1).held_out) != keys(first.held_out)


@given(st.integers(1, 40), st.floats(0.1, 0.95), st.integers(0, 50))
def test_what_a_round_trained_on_is_never_held_out_later(num, share, seed):
    every = np.stack(np.triu_indices(NUM_TILES, 1), axis=1).astype(np.int32)
    pairs = TrainingPairs(np.random.default_rng(seed).permutation(every)[:num], np.ones(num, np.int8))
    learnt = set()
    for known in range(1, num + 1):
        parts = split(TrainingPairs(pairs.pair_indices[:known], pairs.labels[:known]), share, seed)
        learnt |= set(keys(parts.learnt))
        assert len(parts.learnt.labels)
        assert not learnt & set(keys(parts.held_out))


def test_nothing_is_held_out_by_default():
    pairs = make_pairs(50, 20)
    parts = split(pairs, 0.0)
    np.testing.assert_array_equal(parts.learnt.pair_indices, pairs.pair_indices)
    assert not len(parts.held_out.labels)
