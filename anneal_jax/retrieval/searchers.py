"""The searcher of an index: exact, or approximate by faiss."""

import functools

from anneal_jax.retrieval.faiss_search import open_faiss
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.search import Searcher, search_exact


def make_searcher(index: TileIndex, *, approximate: bool = False) -> Searcher:
    """Return what searches an index.

    Args:
      index: an opened index.
      approximate: by the codes that `build_faiss` prepared.

    Raises:
      RetrievalError: `approximate`, and faiss or its codes are not there.
    """
    if approximate:
        return open_faiss(index)
    return functools.partial(search_exact, index.column("vectors") or [])
