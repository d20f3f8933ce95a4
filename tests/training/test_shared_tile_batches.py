import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.training.shared_tile_batches import group_draws


def drawn_pairs(num_draws, num_tiles, share_similar, seed):
    rng = np.random.default_rng(seed)
    pairs = np.stack([rng.choice(num_tiles, 2, replace=False) for _ in range(num_draws)]).astype(np.int32)
    return pairs, rng.random(num_draws) < share_similar


@given(
    num_draws=st.integers(1, 120),
    num_tiles=st.integers(2, 60),
    share_similar=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    room=st.integers(2, 40),
    num_pairs=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_every_draw_is_in_one_batch_and_each_batch_fits(
    num_draws, num_tiles, share_similar, room, num_pairs, seed
):
    pairs, is_similar = drawn_pairs(num_draws, num_tiles, share_similar, seed)
    batches = list(group_draws(pairs, is_similar, num_tiles=room, num_pairs=num_pairs))
    assert sorted(np.concatenate(batches).tolist()) == list(range(num_draws))
    for batch in batches:
        assert 1 <= len(batch) <= num_pairs
        assert len(np.unique(pairs[batch])) <= room


def test_tiles_repeat_within_a_batch_and_both_kinds_are_there():
    """Forty tiles with eight partners each, of which half are similar: as the first questions are."""
    rng = np.random.default_rng(0)
    hubs = np.repeat(np.arange(40), 8)
    pairs = np.stack([hubs, 40 + rng.integers(0, 300, 320)], axis=1).astype(np.int32)
    is_similar = np.arange(320) % 8 < 4
    order = rng.permutation(320)
    pairs, is_similar = pairs[order], is_similar[order]
    batches = list(group_draws(pairs, is_similar, num_tiles=48, num_pairs=64))
    by_chance = np.mean([len(np.unique(pairs[start : start + 64])) for start in range(0, 320, 64)])
    tiles_per_pair = sum(len(np.unique(pairs[batch])) for batch in batches) / 320
    assert tiles_per_pair < 0.8 * by_chance / 64
    assert len(batches) * 48 < 1.1 * 320  # about one tile is encoded for each pair; two towers encode two
    shares = [is_similar[batch].mean() for batch in batches[:-1]]
    assert min(shares) >= 0.4 and max(shares) <= 0.6


def test_pairs_without_a_common_tile_fill_the_room():
    pairs = np.arange(40, dtype=np.int32).reshape(20, 2)
    batches = list(group_draws(pairs, np.arange(20) % 2 == 0, num_tiles=9, num_pairs=8))
    assert [len(batch) for batch in batches] == [4] * 5


def test_a_batch_is_of_several_neighbourhoods():
    """Ten cliques of six tiles: a batch that grew from one pair would stay in one."""
    inside = np.stack(np.triu_indices(6, 1), axis=1)
    pairs = np.concatenate([6 * clique + inside for clique in range(10)]).astype(np.int32)
    pairs = pairs[np.random.default_rng(0).permutation(len(pairs))]
    first = next(group_draws(pairs, np.ones(len(pairs), bool), num_tiles=64, num_pairs=64))
    assert len(np.unique(pairs[first] // 6)) >= 4
