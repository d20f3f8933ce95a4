import itertools

import numpy as np
import pytest

from anneal_jax.annotation.questions import plan
from anneal_jax.annotation.questions.audits import draw_audits
from anneal_jax.annotation.questions.cold_start import cold_start_pairs
from anneal_jax.annotation.search_by_example import nearest_tiles
from anneal_jax.pairs.canonical import canonicalise
from anneal_jax.types import Answer


def test_the_cold_start_is_balanced_spread_and_made_of_different_pairs(directions, classes):
    pairs = cold_start_pairs(directions, seed=0)
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    np.testing.assert_array_equal(pairs, canonicalise(pairs))
    first = pairs[:60]
    is_similar = classes[first[:, 0]] == classes[first[:, 1]]
    assert 0.3 < is_similar.mean() < 0.7
    assert len(np.unique(first)) > 0.6 * len(directions)
    np.testing.assert_array_equal(pairs, cold_start_pairs(directions, seed=0))


@pytest.mark.parametrize("num_tiles", [2, 3, 5])
def test_the_cold_start_takes_the_smallest_archives(num_tiles):
    directions = np.eye(num_tiles, 8, dtype=np.float32)
    pairs = cold_start_pairs(directions, seed=0)
    assert len(pairs) and pairs.max() < num_tiles


def test_only_who_asks_for_it_waits_for_the_cold_start(directions, monkeypatch):
    made = []

    def watched(vectors, *, seed):
        made.append(len(vectors))
        return cold_start_pairs(vectors, seed=seed)

    monkeypatch.setattr(plan, "cold_start_pairs", watched)
    listed = plan.make_plan(directions, seed=0, chosen=[(0, 1), (2, 3)]).sources["mgue"]
    state, proposals = listed.propose(listed.start(), lambda *pair: 1 if pair == (0, 1) else None)
    assert next(proposals) == (2, 3) and state == 1 and not made
    cold = [tuple(pair) for pair in cold_start_pairs(directions, seed=0).tolist()]
    assert list(itertools.islice(proposals, len(cold))) == cold
    state, proposals = listed.propose(state, lambda *pair: 1 if pair in {(2, 3), *cold} else None)
    assert state >= 2 + len(cold) and next(proposals) not in cold
    assert made == [len(directions)]


def test_the_nearest_tiles_are_those_of_float64_and_equal_ones_go_by_row():
    rng = np.random.default_rng(0)
    drawn = rng.integers(-1, 2, (50, 3))  # many are equal, and some have no direction
    embeddings = (drawn / np.maximum(np.linalg.norm(drawn, axis=1, keepdims=True), 1e-12)).astype(
        np.float32
    )
    found = nearest_tiles(embeddings, np.arange(50), 9)
    cosines = np.round(embeddings.astype(np.float64) @ embeddings.T.astype(np.float64), 12)
    np.fill_diagonal(cosines, -np.inf)
    np.testing.assert_array_equal(found, np.argsort(-cosines, axis=1, kind="stable")[:, :9])
    assert (drawn == 0).all(axis=1).any()


def test_audits_draw_the_same_tiles_whatever_the_model(directions):
    other = np.roll(directions, 1, axis=1) * np.float32(-1)
    one, two = draw_audits(directions, seed=5), draw_audits(other, seed=5)
    rng = np.random.default_rng([5, 0xA0D17])
    tiles = rng.permutation(len(directions))
    for draws, embeddings in ((one, directions), (two, other)):
        near = nearest_tiles(embeddings, tiles, 5)
        for pair, tile, five in zip(draws.pairs, tiles, near, strict=True):
            assert tile in pair and (set(pair) - {tile}).pop() in five


def test_audited_precision_is_the_share_of_yes_up_to_the_first_gap(directions):
    draws = draw_audits(directions, seed=0)
    answers = {pair: sum(pair) % 2 for pair in draws.pairs[:20]}
    prefix = list(itertools.takewhile(answers.__contains__, draws.pairs))  # two tiles may name one pair
    found = draws.precision(lambda first, second: answers.get((first, second)))
    assert found.num_audits == len(prefix) and not found.is_stale
    assert found.share == pytest.approx(np.mean([answers[pair] for pair in prefix]))
    answers[draws.pairs[0]] = int(Answer.UNSURE)
    assert draws.precision(lambda first, second: answers.get((first, second))).num_audits == len(prefix) - 1
    del answers[draws.pairs[1]]  # another model: this neighbour is another tile now
    found = draws.precision(lambda first, second: answers.get((first, second)))
    assert found.is_stale and 17 <= found.num_audits < len(prefix)
    assert draws.precision(lambda first, second: None).share is None


def test_the_audited_precision_is_unbiased(directions, classes):
    """All draws answered: the mean over seeds is precision@5 itself."""
    near = nearest_tiles(directions, np.arange(60), 5)
    true = np.mean(classes[near] == classes[:, None])
    label = lambda first, second: int(classes[first] == classes[second])  # noqa: E731
    shares = [draw_audits(directions, seed=seed).precision(label).share for seed in range(200)]
    assert np.mean(shares) == pytest.approx(true, abs=0.02)
