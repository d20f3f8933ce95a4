"""Give out the answers of a workdir as a file, take in another person's, or merge files.

  python launch/answers.py --workdir=runs/mine --export=ada.csv
  python launch/answers.py --workdir=runs/mine --import=ben.csv
  python launch/answers.py --merge=ada.csv,ben.csv --export=both.csv

Files are CSV or JSON Lines by their ending, .csv or .jsonl. The review page of
launch/annotate.py does the same while it is open.
"""

from collections.abc import Sequence

from absl import flags

from anneal_jax.cli.apps import run_app
from anneal_jax.errors import ConfigError

_WORKDIR = flags.DEFINE_string("workdir", None, "Where a person, or an oracle, answered.")
_EXPORT = flags.DEFINE_string("export", None, "File to write: .csv or .jsonl.")
_IMPORT = flags.DEFINE_string("import", None, "File whose answers are added to the workdir, each once.")
_MERGE = flags.DEFINE_list("merge", [], "Two files or more, FILE,FILE, to put together into --export.")


def main(argv: Sequence[str]) -> None:
    """Do what was asked, and say what it brought."""
    del argv
    if _MERGE.value:
        if len(_MERGE.value) < 2 or _EXPORT.value is None or _WORKDIR.value or _IMPORT.value:
            raise ConfigError("give --merge=FILE,FILE and --export=FILE, and nothing else.")
        _merge(_MERGE.value, _EXPORT.value)
    elif _WORKDIR.value is None or (_EXPORT.value is None) == (_IMPORT.value is None):
        raise ConfigError(
            "give --workdir and one of --export=FILE and --import=FILE, or --merge=FILE,FILE."
        )
    else:
        _exchange(_WORKDIR.value, _EXPORT.value, _IMPORT.value)


def _exchange(workdir: str, outgoing: str | None, incoming: str | None) -> None:
    from anneal_jax.answers.import_export import export_answers, import_answers
    from anneal_jax.experiments.answered_workdir import opened_answers

    with opened_answers(workdir) as store:
        if outgoing is not None:
            print(f"{export_answers(store, outgoing):,} answers are in {outgoing}.")
        if incoming is not None:
            report = import_answers(store, incoming)
            print(f"{report.num_added:,} answers were added, {report.num_known:,} were here already.")
            _tell(report.disagreements)


def _merge(paths: Sequence[str], outgoing: str) -> None:
    import functools

    from anneal_jax.answers.file_format import (
        disagreements,
        merge_answers,
        read_answers,
        write_answers,
    )

    merged = functools.reduce(merge_answers, map(read_answers, paths))
    write_answers(outgoing, merged)
    print(f"{len(merged):,} answers are in {outgoing}.")
    _tell(disagreements(merged))


def _tell(found: Sequence) -> None:
    for first, second, said in found:
        voices = ", ".join(f"{row.annotator}: {row.answer}" for row in said)
        print(f"disagreement on {first} and {second} ({voices})")


if __name__ == "__main__":
    run_app(main)
