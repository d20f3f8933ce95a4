import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.errors import ConfigError
from anneal_jax.training.learner import TrainingPairs
from anneal_jax.training.tile_batches import (
    BatchShape,
    Timed,
    bounded,
    draw_group_tiles,
    draw_pair_tiles,
    group_shape,
    pair_shape,
    validation_batches,
)

NUM_TILES = 60


def make_pairs(num_similar, num_dissimilar, seed=0):
    """Different pairs of 60 tiles; those of the first twenty are more often asked about."""
    rng = np.random.default_rng(seed)
    total = num_similar + num_dissimilar
    firsts, seconds = np.triu_indices(NUM_TILES, 1)
    weights = np.where(firsts < 20, 5.0, 1.0)
    chosen = rng.choice(len(firsts), total, replace=False, p=weights / weights.sum())
    pairs = np.stack([firsts, seconds], axis=1)[chosen].astype(np.int32)
    return TrainingPairs(pairs, (np.arange(total) < num_similar).astype(np.int8))


def draw(pairs, shape, *, epochs=1, oversample=True, seed=0):
    rng = np.random.default_rng(seed)
    return list(draw_pair_tiles(rng, pairs, shape, epochs=epochs, oversample=oversample))


def drawn(timed):
    """Return the pairs of all batches, canonical, with their labels and weights."""
    pairs, labels, weights = [], [], []
    for batch, _ in timed:
        is_pair = batch.weights > 0
        pairs.append(np.sort(batch.rows[batch.places[is_pair]], axis=1))
        labels.append(batch.targets[is_pair])
        weights.append(batch.weights[is_pair])
    return tuple(np.concatenate(arrays) for arrays in (pairs, labels, weights))


@given(st.integers(1, 40), st.integers(1, 60), st.integers(2, 12), st.integers(0, 99))
def test_batches_have_one_shape_and_name_their_pairs(similar, dissimilar, size, seed):
    pairs = make_pairs(similar, dissimilar, seed)
    shape = BatchShape(size + 2, size)
    label_of = {tuple(p): y for p, y in zip(pairs.pair_indices.tolist(), pairs.labels, strict=True)}
    timed = draw(pairs, shape, epochs=2, seed=seed)
    for batch, _ in timed:
        assert batch.rows.shape == batch.is_tile.shape == (size + 2,)
        assert batch.places.shape == (size, 2)
        assert batch.targets.shape == batch.weights.shape == (size,)
        named = batch.rows[batch.is_tile]
        assert len(set(named.tolist())) == len(named)  # each tile once
        is_pair = batch.weights > 0
        assert set(batch.places[is_pair].ravel().tolist()) == set(range(len(named)))
    found, labels, _ = drawn(timed)
    assert len(found) == 2 * (similar + dissimilar)
    assert [label_of[tuple(pair)] for pair in found.tolist()] == labels.tolist()
    times = [epoch for _, epoch in timed]
    assert times[0] == 0 and times == sorted(times) and times[-1] < 2


@pytest.mark.parametrize("oversample", [True, False])
def test_every_pair_comes_as_often_as_without_grouping_and_weighs_the_same(oversample):
    similar, dissimilar, epochs = 12, 60, 200
    pairs = make_pairs(similar, dissimilar)
    found, labels, weights = drawn(draw(pairs, BatchShape(12, 16), epochs=epochs, oversample=oversample))
    keys, counts = np.unique(found @ [NUM_TILES, 1], return_counts=True)
    label_of = dict(zip((pairs.pair_indices @ [NUM_TILES, 1]).tolist(), pairs.labels, strict=True))
    is_similar = np.array([label_of[key] == 1 for key in keys.tolist()])
    total = epochs * (similar + dissimilar)
    assert len(keys) == similar + dissimilar
    if oversample:  # the halves are exact; a pair's count strays by what one epoch's cycle cuts off
        assert counts[is_similar].sum() == counts[~is_similar].sum() == total / 2
        np.testing.assert_allclose(counts[is_similar], total / 2 / similar, rtol=0.02)
        np.testing.assert_allclose(counts[~is_similar], total / 2 / dissimilar, rtol=0.15)
    else:
        assert set(counts.tolist()) == {epochs}
    assert set(weights.tolist()) == {1 / 16}
    assert labels.mean() == pytest.approx(0.5 if oversample else similar / 72)


def test_the_first_and_second_of_a_pair_are_swapped_about_half_the_time():
    firsts = [
        batch.rows[batch.places[batch.weights > 0]]
        for batch, _ in draw(make_pairs(60, 60), BatchShape(40, 32), epochs=9)
    ]
    ordered = np.concatenate(firsts)
    assert abs(np.mean(ordered[:, 0] > ordered[:, 1]) - 0.5) < 0.05


def test_equal_seeds_draw_equally_and_others_do_not():
    pairs = make_pairs(20, 40)
    first, again, other = (drawn(draw(pairs, BatchShape(12, 16), seed=seed))[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_few_pairs_are_drawn_over_several_epochs_at_once():
    timed = draw(make_pairs(3, 3), BatchShape(12, 16), epochs=40)
    num_pairs = [np.count_nonzero(batch.weights) for batch, _ in timed]
    assert sum(num_pairs) == 240
    assert len(timed) <= 20


def test_without_pairs_there_is_nothing_to_train_on():
    none = TrainingPairs(np.empty((0, 2), np.int32), np.empty(0, np.int8))
    with pytest.raises(ConfigError, match="no pair is answered yes or no"):
        draw(none, BatchShape(12, 16))


@pytest.mark.parametrize(("similar", "dissimilar"), [(4, 30), (0, 5), (5, 0)])
def test_held_out_pairs_come_once_and_their_kinds_weigh_alike(similar, dissimilar):
    batches = list(validation_batches(make_pairs(similar, dissimilar), BatchShape(12, 16)))
    weights = np.concatenate([batch.weights for batch in batches])
    labels = np.concatenate([batch.targets for batch in batches])
    assert np.count_nonzero(weights) == similar + dissimilar
    assert weights.sum() == pytest.approx(1.0)
    if similar and dissimilar:
        assert weights[labels == 1].sum() == pytest.approx(0.5)


@pytest.mark.parametrize("weighted", [False, True])
def test_group_batches_hold_each_tile_once(weighted):
    images = np.arange(100, 110, dtype=np.int32)
    groups = (images % 3).astype(np.int32)
    weights = np.linspace(0.1, 1.0, 10) if weighted else None
    timed = list(
        draw_group_tiles(np.random.default_rng(0), images, groups, weights, BatchShape(16, 16), epochs=3)
    )
    assert [epoch for _, epoch in timed] == [0, 1, 2]
    for batch, _ in timed:
        named = batch.rows[batch.is_tile]
        assert len(set(named.tolist())) == len(named)
        is_drawn = batch.targets >= 0
        assert is_drawn.sum() == (16 if weighted else 10)
        np.testing.assert_array_equal(batch.rows[batch.places[is_drawn]] % 3, batch.targets[is_drawn])


@given(st.integers(2, 300), st.integers(1, 16))
def test_devices_share_the_tiles_of_a_batch(batch_size, num_devices):
    for shape in (pair_shape(batch_size, num_devices), group_shape(batch_size, num_devices)):
        assert shape.num_tiles % num_devices == 0
        assert shape.num_targets == batch_size
    assert pair_shape(batch_size, 1).num_tiles >= 2


@pytest.mark.parametrize(
    ("max_batches", "expected"),
    [
        (0, [0.0, 1.0, 2.0, 3.0]),
        (2, [0.0, 2.0]),  # of four epochs' time, half at the second of two
        (8, [0.0, 1.0, 2.0, 3.0]),  # the epochs end first
    ],
)
def test_time_reaches_the_end_of_a_fit_at_its_last_epoch_or_step(max_batches, expected):
    whole = [Timed(number, float(number)) for number in range(4)]
    found = list(bounded(whole, max_batches, num_epochs=4))
    assert [timed.epoch for timed in found] == expected
    assert [timed.batch for timed in found] == list(range(len(expected)))
