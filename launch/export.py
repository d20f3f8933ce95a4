"""Export a trained model, or the embeddings of an index, for other programs.

  python launch/export.py --checkpoint=runs/ucm_frozen --onnx=embedder.onnx
  python launch/export.py --checkpoint=runs/ucm_frozen --stablehlo=embedder.jaxexport
  python launch/export.py --index=indexes/mine --parquet=embeddings.parquet

The first two write one function from tiles to embeddings (docs/export.md shows how to call it), the last
one a table for Qdrant, LanceDB, DuckDB or pandas (extra parquet).
"""

import installed  # noqa: F401

from collections.abc import Sequence

from absl import flags

from anneal_jax.cli.apps import run_app
from anneal_jax.errors import ConfigError
from anneal_jax.files import atomic

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Workdir of a run.")
_ONNX = flags.DEFINE_string("onnx", None, "ONNX file for the model (extra onnx).")
_STABLEHLO = flags.DEFINE_string("stablehlo", None, "StableHLO file for the model.")
_PRETRAINED = flags.DEFINE_string("pretrained", "", "New path of the weights file, if it was moved.")
_INDEX = flags.DEFINE_string("index", None, "Folder that launch/embed.py wrote.")
_PARQUET = flags.DEFINE_string("parquet", None, "File for the embeddings.")


def main(argv: Sequence[str]) -> None:
    """Write the requested files, and print what they are."""
    del argv
    models = [flag.value for flag in (_ONNX, _STABLEHLO) if flag.value is not None]
    if (_CHECKPOINT.value is None) != (not models) or (_INDEX.value is None) != (_PARQUET.value is None):
        raise ConfigError("give --checkpoint with --onnx or --stablehlo, and --index with --parquet.")
    if not models and _PARQUET.value is None:
        raise ConfigError("give --checkpoint and --onnx or --stablehlo, or --index and --parquet.")
    atomic.require_writable(_ONNX.value, _STABLEHLO.value, _PARQUET.value)
    if _CHECKPOINT.value is not None:
        from anneal_jax.exporting.onnx.model import write_onnx
        from anneal_jax.exporting.stablehlo import write_stablehlo
        from anneal_jax.retrieval.embedder import load_embedder

        embedder = load_embedder(_CHECKPOINT.value, pretrained=_PRETRAINED.value)
        for flag, write in ((_ONNX, write_onnx), (_STABLEHLO, write_stablehlo)):
            if flag.value is not None:
                write(embedder, flag.value)
                print(f"See {flag.value}, and {flag.value}.json for its input.")
    if _INDEX.value is not None and _PARQUET.value is not None:
        from anneal_jax.exporting.parquet import write_parquet
        from anneal_jax.retrieval.index_reader import open_index

        index = open_index(_INDEX.value)
        write_parquet(index, _PARQUET.value)
        print("\n".join([*index.notes, f"{index.num_rows:,} embeddings are in {_PARQUET.value}."]))


if __name__ == "__main__":
    run_app(main)
