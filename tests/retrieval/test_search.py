import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_jax.errors import RetrievalError
from anneal_jax.retrieval import search as module
from anneal_jax.retrieval.search import search_exact
from tests.compilations import count_compilations
from tests.reference import search as reference


def unit(vectors, dtype=np.float32):
    vectors = np.asarray(vectors, np.float64)
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    return (vectors / np.where(norms > 0, norms, 1)).astype(dtype)


def random_unit(rng, num_rows, dim, dtype=np.float32):
    return unit(rng.normal(size=(num_rows, dim)), dtype)


def assert_same(hits, expected, k):
    for rows, similarities, pairs in zip(hits.rows, hits.similarities, expected, strict=True):
        missing = k - len(pairs)
        assert rows.tolist() == [row for row, _ in pairs] + [-1] * missing
        np.testing.assert_allclose(similarities[: len(pairs)], [value for _, value in pairs], atol=2e-12)
        assert np.isnan(similarities[len(pairs) :]).all()


@st.composite
def datasets(draw):
    """Vectors of few small whole numbers: many are equal, and many cosines are."""
    dim = draw(st.integers(1, 4))
    components = st.lists(st.integers(-2, 2), min_size=dim, max_size=dim)
    archive = draw(st.lists(components, min_size=1, max_size=60))
    queries = draw(st.lists(components.filter(any), min_size=1, max_size=4))
    dtype = draw(st.sampled_from([np.float16, np.float32]))
    cuts = sorted(draw(st.lists(st.integers(0, len(archive)), max_size=3)))
    allowed = draw(st.none() | st.lists(st.booleans(), min_size=len(archive), max_size=len(archive)))
    own = draw(st.none() | st.lists(st.integers(-1, len(archive) - 1), min_size=4, max_size=4))
    return unit(archive, dtype), unit(queries), cuts, allowed, own


@given(datasets(), st.integers(1, 70), st.integers(1, 40), st.integers(1, 8))
def test_it_finds_what_sorting_all_cosines_in_float64_finds(dataset, k, block_rows, num_devices):
    archive, queries, cuts, allowed, own = dataset
    own_rows = None if own is None else np.array(own[: len(queries)])
    hits = search_exact(
        np.split(archive, cuts),
        queries,
        k,
        masks=None if allowed is None else np.split(np.array(allowed), cuts),
        own_rows=own_rows,
        block_rows=block_rows,
        devices=jax.devices()[:num_devices],
    )
    expected = reference.search(archive, queries, k, allowed=allowed, own_rows=own_rows)
    assert_same(hits, expected, k)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("k", [1, 20, 1000])
def test_thousands_of_random_vectors(dtype, k):
    rng = np.random.default_rng(k)
    archive, queries = random_unit(rng, 3_000, 16, dtype), random_unit(rng, 3, 16)
    hits = search_exact(np.array_split(archive, 4), queries, k, block_rows=256)
    assert_same(hits, reference.search(archive, queries, k), k)


def test_near_ties_below_the_rounding_of_float32_are_ordered_as_in_float64():
    rng = np.random.default_rng(0)
    (query,) = random_unit(rng, 1, 128)
    across = random_unit(rng, 500, 128).astype(np.float64)
    across -= across @ query[:, None] * query[None]
    close = unit(query[None] + 1e-4 * across)  # cosines that differ by less than 1e-8
    archive = np.concatenate([random_unit(rng, 5_000, 128), close])
    hits = search_exact([archive], query[None], 50, block_rows=512)
    assert_same(hits, reference.search(archive, query[None], 50), 50)


def test_equal_tiles_go_by_row_whatever_the_blocks():
    archive = np.repeat(unit([[1.0, 2.0, 3.0]], np.float16), 5_000, axis=0)
    for block_rows in (64, 1_000, 8_192):
        hits = search_exact([archive], unit([[3.0, 2.0, 1.0]]), 7, block_rows=block_rows)
        assert hits.rows.tolist() == [list(range(7))]


def test_more_queries_than_are_taken_at_once(monkeypatch):
    monkeypatch.setattr(module, "_QUERIES_AT_ONCE", 4)
    rng = np.random.default_rng(3)
    archive, queries = random_unit(rng, 100, 8), random_unit(rng, 10, 8)
    hits = search_exact([archive], queries, 5, own_rows=np.arange(10))
    assert_same(hits, reference.search(archive, queries, 5, own_rows=np.arange(10)), 5)
    assert search_exact([archive], queries[:0], 5).rows.shape == (0, 5)


def test_blocks_of_all_lengths_compile_a_few_times():
    rng = np.random.default_rng(4)
    shards = [random_unit(rng, num_rows, 8) for num_rows in range(1, 120)]
    with count_compilations() as compiled:
        search_exact(shards, random_unit(rng, 3, 8), 4, block_rows=64, devices=jax.devices()[:1])
    assert compiled["_score_block"] == 7  # 1, 2, 4 and so on to 64


def test_only_the_tiles_that_may_be_among_the_best_are_scored_again(monkeypatch):
    counted = []
    scored = module.similarities_of
    monkeypatch.setattr(
        module,
        "similarities_of",
        lambda vectors, queries: counted.append(len(vectors)) or scored(vectors, queries),
    )
    rng = np.random.default_rng(5)
    search_exact([random_unit(rng, 50_000, 32)], random_unit(rng, 4, 32), 10, block_rows=1_000)
    # About k ln(50) per query; blocks in flight meet an older bound.
    assert sum(counted) < 4 * 10 * 12


@pytest.mark.parametrize(
    ("k", "queries", "sentence"),
    [
        (0, [[1.0, 0.0]], "k=0 is out of range; ask for 1 to 1,000"),
        (1001, [[1.0, 0.0]], "k=1001 is out of range"),
        (1, [[1.0, 0.0, 0.0]], r"the queries are \[1, 3\], but the index holds vectors of 2 numbers"),
        (1, [[1.0, 0.0], [2.0, 0.0]], "query 1 has length 2; queries must be of unit norm"),
        (1, [[np.nan, 0.0]], "query 0 has length nan"),
    ],
)
def test_what_cannot_be_searched_is_refused(k, queries, sentence):
    with pytest.raises(RetrievalError, match=sentence):
        search_exact([np.eye(2, dtype=np.float16)], np.array(queries, np.float32), k)


def test_progress_counts_every_vector():
    seen = []
    shards = np.split(np.eye(40, dtype=np.float32), [7, 7, 30])
    search_exact(shards, np.eye(40, dtype=np.float32)[:2], 3, block_rows=8, progress=seen.append)
    assert sum(seen) == 40
