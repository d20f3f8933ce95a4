"""Search from texts to named results."""

from collections.abc import Callable, Sequence
from pathlib import Path

from anneal_jax.retrieval.embedder import Embedder, load_embedder
from anneal_jax.retrieval.filters import Conditions, allowed_tiles
from anneal_jax.retrieval.index_reader import TileIndex
from anneal_jax.retrieval.queries import prepare_queries
from anneal_jax.retrieval.results import Results, name_hits
from anneal_jax.retrieval.searchers import make_searcher


def search_by_names(
    index: TileIndex,
    names: Sequence[str],
    k: int,
    *,
    conditions: Conditions | None = None,
    approximate: bool = False,
    checkpoint: str | Path = "",
    load: Callable[[str | Path], Embedder] = load_embedder,
) -> list[Results]:
    """Return the k most similar tiles of each query.

    Args:
      index: an opened index.
      names: ids of tiles or image files, as for `prepare_queries`.
      k: 1 to 1,000.
      conditions: conditions that results must meet, from `parse_filter`.
      approximate: whether to search with the codes of faiss.
      checkpoint: workdir of the index's model; by default its original path.
      load: loads the model.

    Raises:
      AnnealError: as for `prepare_queries`, `make_searcher`, `allowed_tiles` and the searcher.
    """
    queries = prepare_queries(index, names, checkpoint=checkpoint, load=load)
    search = make_searcher(index, approximate=approximate)
    masks = allowed_tiles(index, conditions or {})
    hits = search(queries.embeddings, k, masks=masks, own_rows=queries.own_rows)
    return name_hits(index, queries.queries, hits)
