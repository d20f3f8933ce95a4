"""The searcher of an index: exact, or approximate by faiss."""

import functools

from anneal_jax.retrieval.faiss_search import open_faiss
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.search import Searcher, search_exact


def make_searcher(index: TileIndex, *, approximate: bool = False) -> Searcher:
    """Return the searcher of an index.

    Args:
      index: an opened index.
      approximate: whether to use the codes of `build_faiss`.

    Raises:
      RetrievalError: `approximate` is set, but faiss or its codes are missing.
    """
    if approximate:
        return open_faiss(index)
    return functools.partial(search_exact, index.column("vectors") or [])
