"""Find the tiles of an index that are most similar to one, or to many.

  python launch/search.py --index=indexes/mine --query=river/river07.tif --k=5 --picture=found.png

A query is the id of a tile in the index or an image file; --query may be repeated, and --queries names a
file with one on each line.
"""

import pathlib
from collections.abc import Sequence

from absl import flags

from anneal_jax.cli.apps import run_app

_INDEX = flags.DEFINE_string("index", None, "Folder that launch/embed.py wrote.", required=True)
_QUERY = flags.DEFINE_multi_string("query", [], "Id of a tile, or an image file; may be repeated.")
_QUERIES = flags.DEFINE_string("queries", None, "File with one query on each line.")
_K = flags.DEFINE_integer("k", 5, "How many results.", lower_bound=1, upper_bound=1000)
_JSON = flags.DEFINE_bool("json", False, "Print JSON in place of the table.")
_PICTURE = flags.DEFINE_string("picture", None, "PNG to draw the results into.")
_GEOJSON = flags.DEFINE_string("geojson", None, "GeoJSON file to write the places of the results into.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "", "Workdir of the model, where it was moved.")
_PRETRAINED = flags.DEFINE_string("pretrained", "", "Weights file of its backbone, likewise.")
_CLASS = flags.DEFINE_multi_string("class", [], "Return tiles of this class only; may be repeated.")
_BOX = flags.DEFINE_list("box", None, "West,south,east,north: only tiles that touch it.")
_SINCE = flags.DEFINE_string("since", None, "Only tiles of this date, such as 2021-06-30, or later; UTC.")
_UNTIL = flags.DEFINE_string("until", None, "Only tiles of this date or earlier.")
_VERIFY = flags.DEFINE_enum(
    "verify", "always", ["always", "once"], "once: trust files whose size, time and inode are as they were."
)
_FAISS = flags.DEFINE_bool("faiss", False, "Search approximately; see launch/embed.py --faiss.")


def main(argv: Sequence[str]) -> None:
    """Search, and show what was found."""
    del argv
    import functools

    from anneal_jax.reporting.geojson import write_geojson
    from anneal_jax.reporting.search_results import draw_results, name_hits, results_json, results_table
    from anneal_jax.retrieval.embedder import load_embedder
    from anneal_jax.retrieval.filters import allowed_tiles, parse_filter
    from anneal_jax.retrieval.index_reader import open_index
    from anneal_jax.retrieval.queries import prepare_queries, read_names
    from anneal_jax.retrieval.searchers import make_searcher

    wanted = parse_filter(_CLASS.value, _BOX.value, _SINCE.value, _UNTIL.value)
    names = [*_QUERY.value, *(read_names(_QUERIES.value) if _QUERIES.value else [])]
    index = open_index(_INDEX.value, verify=_VERIFY.value)
    load = functools.partial(load_embedder, pretrained=_PRETRAINED.value)
    queries = prepare_queries(index, names, checkpoint=_CHECKPOINT.value, load=load)
    search = make_searcher(index, approximate=_FAISS.value)
    masks = allowed_tiles(index, wanted)
    hits = search(queries.embeddings, _K.value, masks=masks, own_rows=queries.own_rows)
    results = name_hits(index, queries.queries, hits)
    print(
        results_json(index, results) if _JSON.value else "\n".join([*index.notes, results_table(results)])
    )
    if _PICTURE.value:
        draw_results(index, results, pathlib.Path(_PICTURE.value))
    if _GEOJSON.value:
        write_geojson(index, results, pathlib.Path(_GEOJSON.value))


if __name__ == "__main__":
    run_app(main)
