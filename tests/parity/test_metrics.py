"""The metrics against ranx, where the definitions meet."""

import numpy as np
import pytest

from anneal_jax.evaluation.metrics import (
    average_precision,
    average_precision_at_k,
    ndcg_at_k,
    precision_at_k,
    r_precision,
    recall_at_k,
)

ranx = pytest.importorskip("ranx", reason="needs ranx; run scripts/parity")

# numba, which compiles ranx, warns of a cast inside it.
pytestmark = pytest.mark.filterwarnings("ignore:unsafe cast")

NUM_QUERIES, NUM_IMAGES, K = 40, 30, 5


@pytest.fixture(scope="module")
def ranked():
    """Random rankings of the whole archive, from hardly anything relevant to almost all."""
    rng = np.random.default_rng(0)
    shares = rng.uniform(0.03, 0.95, (NUM_QUERIES, 1))
    relevant = rng.random((NUM_QUERIES, NUM_IMAGES)) < shares
    relevant[np.arange(NUM_QUERIES), rng.integers(0, NUM_IMAGES, NUM_QUERIES)] = True
    return relevant


def by_ranx(relevant, metric):
    """Measure each query; images are named by their rank."""
    names = [f"image{rank}" for rank in range(NUM_IMAGES)]
    run = {
        f"q{n}": dict(zip(names, np.arange(NUM_IMAGES, 0.0, -1), strict=True)) for n in range(NUM_QUERIES)
    }
    qrels = {
        f"q{n}": {name: 1 for name, is_hit in zip(names, hits, strict=True) if is_hit}
        for n, hits in enumerate(relevant)
    }
    scores = ranx.evaluate(ranx.Qrels(qrels), ranx.Run(run), metric, return_mean=False)
    order = np.argsort([f"q{n}" for n in range(NUM_QUERIES)])  # ranx sorts queries by name
    values = np.empty(NUM_QUERIES)
    values[order] = scores
    return values


@pytest.mark.parametrize(
    ("metric", "measure"),
    [
        (f"precision@{K}", precision_at_k),
        (f"recall@{K}", recall_at_k),
        (f"ndcg@{K}", ndcg_at_k),
        # ranx divides average precision by R, however few ranks there are.
        (f"map@{K}", lambda hits, counts: average_precision_at_k(hits, counts, denominator="R")),
    ],
)
def test_equals_ranx_at_k(ranked, metric, measure):
    found = measure(ranked[:, :K], ranked.sum(axis=1))
    np.testing.assert_allclose(found, by_ranx(ranked, metric), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("metric", "measure"), [("map", average_precision), ("r-precision", r_precision), ("ndcg", ndcg_at_k)]
)
def test_equals_ranx_over_the_whole_ranking(ranked, metric, measure):
    found = measure(ranked, ranked.sum(axis=1))
    np.testing.assert_allclose(found, by_ranx(ranked, metric), rtol=1e-12, atol=1e-12)
