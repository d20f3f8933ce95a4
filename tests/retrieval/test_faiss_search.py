import dataclasses
import shutil

import numpy as np
import pytest

from anneal_jax.errors import RetrievalError, UnwritableError
from anneal_jax.retrieval import faiss_search
from anneal_jax.retrieval.faiss_search import build_faiss, open_faiss
from anneal_jax.retrieval.index_reader import open_index
from anneal_jax.retrieval.index_writer import append_tiles
from anneal_jax.retrieval.manifest import ModelCard
from anneal_jax.retrieval.search import search_exact
from anneal_jax.retrieval.searchers import make_searcher
from tests.retrieval.small_index import Tiles, flip
from tests.small_disks import small_disk

DIM = 16
CARD = ModelCard("c3" * 32, DIM, "float16", "runs/model")
NUM_TILES = 12_000


def clouds(archive, rows):
    """Vectors around 50 centres, as a trained model makes them."""
    rng = np.random.default_rng(0)
    centres, noise = rng.normal(size=(50, DIM)), rng.normal(size=(NUM_TILES, DIM))
    vectors = centres[np.arange(NUM_TILES) % 50] + 0.4 * noise
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True))[rows].astype(np.float32)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    pytest.importorskip("faiss", reason="the extra `faiss` is not installed")
    folder = tmp_path_factory.mktemp("index")
    append_tiles(folder, Tiles(tuple(range(NUM_TILES))), clouds, CARD, shard_rows=5_000)
    build_faiss(open_index(folder))
    return folder


def test_a_full_disk_is_one_sentence_and_leaves_no_codes(built, tmp_path):
    with small_disk(tmp_path / "disk", "1m") as disk:
        shutil.copytree(built, disk / "i", ignore=shutil.ignore_patterns("faiss.*"))
        free = shutil.disk_usage(disk).free
        (disk / "ballast").write_bytes(bytes(max(free - 40_960, 0)))
        with pytest.raises(UnwritableError, match=r"faiss\.index \(.*No space left on device"):
            build_faiss(open_index(disk / "i"))
        assert not list((disk / "i").glob("*faiss*"))


def test_it_finds_nearly_what_exact_search_finds(built):
    index = open_index(built)
    queries = clouds(None, np.arange(0, NUM_TILES, 200))
    own = np.arange(0, NUM_TILES, 200)
    exact = search_exact(index.column("vectors"), queries, 10, own_rows=own)
    found = make_searcher(index, approximate=True)(queries, 10, own_rows=own)
    recall = np.mean([np.isin(a, b).mean() for a, b in zip(exact.rows, found.rows, strict=True)])
    assert recall > 0.9
    assert not np.any(found.rows == own[:, None])
    # What both found has one similarity: candidates are settled by the stored vectors.
    same = exact.rows[:, 0] == found.rows[:, 0]
    np.testing.assert_array_equal(exact.similarities[same, 0], found.similarities[same, 0])


def test_it_keeps_to_a_filter(built):
    index = open_index(built)
    masks = [np.zeros(record.num_rows, np.bool_) for record in index.shards]
    masks[1][[3, 5]] = True
    found = dataclasses.replace(open_faiss(index), num_probes=10_000)(
        clouds(None, np.arange(2)), 3, masks=masks
    )
    assert set(found.rows.ravel().tolist()) == {5_003, 5_005, -1}
    assert np.isnan(found.similarities[found.rows < 0]).all()


def test_damage_and_age_are_noticed(built):
    index = open_index(built)
    for name in ("faiss.index", "faiss.json"):
        flip(built / name, 90, 2)
        with pytest.raises(RetrievalError, match=rf"{name} is damaged; launch/embed.py --faiss"):
            open_faiss(index)
        flip(built / name, 90, 2)
    append_tiles(built, Tiles(tuple(range(NUM_TILES))), clouds, CARD)
    open_faiss(open_index(built))  # nothing was added
    older = index.__class__(index.folder, index.model, index.shards[:-1], index.starts[:-1])
    with pytest.raises(RetrievalError, match="tiles were added after"):
        open_faiss(older)


def test_what_needs_faiss_says_so(tmp_path, monkeypatch):
    append_tiles(tmp_path, Tiles(tuple(range(20))), clouds, CARD)
    index = open_index(tmp_path)
    monkeypatch.setattr(faiss_search, "import_faiss", lambda: None)
    with pytest.raises(RetrievalError, match="exact search of 20 tiles takes milliseconds"):
        build_faiss(index)
    with pytest.raises(RetrievalError, match=r"has no faiss.index; run launch/embed.py --faiss"):
        open_faiss(index)
    monkeypatch.undo()
    monkeypatch.setitem(faiss_search.importlib.sys.modules, "faiss", None)
    with pytest.raises(
        RetrievalError, match=r"faiss is missing; install it with pip install 'anneal-jax\[faiss\]'"
    ):
        open_faiss(index)
