"""Give a trained model, or the embeddings of an index, to other programs.

  python launch/export.py --checkpoint=runs/ucm_frozen --stablehlo=embedder.jaxexport
  python launch/export.py --index=indexes/mine --parquet=embeddings.parquet

The first writes one StableHLO function from tiles to embeddings (docs/archives.md says how to call it), the
second a table for Qdrant, LanceDB, DuckDB or pandas (extra parquet).
"""

from collections.abc import Sequence

from absl import flags

from anneal_jax.cli import run_app
from anneal_jax.errors import ConfigError

_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Workdir of a run.")
_STABLEHLO = flags.DEFINE_string("stablehlo", None, "File to write the model into.")
_PRETRAINED = flags.DEFINE_string("pretrained", "", "Weights file of its backbone, where it was moved.")
_INDEX = flags.DEFINE_string("index", None, "Folder that launch/embed.py wrote.")
_PARQUET = flags.DEFINE_string("parquet", None, "File to write the embeddings into.")


def main(argv: Sequence[str]) -> None:
    """Write what was asked for, and say what it is."""
    del argv
    for given, other in ((_CHECKPOINT, _STABLEHLO), (_INDEX, _PARQUET)):
        if (given.value is None) != (other.value is None):
            raise ConfigError(f"give --{given.name} and --{other.name} together.")
    if _STABLEHLO.value is None and _PARQUET.value is None:
        raise ConfigError("give --checkpoint and --stablehlo, or --index and --parquet.")
    if _CHECKPOINT.value is not None and _STABLEHLO.value is not None:
        from anneal_jax.embedder import load_embedder
        from anneal_jax.exporting.stablehlo import write_stablehlo

        write_stablehlo(load_embedder(_CHECKPOINT.value, pretrained=_PRETRAINED.value), _STABLEHLO.value)
        print(f"See {_STABLEHLO.value}, and {_STABLEHLO.value}.json for what it takes.")
    if _INDEX.value is not None and _PARQUET.value is not None:
        from anneal_jax.exporting.parquet import write_parquet
        from anneal_jax.retrieval.index import open_index

        index = open_index(_INDEX.value)
        write_parquet(index, _PARQUET.value)
        print("\n".join([*index.notes, f"{index.num_rows:,} embeddings are in {_PARQUET.value}."]))


if __name__ == "__main__":
    run_app(main)
