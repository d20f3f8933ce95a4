"""Export the answers of a workdir to a file, import another person's, or merge files.

  python launch/answers.py --workdir=runs/mine --export=ada.csv
  python launch/answers.py --workdir=runs/mine --import=ben.csv
  python launch/answers.py --merge=ada.csv,ben.csv --export=both.csv

Files are CSV or JSON Lines, by their suffix .csv or .jsonl. The Details page can do the same.
"""

import installed  # noqa: F401

from collections.abc import Sequence

from absl import flags

from anneal_jax.cli.apps import run_app
from anneal_jax.errors import ConfigError
from anneal_jax.files import atomic

_WORKDIR = flags.DEFINE_string("workdir", None, "Workdir with the answers of a person or an oracle.")
_EXPORT = flags.DEFINE_string("export", None, "File to write: .csv or .jsonl.")
_IMPORT = flags.DEFINE_string("import", None, "File whose answers are added to the workdir, each once.")
_MERGE = flags.DEFINE_list("merge", [], "Two or more files, FILE,FILE, to merge into --export.")


def main(argv: Sequence[str]) -> None:
    """Do what was requested, and print the result."""
    del argv
    atomic.require_writable(_EXPORT.value)
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

    with opened_answers(workdir, read_only=incoming is None) as store:
        if outgoing is not None:
            print(f"{export_answers(store, outgoing):,} answers are in {outgoing}.")
        if incoming is not None:
            report = import_answers(store, incoming)
            print(f"{report.num_added:,} answers were added, {report.num_known:,} were already here.")
            print(*map("{}\n".format, report.disagreements), sep="", end="")


def _merge(paths: Sequence[str], outgoing: str) -> None:
    import functools

    from anneal_jax.answers import file_format

    merged = functools.reduce(file_format.merge_answers, map(file_format.read_answers, paths))
    file_format.write_answers(outgoing, merged)
    print(f"{len(merged):,} answers are in {outgoing}.")
    print(*map("{}\n".format, file_format.disagreements(merged)), sep="", end="")


if __name__ == "__main__":
    run_app(main)
