"""Find the tiles of an index that are most similar to one or several queries.

  python launch/search.py --index=indexes/mine --query=river/river07.tif --k=5 --picture=found.png
  python launch/search.py --index=WORKDIR --query=unseen.tif --k=100 --copy_to=found

The index is a folder written by launch/embed.py, or WORKDIR, the folder that anneal-jax prints at its
start, which is searched by the model that the page uses. A query is the id of a tile or an image file.
"""

import installed  # noqa: F401

from collections.abc import Sequence

from absl import flags

from anneal_jax.cli.apps import run_app

_INDEX = flags.DEFINE_string(
    "index", None, "Folder that launch/embed.py wrote, or a page's workdir.", required=True
)
_QUERY = flags.DEFINE_multi_string("query", [], "Id of a tile, or an image file; may be repeated.")
_QUERIES = flags.DEFINE_string("queries", None, "File with one query on each line.")
_K = flags.DEFINE_integer("k", 5, "Number of results.", lower_bound=1, upper_bound=1000)
_JSON = flags.DEFINE_bool("json", False, "Print JSON instead of the table.")
_PICTURE = flags.DEFINE_string("picture", None, "PNG for a picture of the results.")
_GEOJSON = flags.DEFINE_string("geojson", None, "GeoJSON file for the places of the results.")
_COPY_TO = flags.DEFINE_string("copy_to", None, "New folder for copies of the tiles, with tables.")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "", "New path of the model's workdir, if it was moved.")
_PRETRAINED = flags.DEFINE_string("pretrained", "", "New path of the weights file, if it was moved.")
_CLASS = flags.DEFINE_multi_string("class", [], "Only tiles of this class; may be repeated.")
_BOX = flags.DEFINE_list("box", None, "West,south,east,north: only tiles that touch it.")
_SINCE = flags.DEFINE_string("since", None, "Only tiles of this date, such as 2021-06-30, or later; UTC.")
_UNTIL = flags.DEFINE_string("until", None, "Only tiles of this date or earlier.")
_VERIFY = flags.DEFINE_enum(
    "verify", "always", ["always", "once"], "once: trust files whose size, time and inode are unchanged."
)
_FAISS = flags.DEFINE_bool("faiss", False, "Search approximately; see launch/embed.py --faiss.")


def main(argv: Sequence[str]) -> None:
    """Search, and show the results."""
    del argv
    from anneal_jax.annotation.workdir_index import open_searched
    from anneal_jax.exporting.geojson import write_geojson
    from anneal_jax.exporting.result_files import copy_results
    from anneal_jax.files import atomic
    from anneal_jax.reporting.search_results import draw_results, results_text
    from anneal_jax.retrieval.filters import parse_filter
    from anneal_jax.retrieval.queries import read_names

    atomic.require_writable(_PICTURE.value, _GEOJSON.value)
    atomic.require_new_folder(_COPY_TO.value)
    wanted = parse_filter(_CLASS.value, _BOX.value, _SINCE.value, _UNTIL.value)
    names = [*_QUERY.value, *(read_names(_QUERIES.value) if _QUERIES.value else [])]
    searched = open_searched(_INDEX.value, verify=_VERIFY.value, pretrained=_PRETRAINED.value)
    how = {"approximate": _FAISS.value, "checkpoint": _CHECKPOINT.value}
    results = searched.search(names, _K.value, conditions=wanted, **how)
    if _PICTURE.value:
        draw_results(searched.index, results, _PICTURE.value)
    if _GEOJSON.value:
        write_geojson(searched.index, results, _GEOJSON.value)
    if _COPY_TO.value:
        copy_results(searched.index, results, _COPY_TO.value, searched.file_of)
    print(results_text(searched.index, results, as_json=_JSON.value))


if __name__ == "__main__":
    run_app(main)
