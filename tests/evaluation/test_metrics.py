import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, ndcg_score

from anneal_jax.errors import ArchiveError, ConfigError
from anneal_jax.evaluation import metrics
from tests.reference import metrics as reference

PER_QUERY = [
    metrics.average_precision,
    metrics.average_precision_at_k,
    metrics.precision_at_k,
    metrics.recall_at_k,
    metrics.r_precision,
    metrics.ndcg_at_k,
    metrics.normalised_modified_retrieval_rank,
]
every_metric = pytest.mark.parametrize("metric", PER_QUERY, ids=lambda metric: metric.__name__)
seeds = st.integers(0, 2**32 - 1)


def ranking_of(text):
    """Read "1,0,1" as one query's ranking."""
    return np.array([[mark == "1" for mark in text.split(",")]])


def draw_rankings(seed, num_queries=5, num_archive=12):
    generator = np.random.default_rng(seed)
    relevant = generator.random((num_queries, num_archive)) < generator.choice([0.1, 0.5, 0.9])
    relevant[:, generator.integers(num_archive)] = True
    return relevant, relevant.sum(axis=1)


@pytest.mark.parametrize(
    ("denominator", "expected"),
    [("min(k,R)", (1 + 2 / 3) / 5), ("retrieved", (1 + 2 / 3) / 2), ("R", (1 + 2 / 3) / 100)],
)
def test_three_denominators_of_one_ranking(denominator, expected):
    relevant = ranking_of("1,0,1,0,0")
    found = metrics.average_precision_at_k(relevant, [100], denominator=denominator)
    assert found.tolist() == pytest.approx([expected])
    mean = metrics.mean_average_precision_at_k(relevant, [100], denominator=denominator)
    assert mean == pytest.approx(expected)
    assert f"{mean:.3f}" in ("0.333", "0.833", "0.017")


def test_default_denominator_is_the_most_that_could_be_found():
    relevant = ranking_of("1,0,1,0,0")
    assert metrics.mean_average_precision_at_k(relevant, [100]) == pytest.approx(1 / 3)
    assert metrics.mean_average_precision_at_k(relevant, [2]) == pytest.approx(5 / 6)


def test_retrieved_denominator_reads_zero_where_nothing_is_found():
    relevant = ranking_of("0,0,0")
    assert metrics.average_precision_at_k(relevant, [4], denominator="retrieved").tolist() == [0.0]


def test_other_metrics_by_hand():
    relevant, num_relevant = ranking_of("0,1,1,0,0,1,0,0,0,0"), [4]
    assert metrics.precision_at_k(relevant, num_relevant).tolist() == [0.3]
    assert metrics.recall_at_k(relevant, num_relevant).tolist() == [0.75]
    assert metrics.r_precision(relevant, num_relevant).tolist() == [0.5]
    gain = 1 / np.log2(3) + 1 / np.log2(4) + 1 / np.log2(7)
    best = 1 + 1 / np.log2(3) + 1 / np.log2(4) + 1 / np.log2(5)
    assert metrics.ndcg_at_k(relevant, num_relevant) == pytest.approx(gain / best)


def test_average_precision_of_a_whole_ranking_by_hand():
    found = metrics.average_precision(ranking_of("0,1,1,0,1"), [3])
    assert found == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)


def test_modified_retrieval_rank_by_hand():
    # R = 2 and 1, so K = min(8, 4) = 4 and min(4, 4) = 4; the miss beyond rank 4 counts 5.
    relevant = np.array([[1, 0, 0, 0, 1, 0], [0, 0, 1, 0, 0, 0]], bool)
    found = metrics.normalised_modified_retrieval_rank(relevant, [2, 1])
    first = ((1 + 5) / 2 - 1.5) / (5 - 1.5)
    second = (3 - 1) / (5 - 1)
    assert found.tolist() == pytest.approx([first, second])
    # Alone, the second query has K = min(4, 2) = 2 and misses: 1.
    assert metrics.normalised_modified_retrieval_rank(relevant[1:], [1]).tolist() == [1.0]


@every_metric
def test_a_perfect_ranking_is_perfect(metric):
    best = 0.0 if metric is metrics.normalised_modified_retrieval_rank else 1.0
    assert metric(ranking_of("1,1,1"), [3]).tolist() == [best]


@every_metric
def test_a_query_with_nothing_relevant_is_left_out(metric):
    relevant = np.array([[1, 0, 1], [0, 0, 0]], bool)
    values = metric(relevant, [2, 0])
    assert np.isnan(values).tolist() == [False, True]
    assert metrics.mean_over_queries(values) == metric(relevant[:1], [2])[0]
    with pytest.raises(ArchiveError, match="None of the 1 queries has a relevant image"):
        metrics.mean_over_queries(metric(relevant[1:], [0]))


@every_metric
@given(seed=seeds)
def test_values_lie_between_0_and_1_and_an_earlier_hit_never_hurts(metric, seed):
    relevant, num_relevant = draw_rankings(seed)
    values = metric(relevant, num_relevant)
    assert ((values >= 0) & (values <= 1)).all()
    better = np.flip(np.sort(relevant, axis=1), axis=1)
    smaller_is_better = metric is metrics.normalised_modified_retrieval_rank
    gains = (values - metric(better, num_relevant)) * (1 if smaller_is_better else -1)
    assert (gains >= -1e-12).all()


@given(seed=seeds, k=st.integers(1, 12))
def test_metrics_equal_their_twins(seed, k):
    relevant, num_relevant = draw_rankings(seed)
    cut, whole = relevant[:, :k].tolist(), relevant.tolist()
    counts = num_relevant.tolist()

    def check(found, twin, rows, *arguments):
        expected = [twin(row, count, *arguments) for row, count in zip(rows, counts, strict=True)]
        np.testing.assert_allclose(found, expected, rtol=1e-12)

    for denominator in ("min(k,R)", "retrieved", "R"):
        found = metrics.average_precision_at_k(cut, counts, denominator=denominator)
        check(found, reference.average_precision_at_k, cut, denominator)
    check(metrics.ndcg_at_k(cut, counts), reference.ndcg_at_k, cut)
    check(metrics.r_precision(whole, counts), reference.r_precision, whole)
    found = metrics.normalised_modified_retrieval_rank(whole, counts)
    check(found, reference.nmrr, whole, max(counts))


@given(seed=seeds, k=st.integers(1, 12))
def test_metrics_equal_scikit_learn_where_definitions_meet(seed, k):
    relevant, num_relevant = draw_rankings(seed)
    scores = -np.arange(12.0)
    expected = [average_precision_score(row, scores) for row in relevant]
    np.testing.assert_allclose(metrics.average_precision(relevant, num_relevant), expected)
    expected = [ndcg_score([row.astype(float)], [scores], k=k) for row in relevant]
    np.testing.assert_allclose(metrics.ndcg_at_k(relevant[:, :k], num_relevant), expected)


def test_what_a_metric_cannot_measure_is_refused():
    relevant = ranking_of("1,0,0")
    with pytest.raises(ConfigError, match=r"no denominator 'k'.*; choose one of min\(k,R\), retrieved, R"):
        metrics.average_precision_at_k(relevant, [1], denominator="k")
    with pytest.raises(ValueError, match="Query 0 has more relevant images among its 3 ranks"):
        metrics.precision_at_k(relevant, [0])
    with pytest.raises(ValueError, match=r"not \(1, 3\) and \(2,\)"):
        metrics.precision_at_k(relevant, [1, 1])
    with pytest.raises(ValueError, match="stops at rank 3, but must reach all its relevant images"):
        metrics.average_precision(relevant, [2])
    with pytest.raises(ValueError, match="stops at rank 3, but must reach rank 4"):
        metrics.r_precision(relevant, [4])
    with pytest.raises(ValueError, match="stops at rank 3, but must reach rank 4"):
        metrics.normalised_modified_retrieval_rank(relevant, [2])
