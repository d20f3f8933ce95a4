import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.errors import ConfigError
from anneal_jax.evaluation import ranking
from anneal_jax.evaluation.ranking import count_relevant, rank_archive, relevance
from tests.reference.metrics import rank


@given(seed=st.integers(0, 2**32 - 1), k=st.integers(1, 9))
def test_ranking_equals_its_twin_ties_and_own_hits_included(seed, k):
    generator = np.random.default_rng(seed)
    archive = generator.integers(-1, 2, (10, 3)).astype(np.float32)  # many equal and zero rows
    own = generator.integers(0, 10, 4)
    found = rank_archive(
        archive[own],
        archive,
        k,
        query_ids=[f"t{i}" for i in own],
        archive_ids=[f"t{i}" for i in range(10)],
    )
    expected = [rank(archive[i], archive, own=i)[:k] for i in own]
    assert found.tolist() == expected
    assert found.dtype == np.int64


def test_equal_images_go_by_index():
    row = np.random.default_rng(0).normal(size=(1, 333)).astype(np.float32)
    archive = np.tile(row, (257, 1)) * np.linspace(0.1, 9, 257, dtype=np.float32)[:, None]
    assert rank_archive(row, archive, 257)[0].tolist() == list(range(257))


def test_blocks_of_queries_change_nothing(monkeypatch):
    generator = np.random.default_rng(1)
    queries, archive = generator.normal(size=(7, 5)), generator.normal(size=(11, 5))
    whole = rank_archive(queries, archive, 11)
    monkeypatch.setattr(ranking, "_BLOCK_BYTES", 8 * 11 * 3)
    np.testing.assert_array_equal(rank_archive(queries, archive, 11), whole)


def test_a_query_in_the_archive_is_no_hit_of_its_own():
    rows = np.eye(3)
    assert rank_archive(rows, rows, 1)[:, 0].tolist() == [0, 1, 2]
    ids = ["a", "b", "c"]
    found = rank_archive(rows, rows, 2, query_ids=ids, archive_ids=ids)
    assert found.tolist() == [[1, 2], [0, 2], [0, 1]]
    outsider = rank_archive(rows[:1], rows, 3, query_ids=["z"], archive_ids=ids)
    assert outsider.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("k", "ids", "message"),
    [
        (0, None, r"k = 0 is out of range: the archive offers 1 to 3 ranks"),
        (4, None, r"k = 4 is out of range: the archive offers 1 to 3 ranks"),
        (3, "abc", r"k = 3 is out of range: the archive offers 1 to 2 ranks"),
    ],
)
def test_k_out_of_range_is_refused(k, ids, message):
    with pytest.raises(ConfigError, match=message):
        rank_archive(np.eye(3), np.eye(3), k, query_ids=ids, archive_ids=ids)


def test_bad_embeddings_and_ids_are_refused():
    bad = np.eye(3)
    bad[1, 2] = np.nan
    with pytest.raises(ValueError, match="Row 1 of the archive embeddings holds NaN or infinity"):
        rank_archive(np.eye(3), bad, 1)
    with pytest.raises(ValueError, match=r"query embeddings must be a filled \[rows, D\] array"):
        rank_archive(np.empty((0, 3)), np.eye(3), 1)
    with pytest.raises(ValueError, match="Queries have 2 dimensions and the archive 3"):
        rank_archive(np.eye(2), np.eye(3), 1)
    with pytest.raises(ValueError, match="together, or neither"):
        rank_archive(np.eye(3), np.eye(3), 1, query_ids="abc")
    with pytest.raises(ValueError, match="one id for each"):
        rank_archive(np.eye(3), np.eye(3), 1, query_ids="ab", archive_ids="abc")
    with pytest.raises(ValueError, match="archive_ids contains a name twice"):
        rank_archive(np.eye(3), np.eye(3), 1, query_ids="abc", archive_ids="aba")


def test_relevance_and_counts_leave_out_the_unlabelled_and_the_query_itself():
    labels, ids = [0, 0, 1, -1, -1, 0], "abcdef"
    found = relevance([0, -1], labels, [[0, 2, 3], [3, 4, 0]])
    assert found.tolist() == [[True, False, False], [False, False, False]]
    assert count_relevant([0, 1, 2, -1], labels).tolist() == [3, 1, 0, 0]
    own = count_relevant([0, 1, -1, 0], labels, query_ids="acdz", archive_ids=ids)
    assert own.tolist() == [2, 0, 0, 3]
