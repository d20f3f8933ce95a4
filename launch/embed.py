"""Encode an archive with a trained model into a searchable index.

  python launch/embed.py --checkpoint=runs/ucm_frozen --archive=folder:PATH --index=indexes/mine

Tiles that are already in the index are not encoded again, so the same command adds new ones, and continues
after a kill. Several machines share the work with --process and --num_processes. The archive is only read.
"""

import installed  # noqa: F401

import os
from collections.abc import Sequence

from absl import flags

from anneal_jax.cli.apps import run_app

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Workdir of a run.", required=True)
_ARCHIVE = flags.DEFINE_string(
    "archive", None, "The archive (docs/archives.md), such as folder:PATH.", required=True
)
_INDEX = flags.DEFINE_string("index", None, "Folder of the index, created if missing.", required=True)
_LABELS = flags.DEFINE_string("labels", None, "CSV (id,label) of class labels.")
_METADATA = flags.DEFINE_string(
    "metadata", None, "CSV (id and label, date, west,south,east,north) to filter by."
)
_DTYPE = flags.DEFINE_enum("dtype", "float16", ["float16", "float32"], "Type of the stored vectors.")
_ON_BAD_IMAGE = flags.DEFINE_enum("on_bad_image", "refuse", ["refuse", "skip"], "How to treat bad tiles.")
_PRETRAINED = flags.DEFINE_string("pretrained", "", "New path of the weights file, if it was moved.")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.", lower_bound=0)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes.", lower_bound=1)
_SHARD_ROWS = flags.DEFINE_integer("shard_rows", 16_384, "Tiles per shard.", lower_bound=1)
_FAISS = flags.DEFINE_bool("faiss", False, "Also train codes for approximate search (extra faiss).")


def main(argv: Sequence[str]) -> None:
    """Write the index, and print what is in it."""
    del argv
    from anneal_jax.data.archives import open_archive
    from anneal_jax.retrieval.embedder import load_embedder
    from anneal_jax.retrieval.index_reader import open_index
    from anneal_jax.retrieval.index_writer import append_tiles
    from anneal_jax.retrieval.metadata import read_metadata

    embedder = load_embedder(_CHECKPOINT.value, pretrained=_PRETRAINED.value)
    archive = open_archive(_ARCHIVE.value, labels_csv=_LABELS.value, on_bad_image=_ON_BAD_IMAGE.value)
    metadata = read_metadata(_METADATA.value, archive.ids) if _METADATA.value else None
    added = append_tiles(
        _INDEX.value,
        archive,
        embedder.embed_archive,
        embedder.model_card(_DTYPE.value),
        metadata=metadata.columns if metadata else None,
        process=_PROCESS.value,
        num_processes=_NUM_PROCESSES.value,
        shard_rows=_SHARD_ROWS.value,
    )
    notes = [*archive.notes, *([metadata.note] if metadata and metadata.note else [])]
    print("\n".join([*notes, f"{added.num_new:,} tiles encoded, {added.num_old:,} were already there."]))
    if _FAISS.value:
        from anneal_jax.retrieval.faiss_search import build_faiss

        build_faiss(open_index(_INDEX.value))
    print(f"See {os.path.normpath(_INDEX.value)}; launch/search.py searches it.")


if __name__ == "__main__":
    run_app(main)
